"""Batches of views with their lessons: mirrored together, the student's view changed in tone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.pretraining.lessons import Lessons, to_unit
from kdlnet.pretraining.mimic import Scale
from kdlnet.pretraining.teachers import Lesson
from kdlnet.training.draws import uniforms
from kdlnet.training.sampling import Sampler
from kdlnet.utils.ranks import share

_GREY = 0.2  # of the student's views lose a colour that the teacher saw
_CONTRAST, _BRIGHTNESS = 0.4, 0.3
_LUMINANCE = (0.299, 0.587, 0.114)
_DRAWS = 5  # flips, grey, contrast, brightness


@dataclass(frozen=True)
class LessonBatch:
    """Images (B, 3, H, W) in [0, 1] and the scaled lesson about them."""

    images: Tensor
    lesson: Lesson


class LessonBatches:
    """``epoch(n, mixing)`` yields the batches of epoch n, the same for the same ``seed``.

    They show the views ``rows``, in another order and otherwise changed in every epoch. ``mixing``
    makes no difference: a view is one image. Several ranks share each batch.
    """

    def __init__(
        self,
        lessons: Lessons,
        scale: Scale,
        rows: NDArray[np.int64],
        batch: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.lessons = lessons
        self.scale = scale.to(device)
        self.rows = rows
        self.batch = min(batch, len(rows))
        self.seed = seed
        self.device = device

    def __len__(self) -> int:
        return len(self.rows) // self.batch

    def epoch(self, epoch: int, mixing: bool) -> Iterator[LessonBatch]:
        """Batches of ``epoch`` on the training device."""
        order = self.rows[Sampler(np.ones(len(self.rows))).order(self.seed, epoch)]
        own = share(self.batch)
        for start in range(0, len(self) * self.batch, self.batch):
            rows = np.sort(order[start + own.start : start + own.stop])
            draws = torch.from_numpy(_draws(self.seed, epoch, rows)).float().to(self.device)
            plain = self.plain(rows)
            yield changed(plain, draws)

    def plain(self, rows: NDArray[np.int64]) -> LessonBatch:
        """The views ``rows`` as they are."""
        views, lesson = self.lessons[rows]
        maps = [x.to(self.device).float() for x in lesson.maps]
        lasting = [x.contiguous(memory_format=torch.channels_last) for x in maps]
        scaled = self.scale(Lesson(tuple(lasting), lesson.vector.to(self.device)))
        return LessonBatch(to_unit(views.to(self.device)), scaled)


def changed(batch: LessonBatch, draws: Tensor) -> LessonBatch:
    """``batch`` mirrored, lesson and all, and its images in another tone.

    ``draws`` (B, 5) in [0, 1) decide.
    """
    images, maps = batch.images, list(batch.lesson.maps)
    for axis, column in ((3, 0), (2, 1)):
        turned = (draws[:, column] < 0.5).view(-1, 1, 1, 1)
        images = torch.where(turned, images.flip(axis), images)
        maps = [torch.where(turned, x.flip(axis), x) for x in maps]
    weights = images.new_tensor(_LUMINANCE).view(1, 3, 1, 1)
    grey = (draws[:, 2] < _GREY).view(-1, 1, 1, 1)
    images = torch.where(grey, (images * weights).sum(1, keepdim=True), images)
    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = _around_one(draws[:, 3], _CONTRAST)
    images = (images - mean) * contrast + mean * _around_one(draws[:, 4], _BRIGHTNESS)
    images = images.clamp(0, 1).contiguous(memory_format=torch.channels_last)
    return LessonBatch(images, Lesson(tuple(maps), batch.lesson.vector))


def _around_one(draws: Tensor, reach: float) -> Tensor:
    return (1 + reach * (2 * draws - 1)).view(-1, 1, 1, 1)


def _draws(seed: int, epoch: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers (B, 5) in [0, 1) that depend on (seed, epoch, view) alone."""
    return np.stack([uniforms(seed, epoch, int(row), _DRAWS) for row in rows])
