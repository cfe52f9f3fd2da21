"""What was predicted and what is true on one image: the input of every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kdlnet.ops.arrays import box_area, box_intersection
from kdlnet.types import DetectionArrays, ImageSize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Detections and truth of one image, boxes in pixels of the original image.

    ``boxes`` (N, 4) xyxy with ``x1 < x2`` and ``y1 < y2``, ``scores`` (N,) in any order,
    ``labels`` (N,) in [0, C); ``truth_boxes`` (T, 4) and ``truth_labels`` (T,) likewise.
    ``truth_outlines`` has for each the polygon (K, 2) that it goes around, None where nothing but
    the box is known; none given: nowhere. ``size`` is (H, W); ``name`` says which image it is. N
    and T may be 0. ``others`` are detections of classes that the image is not labelled for: whether
    they are right is not known, so that verdicts alone count them, see :attr:`judged`. ``labelled``
    are boxes, labels and outlines of the whole image where the truth is that of a region of it: the
    same first, uncut.

    Arrays and sequences of other dtypes are converted; ValueError when the lengths disagree. Scores
    and corners that are not finite may occur: such a detection finds nothing and is no false call
    either, but makes a part NG (:mod:`kdlnet.metrics.verdict`).
    """

    boxes: Floats
    scores: Floats
    labels: Ints
    truth_boxes: Floats
    truth_labels: Ints
    size: ImageSize
    name: str = ""
    others: DetectionArrays | None = None
    truth_outlines: Sequence[Floats | None] = ()
    labelled: tuple[Floats, Ints, Sequence[Floats | None]] | None = None

    def __post_init__(self) -> None:
        for field, shape, dtype in (
            ("boxes", (-1, 4), np.float64),
            ("scores", (-1,), np.float64),
            ("labels", (-1,), np.int64),
            ("truth_boxes", (-1, 4), np.float64),
            ("truth_labels", (-1,), np.int64),
        ):
            array = np.asarray(getattr(self, field), dtype=dtype).reshape(shape)
            object.__setattr__(self, field, array)
        counts = len(self.boxes), len(self.scores), len(self.labels)
        if len(set(counts)) != 1:
            raise ValueError(f"{self.name}: boxes, scores and labels have {counts} entries")
        if len(self.truth_boxes) != len(self.truth_labels):
            raise ValueError(
                f"{self.name}: {len(self.truth_boxes)} true boxes, {len(self.truth_labels)} labels"
            )

    @property
    def judged(self) -> DetectionArrays:
        """All detections, as a verdict counts them and ``kdlnet predict`` does."""
        known = DetectionArrays(self.boxes, self.scores, self.labels)
        if self.others is None:
            return known
        return DetectionArrays(
            np.concatenate([known.boxes, self.others.boxes]),
            np.concatenate([known.scores, self.others.scores]),
            np.concatenate([known.labels, self.others.labels]),
        )

    @property
    def truth(self) -> DetectionArrays:
        """True boxes as if they were found with certainty."""
        return DetectionArrays(self.truth_boxes, np.ones(len(self.truth_boxes)), self.truth_labels)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which detections (N,) have a finite score and finite corners."""
        usable: NDArray[np.bool_] = np.isfinite(self.scores) & np.isfinite(self.boxes).all(axis=1)
        return usable

    def renumbered(self, row: Ints) -> ImageResult:
        """The same with ``row[k]`` for every label k: how another list of classes counts."""
        others = self.others and replace(self.others, labels=row[self.others.labels])
        labels, truth_labels = row[self.labels], row[self.truth_labels]
        return replace(self, labels=labels, truth_labels=truth_labels, others=others)


def box_iou(a: Floats, b: Floats) -> Floats:
    """IoU of every pair: (N, 4) and (T, 4) xyxy -> (N, T); 0 where both boxes are empty."""
    overlap = box_intersection(a[:, None], b)
    union = box_area(a)[:, None] + box_area(b) - overlap
    iou: Floats = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou
