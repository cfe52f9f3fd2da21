"""Which samples an epoch shows, and how often: defects among good parts, rare classes among common.

A plant has many good parts and few defects. Shown as they come, most batches hold nothing to find
and a network learns to find nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.dataset import DetectionDataset
from kdlnet.utils.words import percent

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sampler:
    """Draws positions of a dataset. ``often`` (N,), mean 1: how often an epoch shows each."""

    often: Floats

    @cached_property
    def _reach(self) -> Floats:
        return np.cumsum(self.often)

    def order(self, seed: int, epoch: int) -> Ints:
        """What ``epoch`` shows, (N,): a number each, whose rest by N is the position.

        Those of a sample that comes more than once differ by N, so that each can look different.
        A sample comes ``often`` times, rounded up or down by chance.
        """
        count = len(self.often)
        key = np.array([seed, (1 << 63) + epoch], dtype=np.uint64)
        random = np.random.Generator(np.random.Philox(key=key))
        mixed: Ints = random.permutation(count)
        ends = np.floor(self._reach + random.random()).astype(np.int64)
        ends[-1] = count  # a sum of shares may miss the whole by a rounding
        times = np.diff(ends, prepend=0)
        first = np.repeat(ends - times, times)
        shown = np.repeat(np.arange(count), times) + count * (np.arange(count) - first)
        return shown[mixed]

    def pick(self, uniform: Floats) -> Ints:
        """Positions (n,) from numbers (n,) in [0, 1), each as likely as it is shown often."""
        found: Ints = np.searchsorted(self._reach, uniform * self._reach[-1], side="right")
        last: Ints = np.minimum(found, len(self.often) - 1)
        return last

    def only(self, some: NDArray[np.bool_]) -> Sampler:
        """That draws of ``some`` (N,) alone, which must hold one."""
        often = np.where(some, self.often, 0.0)
        return Sampler(often * (len(often) / often.sum()))


class Partners:
    """Draws for each sample another of its kind, of those that ``may`` (N,) be drawn.

    ``kinds`` (N,) number the samples that go together: what is mixed into an image must be labelled
    for the same classes, or a part of it would be no proof of what is not there.
    """

    def __init__(self, sampler: Sampler, kinds: Ints, may: NDArray[np.bool_] | None = None) -> None:
        self._kinds = kinds
        self._of: dict[int, Sampler] = {}
        for kind in np.unique(kinds):
            some = kinds == kind if may is None else (kinds == kind) & may
            if some.any():
                self._of[int(kind)] = sampler if some.all() else sampler.only(some)

    def exist_for(self, positions: Ints) -> NDArray[np.bool_]:
        """Whether there is one for the samples at ``positions`` (n,)."""
        return np.isin(self._kinds[positions], list(self._of))

    def pick(self, uniform: Floats, positions: Ints) -> Ints:
        """Positions (n,) from numbers (n,) in [0, 1), each of the kind of ``positions`` (n,)."""
        found = np.zeros(len(uniform), np.int64)
        for kind in np.unique(self._kinds[positions]):
            rows = self._kinds[positions] == kind
            found[rows] = self._of[int(kind)].pick(uniform[rows])
        return found


def balanced(dataset: DetectionDataset, defects: float, rare: float) -> Sampler:
    """A sampler under which at least the share ``defects`` of an epoch shows a box.

    Among the samples with boxes, one that shows a class which fewer than the share ``rare`` of them
    do comes sqrt(rare / share) times as often (repeat factors of LVIS, Gupta et al. 2019). What is
    not short is not touched: all samples come once.
    """
    shown = classes_shown(dataset)
    busy = np.logical_or.reduce(shown, axis=1)
    often = np.ones(len(busy))
    if not busy.any():
        return Sampler(often)
    share = shown[busy].mean(axis=0)
    repeat = np.sqrt(np.divide(rare, share, out=np.ones_like(share), where=share > 0)).clip(min=1)
    often[busy] = np.where(shown[busy], repeat, 1.0).max(axis=1)
    good = len(busy) - int(busy.sum())
    if often[busy].sum() < defects * (often[busy].sum() + good):
        often[busy] *= defects * good / ((1 - defects) * often[busy].sum())
    return Sampler(often * (len(often) / often.sum()))


def classes_shown(dataset: DetectionDataset) -> NDArray[np.bool_]:
    """Which classes each sample shows, (N, C)."""
    counts = np.diff(dataset.first.numpy())
    labels = dataset.labels.numpy()
    shown = np.zeros((len(counts), int(labels.max(initial=-1)) + 1), dtype=bool)
    shown[np.repeat(np.arange(len(counts)), counts), labels] = True
    return shown


def describe(sampler: Sampler, dataset: DetectionDataset, names: Sequence[str]) -> str | None:
    """One line that says what comes more often than it is there; None where nothing does."""
    if np.ptp(sampler.often) < 1e-9:
        return None
    shown = classes_shown(dataset)
    busy = np.logical_or.reduce(shown, axis=1)
    there, now = busy.mean(), sampler.often[busy].sum() / len(busy)
    factors = [sampler.often[column].mean() for column in shown.T if column.any()]
    named = [name for name, column in zip(names, shown.T, strict=False) if column.any()]
    often = ", ".join(f"{name} {each:.1f}x" for name, each in zip(named, factors, strict=True))
    return (
        f"{busy.sum()} of {len(busy)} samples show a defect ({percent(there)}); they are "
        f"{percent(now)} of every epoch: {often}"
    )
