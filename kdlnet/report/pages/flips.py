"""Parts on which A and B disagree: what the page shows of each, and what it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdlnet.metrics.comparison import Comparison
from kdlnet.metrics.flips import Flip
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import Verdict, VerdictRule
from kdlnet.report.pages.words import common_folder, visible

Context = dict[str, Any]
_MOST_BOXES = 40  # of one side on one picture


@dataclass(frozen=True)
class Side:
    """What one file says: ``results`` and ``verdicts`` of the images, in the order of the other's.

    ``rule`` says which boxes count.
    """

    results: Sequence[ImageResult]
    verdicts: Sequence[Verdict]
    rule: VerdictRule


@dataclass(frozen=True)
class Compared:
    """What the page speaks of. ``pairs`` are A and B, one a seed; ``images`` the names in flips,
    and ``defective`` the kind of each, as the flips count it.
    """

    result: Comparison
    pairs: Sequence[tuple[Side, Side]]
    images: Sequence[str]
    defective: Sequence[bool]
    names: Sequence[str]
    window: tuple[float, float] | None = None


def flip_rows(subject: Compared, flips: Sequence[Flip], rows: Sequence[int]) -> list[Context]:
    """Name, title and boxes of each flip; ``rows`` say where its image lies among the results."""
    start = len(common_folder(subject.images))
    found = []
    for flip, row in zip(flips, rows, strict=True):
        pair = f"pair {flip.pair + 1}, " if len(subject.pairs) > 1 else ""
        kind = "defective" if flip.defective else "good"
        boxes = _truth(subject, row)
        for letter, side in zip("AB", subject.pairs[flip.pair], strict=True):
            boxes += _boxes(side.results[row], side.rule, letter, subject.names)
        title = f"{pair}{kind}: A says {flip.a}, B says {flip.b}"
        found.append({"name": visible(flip.image[start:]), "title": title, "boxes": boxes})
    return found


def _truth(subject: Compared, row: int) -> list[Context]:
    result = subject.pairs[0][0].results[row]
    return [
        _box(box, "missed", f"labelled {visible(subject.names[label])}")
        for box, label in zip(result.truth_boxes, result.truth_labels, strict=True)
    ][:_MOST_BOXES]


def _boxes(
    result: ImageResult, rule: VerdictRule, letter: str, names: Sequence[str]
) -> list[Context]:
    found = result.judged
    drawable = np.isfinite(found.boxes).all(axis=1)
    found = found[rule.counting(found) & drawable]
    order = np.argsort(-found.scores, kind="stable")[:_MOST_BOXES]
    return [
        _box(
            found.boxes[i],
            f"side-{letter.lower()}",
            f"{letter}: {visible(names[found.labels[i]])}, score {found.scores[i]:.3f}",
        )
        for i in order
    ]


def _box(box: Any, state: str, text: str) -> Context:
    return {"box": [round(float(value), 1) for value in box], "state": state, "text": text}
