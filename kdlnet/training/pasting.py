"""Copies of defects: which can be copied, and where in another image there is room for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.data.dataset import DetectionDataset
from kdlnet.ops.boxes import box_area, box_intersection
from kdlnet.training.sampling import Partners, Sampler
from kdlnet.training.warping import Floats
from kdlnet.types import ImageSize, Targets

_SHARED = 0.05


@dataclass(frozen=True)
class Donors:
    """The boxes of ``dataset`` that can be copied: no other box reaches into them.

    What a copy shows beside its own defect would be learned as background. ``kinds`` (N,) are those
    of :class:`Partners`.
    """

    dataset: DetectionDataset
    sampler: Sampler
    kinds: NDArray[np.int64]

    def exist_for(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether there is one for the samples at ``positions`` (n,)."""
        return self._samples.exist_for(positions)

    def pick(
        self, sample: Floats, box: Floats, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Tensor]:
        """Samples (n,), and a box of each as its position (n,) in ``dataset.boxes``.

        Both by numbers (n,) in [0, 1); each of the kind of the sample at ``positions`` (n,).
        """
        donors = self._samples.pick(sample, positions)
        first = self._first[torch.from_numpy(donors)]
        counts = self._first[torch.from_numpy(donors) + 1] - first
        return donors, self._boxes[first + (torch.from_numpy(box) * counts).long()]

    @cached_property
    def _boxes(self) -> Tensor:
        every = self.dataset.targets(torch.arange(len(self.dataset)))
        return alone(every).nonzero().squeeze(1)

    @cached_property
    def _first(self) -> Tensor:
        """The first of each sample in ``_boxes``, and their number at the end, (N + 1,)."""
        return torch.searchsorted(self._boxes, self.dataset.first)

    @cached_property
    def _samples(self) -> Partners:
        return Partners(self.sampler, self.kinds, np.diff(self._first.numpy()) > 0)


def pictures(dataset: DetectionDataset) -> Tensor:
    """Where each sample shows its image (N, 4), pixels of the network input; the rest pads."""
    places = []
    for sample in dataset.samples:
        seen = np.array([sample.tile or sample.letterbox.looked_at])
        places.append(sample.letterbox.to_input(seen))
    return torch.from_numpy(np.concatenate(places)).float()


def rooms(pictures: Targets, rows: NDArray[np.int64], number: Floats) -> tuple[Tensor, Floats]:
    """A picture (n, 4) of each image ``rows`` (n,), and a number (n,) in [0, 1) that is left.

    ``number`` (n,) in [0, 1) chooses by the area; what it is beyond the pictures before is spread
    over [0, 1) again. No picture: a box without area.
    """
    found, left = torch.zeros(len(rows), 4), number.copy()
    for place, row in enumerate(rows):
        boxes = pictures.boxes[pictures.image_index == row]
        ends = box_area(boxes).double().cumsum(0).numpy()
        if not len(ends):
            continue
        bounds = np.concatenate(([0.0], ends / ends[-1]))
        one = min(int(np.searchsorted(bounds, number[place], "right")), len(ends)) - 1
        found[place] = boxes[one]
        left[place] = (number[place] - bounds[one]) / (bounds[one + 1] - bounds[one])
    return found, left


def placed(boxes: Tensor, where: Floats, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (n, 4) moved into ``room`` (n, 4), the shifts (n, 2) in whole pixels, which fit (n,).

    ``where`` (n, 2), x and y in [0, 1), is the share of the space there is for each.
    """
    corner = room[:, :2].ceil()
    space = room[:, 2:].floor() - corner - (boxes[:, 2:] - boxes[:, :2])
    shift = (corner + torch.from_numpy(where).float() * space - boxes[:, :2]).round()
    return boxes + shift.repeat(1, 2), shift, (space >= 0).all(dim=1)


def is_free(new: Targets, targets: Targets) -> Tensor:
    """Which new boxes (N,) share next to nothing with any other in their image."""
    return ~_shared(new, targets).any(dim=1)


def alone(targets: Targets) -> Tensor:
    """Which boxes (T,) share next to nothing with any other in their image."""
    free = torch.ones(len(targets.labels), dtype=torch.bool)
    order = torch.argsort(targets.image_index, stable=True)
    for rows in order.split(torch.bincount(targets.image_index).tolist()):
        some = Targets(targets.boxes[rows], targets.labels[rows], targets.image_index[rows])
        free[rows] = ~_shared(some, some).fill_diagonal_(False).any(dim=1)
    return free


def _shared(new: Targets, targets: Targets) -> Tensor:
    """Pairs (N, T) of one image of which the smaller box lies by a twentieth in the other."""
    same = new.image_index[:, None] == targets.image_index[None]
    one, two = new.boxes[:, None], targets.boxes
    smaller = torch.minimum(box_area(one), box_area(two)).clamp(min=1e-6)
    return (box_intersection(one, two) / smaller * same) > _SHARED


def soft_mask(boxes: Tensor, size: ImageSize, feather: float = 3.0) -> Tensor:
    """Masks (n, 1, H, W): 1 inside the box, falling to 0 over ``feather`` pixels outside."""
    height, width = size
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    far_x = torch.maximum(x1 - x, x - x2).clamp(min=0)
    far_y = torch.maximum(y1 - y, y - y2).clamp(min=0)
    reach = torch.maximum(far_y[:, :, None], far_x[:, None, :])
    return (1 - reach / feather).clamp(min=0)[:, None]
