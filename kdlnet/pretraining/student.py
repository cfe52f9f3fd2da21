"""What is done with a batch of lessons, and what tells whether it was worth it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdlnet.pretraining.batches import LessonBatch, LessonBatches
from kdlnet.pretraining.mimic import mimic_loss, part_of, wanted
from kdlnet.types import StepOutput

_TOGETHER = 64


class MimicStep:
    """The loss of a batch of lessons. Needs no boxes."""

    def __init__(
        self, student: Callable[[Tensor], dict[str, Tensor]], autocast: torch.dtype | None = None
    ) -> None:
        self.student = student
        self.autocast = autocast

    def __call__(self, batch: LessonBatch, progress: float) -> StepOutput:
        with torch.autocast(
            batch.images.device.type, self.autocast, enabled=self.autocast is not None
        ):
            guesses = self.student(batch.images)
        return mimic_loss(guesses, wanted(batch.lesson))


@torch.no_grad()
def explained(
    student: nn.Module, batches: LessonBatches, rows: NDArray[np.int64]
) -> dict[str, float | None]:
    """How much of the variance of the teacher's answers the ``student`` explains on views ``rows``.

    A share by what is learned, and their mean as ``explained``: 1 is all, 0 what a constant does.
    """
    wrong: dict[str, float] = {}
    whole: dict[str, float] = {}
    for start in range(0, len(rows), _TOGETHER):
        batch = batches.plain(rows[start : start + _TOGETHER])
        guesses = student(batch.images)
        for name, target in wanted(batch.lesson).items():
            wrong[name] = wrong.get(name, 0.0) + float((guesses[name] - target).square().sum())
            whole[name] = whole.get(name, 0.0) + float(target.square().sum())
    shares = {name: 1 - wrong[name] / whole[name] for name in wrong}
    by_part: dict[str, list[float]] = {}
    for name, share in shares.items():
        by_part.setdefault(f"explained_{part_of(name)}", []).append(share)
    means: dict[str, float | None] = {part: fmean(found) for part, found in by_part.items()}
    return {"explained": fmean(shares.values()), **means}
