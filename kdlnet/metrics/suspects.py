"""Labels that a person should look at again, because the detector contradicts them.

Whether the label or the detector is wrong, only a look can tell; so these are lists, the most
likely slip of a label first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kdlnet.metrics.breakdown import KINDS, TRUE, Sorted
from kdlnet.metrics.result import Floats, ImageResult

FAINT = 0.05
"""A box with a lower score is nobody's word for a defect."""
LONGEST = 100
_BACKGROUND, _CLASS = KINDS.index("background"), KINDS.index("class")


@dataclass(frozen=True, slots=True)
class Suspect:
    """One box in pixels of the original image, xyxy.

    ``unlabelled``: a call of class ``found`` where nothing is labelled, with ``score``; ``class``:
    the same where a box is labelled as ``labelled``; ``unfound``: a label that no detection comes
    near, ``score`` is the highest nearby, 0 where there is none.
    """

    kind: str
    image: str
    box: tuple[float, float, float, float]
    score: float
    labelled: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Suspects:
    """The first of each kind in ``boxes``, and in ``counts`` how many there are."""

    counts: dict[str, int]
    boxes: tuple[Suspect, ...]

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {"counts": self.counts, "boxes": [_builtins(suspect) for suspect in self.boxes]}


def find_suspects(
    results: Sequence[ImageResult],
    errors: Sequence[Sorted],
    names: Sequence[str],
    score: float,
) -> Suspects:
    """Suspicious labels by the detections of each image.

    A false call is one when it scores as high as the middle one of the finds of its class at the
    operating point ``score``.
    """
    bars = _bars(results, errors, len(names), score)
    lists: dict[str, list[Suspect]] = {"unlabelled": [], "class": [], "unfound": []}
    for result, found in zip(results, errors, strict=True):
        for row, position in enumerate(found.order.tolist()):
            label = int(result.labels[position])
            if found.kind[row] in (_BACKGROUND, _CLASS) and result.scores[position] >= bars[label]:
                kind = "unlabelled" if found.kind[row] == _BACKGROUND else "class"
                lists[kind].append(_call(result, position, int(found.target[row]), kind, names))
        lists["unfound"] += _unfound(result, found, names)
    for kind, side in (("unlabelled", -1), ("class", -1), ("unfound", 1)):
        lists[kind].sort(key=lambda suspect, side=side: side * suspect.score)  # type: ignore[misc]
    counts = {kind: len(boxes) for kind, boxes in lists.items()}
    return Suspects(counts, tuple(s for boxes in lists.values() for s in boxes[:LONGEST]))


def _bars(
    results: Sequence[ImageResult], errors: Sequence[Sorted], classes: int, score: float
) -> Floats:
    """The score (C,) from which a false call of each class is suspicious."""
    bars = np.full(classes, score)
    pairs = list(zip(results, errors, strict=True))
    scores = np.concatenate([np.zeros(0), *(r.scores[e.order][e.kind == TRUE] for r, e in pairs)])
    labels = np.concatenate([np.zeros(0), *(r.labels[e.order][e.kind == TRUE] for r, e in pairs)])
    for c in range(classes):
        mine = scores[(labels == c) & (scores >= score)]
        if len(mine):
            bars[c] = np.median(mine)
    return bars


def _call(
    result: ImageResult, position: int, target: int, kind: str, names: Sequence[str]
) -> Suspect:
    labelled = names[result.truth_labels[target]] if kind == "class" else None
    box, score = result.boxes[position], float(result.scores[position])
    return Suspect(
        kind, result.name, _corners(box), score, labelled, names[result.labels[position]]
    )


def _unfound(result: ImageResult, found: Sorted, names: Sequence[str]) -> list[Suspect]:
    scores = result.scores[found.order][:, None]
    highest = np.where(found.near, scores, 0.0).max(axis=0, initial=0.0)
    return [
        Suspect(
            "unfound",
            result.name,
            _corners(result.truth_boxes[row]),
            float(highest[row]),
            names[result.truth_labels[row]],
            None,
        )
        for row in np.flatnonzero(highest < FAINT)
    ]


def _corners(box: Floats) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(value, 2) for value in box.tolist())
    return x1, y1, x2, y2


def _builtins(suspect: Suspect) -> dict[str, Any]:
    return {**asdict(suspect), "box": list(suspect.box)}
