"""Where defects lie in the batches of a training, by their outlines, and the layer that tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.outlines import Rings
from kdlnet.losses.distill_loss import SCHEDULES
from kdlnet.losses.masks import DEFECT, UNKNOWN, mask_loss
from kdlnet.training.warping import Floats, warp_boxes
from kdlnet.types import Batch

_PRIOR = 0.01  # as that of the head: many classes without a defect weigh little
_BITS = 4  # of a pixel's parts, which OpenCV wants corners in


class MaskLayer(nn.Conv2d):
    """From the finest map of the neck (B, width, h, w) logits (B, C, h, w): where defects lie.

    It is trained beside a detector, whose maps learn by it, and is no part of it.
    """

    def __init__(self, width: int, classes: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(width, classes, 1)
            nn.init.normal_(self.weight, std=0.01)
            nn.init.constant_(self.get_parameter("bias"), -math.log((1 - _PRIOR) / _PRIOR))


class MaskLesson:
    """The loss of what ``layer`` says, times ``weight``, which falls to 0 along a cosine.

    At last the network learns nothing but boxes.
    """

    def __init__(self, layer: Callable[[Tensor], Tensor], weight: float) -> None:
        self.layer = layer
        self.weight = weight

    def __call__(self, finest: Tensor, batch: Batch, progress: float) -> Tensor | None:
        """A scalar, from the finest map (B, width, h, w); None where ``batch`` has no masks."""
        if batch.masks is None:
            return None
        weight = self.weight * SCHEDULES["cosine"](progress)
        return weight * mask_loss(self.layer(finest.float()), batch.masks, batch.looked_for)


@dataclass(frozen=True)
class Placed:
    """Targets ``rows`` (n,) of a dataset in ``images`` (n,) of a batch.

    ``matrices`` (n, 3, 3) move them from where the dataset has them to where the image does.
    """

    rows: Tensor
    images: Tensor
    matrices: Tensor


class Masks:
    """Makes the masks (B, C, h, w) of batches, uint8; a cell has ``stride`` pixels.

    A cell is of a defect where a pixel of it is. Of a target of ``dataset`` without an outline
    nothing is known within its box.
    """

    def __init__(self, dataset: DetectionDataset, classes: int, stride: int) -> None:
        height, width = dataset.preprocess.image_size
        self.shape = classes, height // stride, width // stride
        self.stride = stride
        self.outlines = dataset.outlines
        self.boxes = dataset.boxes
        self.labels = dataset.labels.tolist()

    def __call__(self, batch: int, placed: Iterable[Placed]) -> Tensor:
        """Those of ``batch`` images, from all that was ``placed`` into them."""
        masks = np.zeros((batch, *self.shape), np.uint8)
        for some in placed:
            moves = some.matrices.double()
            cells = self._cells(warp_boxes(self.boxes[some.rows].double(), moves).numpy())
            steps = zip(some.rows.tolist(), some.images.tolist(), moves.numpy(), strict=True)
            for (row, image, move), (x1, y1, x2, y2) in zip(steps, cells.tolist(), strict=True):
                seen = masks[image, self.labels[row], y1:y2, x1:x2]
                if seen.size and self.outlines[row]:
                    move = move - np.array([[0, 0, x1], [0, 0, y1], [0, 0, 0]]) * self.stride
                    seen[self._inside(self.outlines[row], move, seen.shape)] = DEFECT
                else:
                    seen[seen != DEFECT] = UNKNOWN
        return torch.from_numpy(masks)

    def _cells(self, boxes: Floats) -> NDArray[np.int64]:
        """The cells (n, 4) that boxes (n, 4) in pixels touch, the last ones excluded."""
        _, height, width = self.shape
        low, high = np.floor(boxes[:, :2] / self.stride), np.ceil(boxes[:, 2:] / self.stride)
        cells = np.concatenate((low, high), axis=1).clip(0, (width, height) * 2)
        return cells.astype(np.int64)

    def _inside(self, rings: Rings, move: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which cells (h, w) have a pixel within ``rings``, moved by ``move`` (3, 3)."""
        height, width = shape
        pixels = np.zeros((height * self.stride, width * self.stride), np.uint8)
        corners = (ring @ move[:2, :2].T + move[:2, 2] - 0.5 for ring in rings)
        fixed = [np.round(ring * (1 << _BITS)).astype(np.int32) for ring in corners]
        cv2.fillPoly(pixels, fixed, 1, shift=_BITS)
        cells = pixels.reshape(height, self.stride, width, self.stride).any(axis=(1, 3))
        return np.asarray(cells)
