"""Training augmentation of whole batches as tensor operations.

Every random number of a sample is drawn from (seed, epoch, index): batch size, order, device and
resume do not change what a sample looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.data.dataset import DetectionDataset, to_network, to_unit
from kdlnet.ops.boxes import box_area, box_intersection, clip_boxes
from kdlnet.types import Batch, ImageSize, Targets

Floats = NDArray[np.float64]

_DRAWS = (
    *("mosaic", "tile1", "tile2", "tile3", "mixup", "mixup_partner", "mixup_share"),
    *("flip_horizontal", "flip_vertical", "scale", "translate_x", "translate_y", "angle"),
    *("shear_x", "shear_y", "brightness", "contrast", "saturation", "hue"),
    *("paste", "paste_donor", "paste_box", "paste_x", "paste_y"),
)
_COLUMN = {name: column for column, name in enumerate(_DRAWS)}

MIN_SIDE = 1.0
"""Boxes cut to less than this, in pixels of the network input, are no targets."""
MIN_VISIBLE = 0.2
"""A box is a target while at least this share of its area is inside the image."""

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


class Draws:
    """Uniform numbers in [0, 1) of the samples of a batch, by name: ``draws["scale"]`` is (B,)."""

    def __init__(self, seed: int, epoch: int, indices: NDArray[np.int64]) -> None:
        self.table = np.stack([uniforms(seed, epoch, int(index), len(_DRAWS)) for index in indices])

    def __getitem__(self, name: str) -> Floats:
        return self.table[:, _COLUMN[name]]

    def signed(self, name: str) -> Floats:
        """The same numbers in [-1, 1)."""
        return 2 * self[name] - 1

    def choice(self, name: str, count: int) -> NDArray[np.int64]:
        """The same numbers as whole ones from 0 to ``count`` - 1."""
        return (self[name] * count).astype(np.int64)


def uniforms(seed: int, epoch: int, index: int, count: int) -> Floats:
    """``count`` numbers in [0, 1) that depend on nothing but the four arguments."""
    key = np.array([seed, (epoch << 40) + index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(count)


@dataclass(frozen=True)
class Augmenter:
    """Makes training batches from a dataset. The fields are those of ``augment`` in the config."""

    dataset: DetectionDataset
    seed: int
    mosaic: float = 0.0
    mixup: float = 0.0
    copy_paste: float = 0.0
    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __call__(
        self, epoch: int, indices: NDArray[np.int64], mixing: bool, device: torch.device | str
    ) -> Batch:
        """The samples ``indices`` of ``epoch`` on ``device``.

        ``mixing`` False leaves out what puts several images into one: mosaic, mixup, copy-paste.
        """
        draws = Draws(self.seed, epoch, indices)
        tiled = (draws["mosaic"] < self.mosaic) & mixing
        images, targets = self._warped(indices, tiled, draws, device)
        if mixing:
            pasted = np.flatnonzero(draws["paste"] < self.copy_paste)
            images, targets = self._paste(images, targets, pasted, draws)
        gain, shift = self._photometric(draws, images.shape[1])
        images = _colour(images, gain.to(device), shift.to(device))
        if mixing:
            mixed = np.flatnonzero(draws["mixup"] < self.mixup)
            images, targets = self._mixup(images, targets, mixed, draws)
        images = to_network(images.clamp_(0, 1), self.dataset.preprocess.channels)
        return Batch(images, targets.to(device), torch.from_numpy(indices))

    def _warped(
        self,
        indices: NDArray[np.int64],
        tiled: NDArray[np.bool_],
        draws: Draws,
        device: torch.device | str,
    ) -> tuple[Tensor, Targets]:
        """Mosaic (2 x 2 tiles on a canvas twice as large) and affine, in one sampling."""
        size = self.dataset.preprocess.image_size
        images = torch.empty(len(indices), self.dataset.images.channels, *size, device=device)
        parts = []
        for side in (1, 2):
            rows = np.flatnonzero(tiled == (side == 2))
            if not len(rows):
                continue
            sources = indices[rows][:, None]
            if side == 2:
                partners = [draws.choice(f"tile{k}", len(self.dataset))[rows] for k in (1, 2, 3)]
                sources = np.stack([indices[rows], *partners], axis=1)
            matrices = self._affine(draws, size, side)[rows]
            canvas = self._canvas(sources, side, device)
            where = torch.from_numpy(rows)
            images[where.to(device)] = warp(canvas, matrices, size, self.dataset.preprocess.pad)
            parts.append(self._targets(sources, side, matrices, where))
        return images, _join(parts)

    def _affine(self, draws: Draws, size: ImageSize, side: int) -> Tensor:
        """Matrices (B, 3, 3) from pixels of the canvas to pixels of the network input.

        A mosaic moves by up to half an image, so that its crossing may lie anywhere.
        """
        height, width = size
        reach = self.translate if side == 1 else max(self.translate, 0.5)
        centre = _translation(np.full(len(draws.table), -side * width / 2), -side * height / 2)
        zoom = 1 + self.scale * draws.signed("scale")
        flip_x = np.where(draws["flip_horizontal"] < self.flip_horizontal, -1.0, 1.0)
        flip_y = np.where(draws["flip_vertical"] < self.flip_vertical, -1.0, 1.0)
        angle = np.deg2rad(self.degrees * draws.signed("angle"))
        shear_x = np.tan(np.deg2rad(self.shear * draws.signed("shear_x")))
        shear_y = np.tan(np.deg2rad(self.shear * draws.signed("shear_y")))
        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        turn = _linear(cos, -sin, sin, cos) @ _linear(1.0, shear_x, shear_y, 1.0)
        turn = turn @ _linear(flip_x, 0.0, 0.0, flip_y)
        place = _translation(
            width * (0.5 + reach * draws.signed("translate_x")),
            height * (0.5 + reach * draws.signed("translate_y")),
        )
        return torch.from_numpy(place @ turn @ centre)

    def _canvas(self, sources: NDArray[np.int64], side: int, device: torch.device | str) -> Tensor:
        """Unit images (n, channels, side * H, side * W) from sources (n, side * side)."""
        pixels = self.dataset.images[sources.reshape(-1)].to(device, non_blocking=True)
        height, width, channels = pixels.shape[1:]
        pixels = pixels.view(len(sources), side, side, height, width, channels)
        pixels = pixels.permute(0, 5, 1, 3, 2, 4)
        canvas = pixels.reshape(len(sources), channels, side * height, side * width)
        return to_unit(canvas, self.dataset.preprocess)

    def _targets(
        self, sources: NDArray[np.int64], side: int, matrices: Tensor, rows: Tensor
    ) -> Targets:
        height, width = self.dataset.preprocess.image_size
        tiles = side * side
        found = self.dataset.targets(torch.from_numpy(sources.reshape(-1)))
        tile, sample = found.image_index % tiles, found.image_index // tiles
        offset = torch.stack((tile % side * width, tile // side * height), dim=1)
        boxes = warp_boxes(found.boxes + offset.repeat(1, 2), matrices[sample].float())
        return _visible(Targets(boxes, found.labels, rows[sample]), (height, width))

    def _photometric(self, draws: Draws, channels: int) -> tuple[Tensor, Tensor]:
        """Colour matrices (B, c, c) and shifts (B,)."""
        contrast = torch.from_numpy(1 + self.contrast * draws.signed("contrast")).float()
        bright = torch.from_numpy(1 + self.brightness * draws.signed("brightness")).float()
        gain = (contrast * bright)[:, None, None]
        if channels == 3:
            saturation = torch.from_numpy(1 + self.saturation * draws.signed("saturation"))
            hue = torch.from_numpy(2 * np.pi * self.hue * draws.signed("hue"))
            gain = gain * _hue_matrix(hue.float()) @ _saturation_matrix(saturation.float())
        return gain, 0.5 * (1 - contrast)

    def _mixup(
        self, images: Tensor, targets: Targets, rows: NDArray[np.int64], draws: Draws
    ) -> tuple[Tensor, Targets]:
        """Blends the samples ``rows`` with one more image each; both keep their boxes."""
        if not len(rows):
            return images, targets
        partners = draws.choice("mixup_partner", len(self.dataset))[rows]
        share = torch.from_numpy(0.35 + 0.3 * draws["mixup_share"][rows]).float()
        other = self._canvas(partners[:, None], 1, images.device)
        where = torch.from_numpy(rows)
        images[where] = torch.lerp(images[where], other, share.to(images)[:, None, None, None])
        found = self.dataset.targets(torch.from_numpy(partners))
        return images, _join(
            [targets, Targets(found.boxes, found.labels, where[found.image_index])]
        )

    def _paste(
        self, images: Tensor, targets: Targets, rows: NDArray[np.int64], draws: Draws
    ) -> tuple[Tensor, Targets]:
        """Copies one labelled box of another image to a free place of each sample ``rows``."""
        donors = torch.from_numpy(draws.choice("paste_donor", len(self.dataset))[rows])
        counts = self.dataset.first[donors + 1] - self.dataset.first[donors]
        usable = (counts > 0).numpy()
        rows, donors, counts = rows[usable], donors[usable], counts[usable]
        if not len(rows):
            return images, targets
        nth = (torch.from_numpy(draws["paste_box"][rows]) * counts).long()
        chosen = self.dataset.first[donors] + nth
        moved, shift = _placed(
            self.dataset.boxes[chosen], draws, rows, self.dataset.preprocess.image_size
        )
        new = Targets(moved, self.dataset.labels[chosen], torch.from_numpy(rows))
        free = _is_free(new, targets)
        if not free.any():
            return images, targets
        new = Targets(new.boxes[free], new.labels[free], new.image_index[free])
        size = self.dataset.preprocess.image_size
        donor = self._canvas(donors[free].numpy()[:, None], 1, images.device)
        matrices = torch.from_numpy(_translation(*shift[free].double().numpy().T))
        patch = warp(donor, matrices, size, self.dataset.preprocess.pad)
        mask = _soft_mask(new.boxes, size).to(images.device)
        images[new.image_index] = torch.lerp(images[new.image_index], patch, mask)
        return images, _join([targets, new])


def warp(canvas: Tensor, matrices: Tensor, size: ImageSize, fill: float) -> Tensor:
    """Unit images (n, c, H, W) of ``size`` from canvases, by matrices (n, 3, 3) canvas -> image.

    Bilinear; what lies outside the canvas is ``fill``.
    """
    into = _to_normalized(canvas.shape[-2:]) @ torch.linalg.inv(matrices)
    theta = into[:, :2].float().to(canvas.device)
    grid = _positions(theta, size)
    return F.grid_sample(canvas - fill, grid, align_corners=False) + fill


def _positions(theta: Tensor, size: ImageSize) -> Tensor:
    """Where each pixel centre of ``size`` lies, (n, H, W, 2), by matrices theta (n, 2, 3)."""
    height, width = size
    x = torch.arange(width, device=theta.device) + 0.5
    y = torch.arange(height, device=theta.device)[:, None] + 0.5
    along_x, along_y, offset = theta[:, :, :, None, None].unbind(2)
    return (along_x * x + (along_y * y + offset)).movedim(1, -1)


def warp_boxes(boxes: Tensor, matrices: Tensor) -> Tensor:
    """Smallest upright boxes (T, 4) around boxes (T, 4) moved by matrices (T, 3, 3)."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    moved = corners @ matrices[:, :2, :2].transpose(1, 2) + matrices[:, None, :2, 2]
    return torch.cat((moved.amin(dim=1), moved.amax(dim=1)), dim=1)


def _visible(targets: Targets, size: ImageSize) -> Targets:
    boxes = clip_boxes(targets.boxes, *size)
    share = box_area(boxes) / box_area(targets.boxes).clamp(min=1e-6)
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = share > 0.999  # thin as labelled: still a target
    keep = (share >= MIN_VISIBLE) & ((sides >= MIN_SIDE).all(dim=1) | whole)
    return Targets(boxes[keep], targets.labels[keep], targets.image_index[keep])


def _join(parts: list[Targets]) -> Targets:
    return Targets(
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.image_index for part in parts]),
    )


def _placed(
    boxes: Tensor, draws: Draws, rows: NDArray[np.int64], size: ImageSize
) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) moved to their drawn places, and the shifts (n, 2) in whole pixels."""
    height, width = size
    place = torch.from_numpy(np.stack((draws["paste_x"][rows], draws["paste_y"][rows]), axis=1))
    room = boxes.new_tensor([width, height]) - (boxes[:, 2:] - boxes[:, :2])
    shift = (place.float() * room - boxes[:, :2]).round()
    return clip_boxes(boxes + shift.repeat(1, 2), height, width), shift


def _is_free(new: Targets, targets: Targets, limit: float = 0.05) -> Tensor:
    """Which new boxes neither cover nor enter another one by more than a share of the smaller."""
    same = new.image_index[:, None] == targets.image_index[None]
    one, two = new.boxes[:, None], targets.boxes
    smaller = torch.minimum(box_area(one), box_area(two)).clamp(min=1e-6)
    return ~((box_intersection(one, two) / smaller * same) > limit).any(dim=1)


def _soft_mask(boxes: Tensor, size: ImageSize, feather: float = 3.0) -> Tensor:
    """Masks (n, 1, H, W): 1 inside the box, falling to 0 over ``feather`` pixels outside."""
    height, width = size
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    far_x = torch.maximum(x1 - x, x - x2).clamp(min=0)
    far_y = torch.maximum(y1 - y, y - y2).clamp(min=0)
    reach = torch.maximum(far_y[:, :, None], far_x[:, None, :])
    return (1 - reach / feather).clamp(min=0)[:, None]


def _colour(images: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    shift = shift[:, None, None, None]
    if images.shape[1] == 1:
        return images * gain[:, :, :, None] + shift
    return torch.einsum("bij,bjhw->bihw", gain, images) + shift


def _saturation_matrix(saturation: Tensor) -> Tensor:
    keep = saturation[:, None, None]
    return keep * torch.eye(3) + (1 - keep) * _LUMA.expand(3, 3)


def _hue_matrix(angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) of RGB about the grey axis, done in YIQ."""
    cos, sin = angle.cos(), angle.sin()
    turn = torch.eye(3).repeat(len(angle), 1, 1)
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    rotation: Tensor = torch.linalg.inv(_RGB_TO_YIQ) @ turn @ _RGB_TO_YIQ
    return rotation


def _to_normalized(size: ImageSize | torch.Size) -> Tensor:
    """Matrix (3, 3) from pixels to grid_sample's frame, whose edges are -1 and 1."""
    height, width = size
    values = [[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]]
    return torch.tensor(values, dtype=torch.float64)


def _translation(x: Floats, y: Floats | float) -> Floats:
    matrix = np.tile(np.eye(3), (len(x), 1, 1))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def _linear(a: Floats | float, b: Floats | float, c: Floats | float, d: Floats | float) -> Floats:
    count = max(np.size(value) for value in (a, b, c, d))
    matrix = np.tile(np.eye(3), (count, 1, 1))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = a, b, c, d
    return matrix
