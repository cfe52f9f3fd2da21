"""The result of a validation, as Python reads it and as metrics.json holds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdlnet.metrics.analysis import Analysis
from kdlnet.metrics.average_precision import AveragePrecision
from kdlnet.metrics.drift import Drift
from kdlnet.metrics.errors import OperatingPoint
from kdlnet.metrics.rates import VerdictReport
from kdlnet.types import Preprocess

SCHEMA = 1
"""Of metrics.json, see docs/metrics.md: one more where a key goes or changes its meaning."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What one part of a cross-validation came to: ``boxes`` true ones in ``images``."""

    weights: Path
    data: Path
    images: int
    boxes: int
    ap: float | None
    ap50: float | None

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {**asdict(self), "weights": str(self.weights), "data": str(self.data)}


@dataclass(frozen=True, kw_only=True)
class EvalResult:
    """Figures of one file on one split, and how they came about.

    ``folder`` holds metrics.json and the pictures. ``fused`` says what the file holds.
    ``operating_point`` is at the score with the best F1 over all classes, ``best_scores`` are those
    of each class. ``analysis`` holds all else that the boxes tell. ``confusion`` has a row for
    each true class and a column for each predicted one, the background last. ``verdicts`` are
    those of the rule in the file. ``learned`` counts the images that the weights have learned from,
    None where the file does not tell. ``left_out`` has a line for each image that was not used,
    ``label_problems`` one for each label row that was dropped or clipped. ``drift`` has the figures
    under other light, blur and noise, where they were asked for.
    """

    folder: Path
    precision: AveragePrecision
    analysis: Analysis
    operating_point: OperatingPoint
    best_scores: dict[str, float]
    confusion: list[list[int]]
    verdicts: VerdictReport
    images_per_second: float
    seconds: float
    weights: Path
    model: str
    fused: bool
    data: str
    split: str
    preprocess: Preprocess
    score_threshold: float
    iou_threshold: float
    max_detections: int
    device: str
    learned: int | None
    left_out: list[str]
    label_problems: list[str]
    folds: list[Fold] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """One line for each problem in the data."""
        return [*self.left_out, *self.label_problems]

    def to_dict(self) -> dict[str, Any]:
        """What metrics.json holds: builtins, always the same keys (docs/metrics.md)."""
        return {
            "schema": SCHEMA,
            **self.precision.to_dict(),
            **self.analysis.to_dict(),
            "images_per_second": round(self.images_per_second, 2),
            "seconds": round(self.seconds, 3),
            "weights": str(self.weights),
            "model": self.model,
            "fused": self.fused,
            "data": self.data,
            "split": self.split,
            "preprocess": self.preprocess.to_dict(),
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "device": self.device,
            "learned_images": self.learned,
            "left_out": self.left_out,
            "label_problems": self.label_problems,
            "folds": [fold.to_dict() for fold in self.folds],
            "operating_point": self.operating_point.to_dict(),
            "best_f1_score_per_class": self.best_scores,
            "confusion": self.confusion,
            "verdicts": self.verdicts.to_dict(),
            "drift": [one.to_dict() for one in self.drift],
        }
