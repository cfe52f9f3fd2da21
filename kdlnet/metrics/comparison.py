"""The result of a comparison, as Python reads it and as comparison.json holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlnet.metrics.flips import Flips
from kdlnet.metrics.paired import ClassDifference, Difference
from kdlnet.metrics.shift import ScoreShift

SCHEMA = 1
"""Of comparison.json, see docs/metrics.md."""


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """A and B on one part of a cross-validation: ``boxes`` true ones in ``images``.

    ``ap`` and ``ap50`` are those of A and of B, means over the pairs; None without true boxes.
    """

    data: Path
    images: int
    boxes: int
    ap: tuple[float | None, float | None]
    ap50: tuple[float | None, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        both = {name: dict(zip("ab", getattr(self, name), strict=True)) for name in ("ap", "ap50")}
        return {"data": str(self.data), "images": self.images, "boxes": self.boxes, **both}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """B minus A on one split.

    ``differences`` by figure (``ap``, ``ap50``, ``ap75``, ``recall``, ``recall50``), means over the
    pairs (none without true boxes), and the same of each class in ``per_class``; ``reason`` is why
    the images tell nothing, None where they do. ``flips`` are the images by what A and B say of
    them at their own thresholds, ``shifts`` of the scores one a pair, ``figures`` a row for each
    file, ``folds`` one for each part of a cross-validation.
    """

    folder: Path
    a: list[Path]
    b: list[Path]
    data: str
    split: str
    images: int
    groups: int
    rounds: int
    differences: dict[str, Difference]
    per_class: dict[str, ClassDifference]
    flips: Flips
    shifts: list[ScoreShift]
    figures: list[dict[str, Any]] = field(default_factory=list)
    folds: list[FoldFigures] = field(default_factory=list)
    reason: str | None = None

    @property
    def verdict(self) -> str:
        """One line: which is better in AP, or that none is shown to be."""
        if not self.differences:
            found = self.flips.tests["good"]
            chance = "" if found.p is None else f", McNemar p {found.p:.3g}"
            alone = f"rejected by A alone {found.only_a}, by B alone {found.only_b}{chance}"
            return f"no AP, {self.reason}; good parts {alone}"
        ap = self.differences["ap"]
        if self.reason:
            return f"no gain shown: AP {ap.difference:+.3f}, but {self.reason}"
        facts = f"AP {ap.difference:+.3f}, 95 % interval {ap.low:+.3f} to {ap.high:+.3f}"
        if not ap.shown:
            but = f"; but {self.warning}" if self.warning else ""
            return f"no gain shown: {facts} holds zero{but}"
        but = f"; but {self.reservation}" if self.reservation else ""
        return f"{self.better} is better: {facts}{but}"

    @property
    def better(self) -> str:
        """The side with the higher AP, shown or not."""
        return "B" if self.differences["ap"].difference > 0 else "A"

    @property
    def reservation(self) -> str:
        """In what verdicts the side with the higher AP is shown to be worse, "" for nothing."""
        worse = [words for side, words in self._worse() if side == self.better]
        return f"at its own setting {self.better} {' and '.join(worse)}" if worse else ""

    @property
    def warning(self) -> str:
        """In what verdicts either side is shown to be worse, "" for nothing."""
        return " and ".join(f"at its own setting {side} {words}" for side, words in self._worse())

    def _worse(self) -> Iterator[tuple[str, str]]:
        for kind, what in (("defective", "passes more defective"), ("good", "rejects more good")):
            test = self.flips.tests[kind]
            if test.shown:
                more, fewer = ("A", "B") if test.only_a > test.only_b else ("B", "A")
                alone = f"stopped by A alone {test.only_a}, by B alone {test.only_b}"
                side = fewer if kind == "defective" else more
                yield side, f"{what} parts ({alone}, McNemar p {test.p:.2g})"

    def to_dict(self) -> dict[str, Any]:
        """What comparison.json holds: builtins, always the same keys (docs/metrics.md)."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "a": [str(path) for path in self.a],
            "b": [str(path) for path in self.b],
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "groups": self.groups,
            "rounds": self.rounds,
            "differences": {name: d.to_dict() for name, d in self.differences.items()},
            "reason": self.reason,
            "per_class": {name: d.to_dict() for name, d in self.per_class.items()},
            "flips": self.flips.to_dict(),
            "score_shift": [shift.to_dict() for shift in self.shifts],
            "figures": self.figures,
            "folds": [fold.to_dict() for fold in self.folds],
        }
