"""Parts on which two detectors disagree, and whether that many can be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy.stats import binom

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
    B's. None where there is a ``reason``.
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
    pairs: Sequence[tuple[Verdicts, Verdicts]], defective: Sequence[bool], images: Sequence[str]
) -> Flips:
    """From the verdicts of A and B on each image, for each pair of detectors."""
    counts = {kind: dict.fromkeys(_BOTH.values(), 0) for kind in ("defective", "good")}
    stops = {kind: [0, 0] for kind in counts}
    flips = []
    for number, (a, b) in enumerate(pairs):
        for image, bad, first, second in zip(images, defective, a, b, strict=True):
            kind = "defective" if bad else "good"
            both = _BOTH.get((first, second)) or f"A {first}, B {second}"
            counts[kind][both] = counts[kind].get(both, 0) + 1
            stopped = [_stopped(bad, verdict) for verdict in (first, second)]
            if stopped[0] != stopped[1]:
                stops[kind][stopped.index(True)] += 1
            if first != second:
                flips.append(Flip(image, bad, first, second, number))
    tests = {kind: _mcnemar(a, b, len(pairs) == 1) for kind, (a, b) in stops.items()}
    return Flips(counts, tests, tuple(flips))


def exact_mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of the exact test; 1 where they never disagree.

    >>> round(exact_mcnemar(0, 5), 4)  # 2 / 2 ** 5
    0.0625
    """
    return min(1.0, 2 * float(binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


_BOTH: dict[tuple[Verdict, Verdict], str] = {
    ("NG", "NG"): "both NG",
    ("NG", "OK"): "only A NG",
    ("OK", "NG"): "only B NG",
    ("OK", "OK"): "both OK",
}


def _stopped(defective: bool, verdict: Verdict) -> bool:
    return verdict != "OK" if defective else verdict == "NG"


def _mcnemar(only_a: int, only_b: int, alone: bool) -> McNemar:
    if not alone:
        return McNemar(only_a, only_b, None, SEVERAL)
    return McNemar(only_a, only_b, exact_mcnemar(only_a, only_b))
