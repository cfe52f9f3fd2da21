"""Training augmentation of whole batches as tensor operations.

Every random number of a sample is drawn from (seed, epoch, number): batch size, order, device and
resume do not change what a sample looks like. The number is the sample's position, and one more
round of the dataset each time that an epoch shows it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.data.dataset import DetectionDataset, to_network, to_unit
from kdlnet.training.colour import apply_colour, hue_matrix, saturation_matrix
from kdlnet.training.draws import Draws
from kdlnet.training.masks import Masks, Placed
from kdlnet.training.pasting import Donors, is_free, pictures, placed, rooms, soft_mask
from kdlnet.training.sampling import Partners, Sampler
from kdlnet.training.sensor import blurred, grainy
from kdlnet.training.warping import (
    join,
    linear,
    translation,
    visible,
    warp,
    warp_boxes,
)
from kdlnet.types import Batch, ImageSize, Targets


@dataclass(frozen=True)
class Augmenter:
    """Makes training batches from a dataset.

    The fields are those of ``augment`` in the config, ``balance``, which draws the images that
    are mixed into others, None: all alike, and ``masks``, which says where defects lie in them.
    """

    dataset: DetectionDataset
    seed: int
    balance: Sampler | None = None
    masks: Masks | None = None
    mosaic: float = 0.0
    mixup: float = 0.0
    copy_paste: float = 0.0
    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    quarter_turns: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    @cached_property
    def sampler(self) -> Sampler:
        """That of the epochs and of what is mixed in."""
        return Sampler(np.ones(len(self.dataset))) if self.balance is None else self.balance

    @cached_property
    def _partners(self) -> Partners:
        """What is mixed into others."""
        return Partners(self.sampler, self._kinds)

    @cached_property
    def _donors(self) -> Donors:
        """What defects are copied from."""
        return Donors(self.dataset, self.sampler, self._kinds)

    @cached_property
    def _pictures(self) -> Tensor:
        """Where copies may lie."""
        return pictures(self.dataset)

    @cached_property
    def _kinds(self) -> NDArray[np.int64]:
        """Of each sample (N,): samples of a kind are labelled for the same classes."""
        known = self.dataset.looked_for
        if known is None:
            return np.zeros(len(self.dataset), np.int64)
        kinds: NDArray[np.int64] = np.unique(known.numpy(), axis=0, return_inverse=True)[1]
        return kinds.reshape(-1)

    def __call__(
        self, epoch: int, numbers: NDArray[np.int64], mixing: bool, device: torch.device | str
    ) -> Batch:
        """The samples ``numbers`` of ``epoch``, as :meth:`Sampler.order` gives them, on ``device``.

        ``mixing`` False leaves out what puts several images into one: mosaic, mixup, copy-paste.
        """
        draws = Draws(self.seed, epoch, numbers)
        indices = numbers % len(self.dataset)
        tiled = (draws["mosaic"] < self.mosaic) & mixing
        trail: list[Callable[[], Placed]] = []  # asked only where there are masks to be made
        images, targets, shown = self._warped(indices, tiled, draws, device, trail)
        if mixing:
            pasted = np.flatnonzero(draws["paste"] < self.copy_paste)
            images, targets = self._paste(images, targets, shown, pasted, draws, indices, trail)
        images = self._seen(images, draws)
        if mixing:
            mixed = np.flatnonzero(draws["mixup"] < self.mixup)
            images, targets = self._mixup(images, targets, mixed, draws, indices, trail)
        images = to_network(images.clamp_(0, 1), self.dataset.preprocess.channels)
        rows = torch.from_numpy(indices)
        known = self.dataset.looked_for_in(rows, device)
        masks = None
        if self.masks is not None:
            masks = self.masks(len(rows), (place() for place in trail)).to(device)
        return Batch(images, targets.to(device), rows, known, masks)

    def _warped(
        self,
        indices: NDArray[np.int64],
        tiled: NDArray[np.bool_],
        draws: Draws,
        device: torch.device | str,
        trail: list[Callable[[], Placed]],
    ) -> tuple[Tensor, Targets, list[Targets]]:
        """Mosaic (2 x 2 tiles on a canvas twice as large) and affine, in one sampling.

        Images, their targets and, where copies look for room, where the pictures of the sources lie
        in them, without their padding.
        """
        size = self.dataset.preprocess.image_size
        images = torch.empty(len(indices), self.dataset.images.channels, *size, device=device)
        parts, shown = [], []
        for side in (1, 2):
            rows = np.flatnonzero(tiled == (side == 2))
            if not len(rows):
                continue
            sources = indices[rows][:, None]
            if side == 2:
                others = [
                    self._partners.pick(draws[f"tile{k}"][rows], indices[rows]) for k in (1, 2, 3)
                ]
                sources = np.stack([indices[rows], *others], axis=1)
            matrices = self._affine(draws, size, side)[rows]
            canvas = self._canvas(sources, side, device)
            where = torch.from_numpy(rows)
            images[where.to(device)] = warp(canvas, matrices, size, self.dataset.preprocess.pad)
            flat = torch.from_numpy(sources.reshape(-1))
            parts.append(self._moved(self.dataset.targets(flat), side, matrices, where))
            trail.append(partial(self._placed, flat, side, matrices, where))
            if self.copy_paste:
                numbers = torch.arange(len(flat))
                whole = Targets(self._pictures[flat], numbers, numbers)
                shown.append(self._moved(whole, side, matrices, where))
        return images, join(parts), shown

    def _affine(self, draws: Draws, size: ImageSize, side: int) -> Tensor:
        """Matrices (B, 3, 3) from pixels of the canvas to pixels of the network input.

        A mosaic moves by up to half an image, so that its crossing may lie anywhere.
        """
        height, width = size
        reach = self.translate if side == 1 else max(self.translate, 0.5)
        centre = translation(np.full(len(draws.table), -side * width / 2), -side * height / 2)
        zoom = 1 + self.scale * draws.signed("scale")
        flip_x = np.where(draws["flip_horizontal"] < self.flip_horizontal, -1.0, 1.0)
        flip_y = np.where(draws["flip_vertical"] < self.flip_vertical, -1.0, 1.0)
        quarters = draws.quarters(self.quarter_turns)
        angle = np.deg2rad(self.degrees * draws.signed("angle") + 90 * quarters)
        shear_x = np.tan(np.deg2rad(self.shear * draws.signed("shear_x")))
        shear_y = np.tan(np.deg2rad(self.shear * draws.signed("shear_y")))
        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        turn = linear(cos, -sin, sin, cos) @ linear(1.0, shear_x, shear_y, 1.0)
        turn = turn @ linear(flip_x, 0.0, 0.0, flip_y)
        place = translation(
            width * (0.5 + reach * draws.signed("translate_x")),
            height * (0.5 + reach * draws.signed("translate_y")),
        )
        return torch.from_numpy(place @ turn @ centre)

    def _canvas(self, sources: NDArray[np.int64], side: int, device: torch.device | str) -> Tensor:
        """Unit images (n, channels, side * H, side * W) from sources (n, side * side)."""
        pixels = self.dataset.images.on(device, sources.reshape(-1))
        height, width, channels = pixels.shape[1:]
        pixels = pixels.view(len(sources), side, side, height, width, channels)
        pixels = pixels.permute(0, 5, 1, 3, 2, 4)
        canvas = pixels.reshape(len(sources), channels, side * height, side * width)
        return to_unit(canvas, self.dataset.preprocess)

    def _moved(self, found: Targets, side: int, matrices: Tensor, rows: Tensor) -> Targets:
        """Boxes of sources, ``side * side`` of them an image, where the canvas shows them."""
        sample, offset = found.image_index // side**2, self._offsets(found.image_index, side)
        boxes = warp_boxes(found.boxes + offset.repeat(1, 2), matrices[sample].float())
        size = self.dataset.preprocess.image_size
        return visible(Targets(boxes, found.labels, rows[sample]), size)

    def _placed(self, samples: Tensor, side: int, matrices: Tensor, rows: Tensor) -> Placed:
        """All targets of ``samples`` as sources, whether :meth:`_moved` leaves them in or not."""
        found, source = self.dataset.rows(samples)
        moves = matrices[source // side**2].double()
        offset = self._offsets(source, side).double()
        moves[:, :2, 2] += (moves[:, :2, :2] @ offset[..., None]).squeeze(-1)
        return Placed(found, rows[source // side**2], moves)

    def _offsets(self, sources: Tensor, side: int) -> Tensor:
        """Where in its canvas each source (n,) begins (n, 2), x and y in pixels."""
        height, width = self.dataset.preprocess.image_size
        tile = sources % side**2
        return torch.stack((tile % side * width, tile // side * height), dim=1)

    def _seen(self, images: Tensor, draws: Draws) -> Tensor:
        """Images (B, C, H, W) under another lens, lamp and sensor, in this order.

        Half of them stay as sharp and half as clean as they are.
        """
        blur, noise = (
            torch.from_numpy(largest * draws.signed(name).clip(0)).float()
            for name, largest in (("blur", self.blur), ("noise", self.noise))
        )
        images = blurred(images, blur, self.blur)
        gain, shift = self._photometric(draws, images.shape[1])
        images = apply_colour(images, gain.to(images.device), shift.to(images.device))
        places = torch.from_numpy(np.stack([draws["noise_y"], draws["noise_x"]], axis=1))
        return grainy(images, noise, places, self.seed)

    def _photometric(self, draws: Draws, channels: int) -> tuple[Tensor, Tensor]:
        """Colour matrices (B, c, c) and shifts (B,)."""
        contrast = torch.from_numpy(1 + self.contrast * draws.signed("contrast")).float()
        bright = torch.from_numpy(1 + self.brightness * draws.signed("brightness")).float()
        gain = (contrast * bright)[:, None, None]
        if channels == 3:
            saturation = torch.from_numpy(1 + self.saturation * draws.signed("saturation"))
            hue = torch.from_numpy(2 * np.pi * self.hue * draws.signed("hue"))
            gain = gain * hue_matrix(hue.float()) @ saturation_matrix(saturation.float())
        return gain, 0.5 * (1 - contrast)

    def _mixup(
        self,
        images: Tensor,
        targets: Targets,
        rows: NDArray[np.int64],
        draws: Draws,
        indices: NDArray[np.int64],
        trail: list[Callable[[], Placed]],
    ) -> tuple[Tensor, Targets]:
        """Blends the samples ``rows`` with one more image each; both keep their boxes."""
        if not len(rows):
            return images, targets
        partners = self._partners.pick(draws["mixup_partner"][rows], indices[rows])
        share = torch.from_numpy(0.35 + 0.3 * draws["mixup_share"][rows]).float()
        other = self._canvas(partners[:, None], 1, images.device)
        where = torch.from_numpy(rows)
        images[where] = torch.lerp(images[where], other, share.to(images)[:, None, None, None])
        found = self.dataset.targets(torch.from_numpy(partners))
        unmoved = torch.eye(3).expand(len(rows), 3, 3)
        trail.append(partial(self._placed, torch.from_numpy(partners), 1, unmoved, where))
        return images, join([targets, Targets(found.boxes, found.labels, where[found.image_index])])

    def _paste(
        self,
        images: Tensor,
        targets: Targets,
        shown: list[Targets],
        rows: NDArray[np.int64],
        draws: Draws,
        indices: NDArray[np.int64],
        trail: list[Callable[[], Placed]],
    ) -> tuple[Tensor, Targets]:
        """Copies one labelled box of another image to a free place of each sample ``rows``.

        The place is inside of one of the pictures ``shown``, never in their padding.
        """
        rows = rows[self._donors.exist_for(indices[rows])]
        if not len(rows):
            return images, targets
        donors, chosen = self._donors.pick(
            draws["paste_donor"][rows], draws["paste_box"][rows], indices[rows]
        )
        room, across = rooms(join(shown), rows, draws["paste_x"][rows])
        where = np.stack((across, draws["paste_y"][rows]), axis=1)
        moved, shift, fits = placed(self.dataset.boxes[chosen], where, room)
        new = Targets(moved, self.dataset.labels[chosen], torch.from_numpy(rows))
        free = fits & is_free(new, targets)
        if not free.any():
            return images, targets
        new = Targets(new.boxes[free], new.labels[free], new.image_index[free])
        size = self.dataset.preprocess.image_size
        donor = self._canvas(donors[free.numpy()][:, None], 1, images.device)
        matrices = torch.from_numpy(translation(*shift[free].double().numpy().T))
        patch = warp(donor, matrices, size, self.dataset.preprocess.pad)
        mask = soft_mask(new.boxes, size).to(images.device)
        images[new.image_index] = torch.lerp(images[new.image_index], patch, mask)
        trail.append(partial(Placed, chosen[free], new.image_index, matrices))
        return images, join([targets, new])
