"""Where defects lie in the batches of a training, by their outlines, and the layer that tells."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.outlines import Outline
from kdlnet.losses.masks import DEFECT, UNKNOWN, mask_loss

_PRIOR = 0.02
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
    """The loss of what ``layer`` says, times ``weight``."""

    def __init__(self, layer: Callable[[Tensor], Tensor], weight: float) -> None:
        self.layer = layer
        self.weight = weight

    def __call__(self, finest: Tensor, masks: Tensor, looked_for: Tensor | None) -> Tensor:
        """A scalar; ``finest`` (B, width, h, w), the others as :func:`mask_loss` takes them."""
        return self.weight * mask_loss(self.layer(finest.float()), masks, looked_for)


class Masks:
    """Masks (B, C, h, w) of a batch, drawn target by target; a cell has ``stride`` pixels.

    A cell is of a defect where one pixel of it is. Of a target of ``dataset`` without an outline
    nothing is known within its box.
    """

    def __init__(self, dataset: DetectionDataset, classes: int, stride: int, batch: int) -> None:
        height, width = dataset.preprocess.image_size
        self.dataset = dataset
        self.stride = stride
        self.cells = np.zeros((batch, classes, height // stride, width // stride), np.uint8)

    def draw(self, rows: Tensor, images: Tensor, matrices: Tensor) -> None:
        """The targets ``rows`` (n,) of the dataset into ``images`` (n,) of the batch.

        ``matrices`` (n, 3, 3) move them from where the dataset has them to where the image does.
        """
        moves = matrices.double().numpy()
        for row, image, move in zip(rows.tolist(), images.tolist(), moves, strict=True):
            plane = self.cells[image, int(self.dataset.labels[row])]
            outline = self.dataset.outlines[row]
            known = len(outline) > 0
            corners = outline if known else _corners(self.dataset.boxes[row].tolist())
            self._fill(plane, corners @ move[:2, :2].T + move[:2, 2], DEFECT if known else UNKNOWN)

    def _fill(self, plane: NDArray[np.uint8], corners: Outline, value: int) -> None:
        """Cells of ``plane`` (h, w) that ``corners`` (K, 2), pixels of the image, go around."""
        side = self.stride
        limits = np.array(plane.shape[::-1])
        low = np.clip(np.floor(corners.min(axis=0) / side).astype(int), 0, limits)
        high = np.clip(np.ceil(corners.max(axis=0) / side).astype(int), 0, limits)
        if (low >= high).any():
            return
        (left, top), (right, bottom) = low, high
        pixels = np.zeros(((bottom - top) * side, (right - left) * side), np.uint8)
        fixed = np.round((corners - low * side - 0.5) * (1 << _BITS)).astype(np.int32)
        cv2.fillPoly(pixels, [fixed], 1, shift=_BITS)
        cells = pixels.reshape(bottom - top, side, right - left, side).max(axis=(1, 3))
        seen = plane[top:bottom, left:right]
        seen[(cells > 0) & (seen != DEFECT)] = value


def _corners(box: list[float]) -> Outline:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
