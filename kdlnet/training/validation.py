"""Validation inside training: what the averaged weights reach on val."""

from __future__ import annotations

from kdlnet.inference.evaluate import detect
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.curves import curves
from kdlnet.training.parts import RunParts


class Validation:
    """Called for AP on val. ``thresholds`` are those of the newest call, kept for predict."""

    def __init__(self, parts: RunParts) -> None:
        self.parts = parts
        self.thresholds: dict[str, float] = {}

    def __call__(self) -> dict[str, float | None]:
        """AP, AP50 and AP75; the score with the best F1 becomes the threshold."""
        parts = self.parts
        engine = TorchEngine(parts.average.model, parts.device)
        results = detect(engine, parts.val, parts.config.batch)
        measured = average_precision(results, parts.info.names)
        best = curves(results, parts.info.names).overall.best
        self.thresholds = {} if best is None else {"score": round(best.score, 4)}
        return {"ap": measured.ap, "ap50": measured.ap50, "ap75": measured.ap75}
