"""Parts on which two detectors disagree, and whether that many can be chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from kdlnet.metrics.intervals import group_numbers
from kdlnet.metrics.verdict import Verdict

SEVERAL = "several pairs: one part would count several times"


@dataclass(frozen=True, slots=True)
class Flip:
    """One image with other verdicts of A and B; ``pair`` counts the pairs from 0."""

    image: str
    defective: bool
    a: Verdict
    b: Verdict
    pair: int = 0


@dataclass(frozen=True, slots=True)
class McNemar:
    """Parts that only A and that only B stops, and the chance ``p`` of so uneven a share.

    Two-sided and exact (McNemar 1947): of the parts on which they disagree each is as likely A's as
    B's, or of groups of parts each group's, whole. None where there is a ``reason``.
    """

    only_a: int
    only_b: int
    p: float | None
    reason: str | None = None

    @property
    def shown(self) -> bool:
        """Whether that is more than chance, at 5 %."""
        return self.p is not None and self.p < 0.05


@dataclass(frozen=True, slots=True)
class Flips:
    """Verdicts of A beside those of B.

    ``counts`` by kind of part, ``"defective"`` or ``"good"``, and by both verdicts. A defective
    part is stopped unless it is OK (what is not stopped escapes), a good one when it is NG (what
    is stopped is overkill): ``tests`` by the same kinds.
    """

    counts: dict[str, dict[str, int]]
    tests: dict[str, McNemar]
    images: tuple[Flip, ...]

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "counts": self.counts,
            "mcnemar": {kind: asdict(test) for kind, test in self.tests.items()},
            "images": [asdict(flip) for flip in self.images],
        }


Verdicts = Sequence[Verdict]


def find_flips(
    pairs: Sequence[tuple[Verdicts, Verdicts]],
    defective: Sequence[bool],
    images: Sequence[str],
    groups: Sequence[int] | None = None,
) -> Flips:
    """From the verdicts of A and B on each image, for each pair of detectors.

    ``groups``: a number an image, of those that are not independent.
    """
    group = group_numbers(groups, len(images)).tolist()
    counts = {kind: dict.fromkeys(_BOTH.values(), 0) for kind in ("defective", "good")}
    stops: dict[str, list[tuple[int, int]]] = {kind: [] for kind in counts}
    flips = []
    for number, (a, b) in enumerate(pairs):
        for image, of, bad, first, second in zip(images, group, defective, a, b, strict=True):
            kind = "defective" if bad else "good"
            both = _BOTH.get((first, second)) or f"A {first}, B {second}"
            counts[kind][both] = counts[kind].get(both, 0) + 1
            stopped = [_stopped(bad, verdict) for verdict in (first, second)]
            if stopped[0] != stopped[1]:
                stops[kind].append((stopped.index(True), of))
            if first != second:
                flips.append(Flip(image, bad, first, second, number))
    tests = {kind: _mcnemar(found, len(pairs) == 1) for kind, found in stops.items()}
    return Flips(counts, tests, tuple(flips))


def exact_mcnemar(gaps: Sequence[int]) -> float:
    """Two-sided p from how many more parts B alone stops than A alone, of each group of parts.

    The chance of a sum as far from 0 where each gap is as likely to have the other sign: with
    groups of one part McNemar's exact test. 1 where they never disagree.

    >>> round(exact_mcnemar([1, 1, 1, 1, 1]), 4), exact_mcnemar([5])  # 2 / 2 ** 5
    (0.0625, 1.0)
    """
    sizes, counts = np.unique(np.abs(np.array(gaps, dtype=np.int64)), return_counts=True)
    chances = np.ones(1)  # of each sum, from the least one in steps of 1
    for size, count in zip(sizes[sizes > 0], counts[sizes > 0], strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, steps)
    sums = np.arange(len(chances)) - len(chances) // 2
    return min(1.0, float(chances[np.abs(sums) >= abs(sum(gaps))].sum()))


_BOTH: dict[tuple[Verdict, Verdict], str] = {
    ("NG", "NG"): "both NG",
    ("NG", "OK"): "only A NG",
    ("OK", "NG"): "only B NG",
    ("OK", "OK"): "both OK",
}


def _stopped(defective: bool, verdict: Verdict) -> bool:
    return verdict != "OK" if defective else verdict == "NG"


def _mcnemar(stops: Sequence[tuple[int, int]], alone: bool) -> McNemar:
    """From the side, 0 for A, and the group of each part that one of them stops."""
    gaps: Counter[int] = Counter()
    for side, group in stops:
        gaps[group] += 1 if side else -1
    only_b = sum(side for side, _ in stops)
    p = exact_mcnemar(list(gaps.values())) if alone else None
    return McNemar(len(stops) - only_b, only_b, p, None if alone else SEVERAL)
