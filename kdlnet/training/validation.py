"""Validation inside training: what the averaged weights reach on val."""

from __future__ import annotations

from kdlnet.inference.evaluate import detect
from kdlnet.inference.replayed import replayed_on
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.curves import best_thresholds
from kdlnet.metrics.result import ImageResult
from kdlnet.training.parts import RunParts
from kdlnet.utils.ranks import as_of_writer, from_writer, gathered, share

_FIGURES = ("ap", "ap50", "ap75")


class Validation:
    """Called for AP on val. ``thresholds`` are those of the newest call, kept for predict.

    A run that learns from val has no figures, and keeps the thresholds it was given.

    Ranks divide the images among them; all know what comes of it. The averaged weights are those
    of rank 0, whose batch norms have statistics of their own.
    """

    def __init__(self, parts: RunParts) -> None:
        self.parts = parts
        self.thresholds = dict(parts.thresholds)
        # Recorded once for all epochs: the weights of the average change in place.
        self._network = replayed_on(parts.device, parts.average.model)

    def __call__(self) -> dict[str, float | None]:
        """AP, AP50 and AP75; the score with the best F1 becomes the threshold."""
        parts = self.parts
        if parts.config.data.with_val:
            return dict.fromkeys(_FIGURES)
        as_of_writer(parts.average.model.state_dict().values())
        engine = TorchEngine(self._network, parts.device)
        own = share(len(parts.val.paths))
        results = gathered(detect(engine, parts.val, parts.config.batch, images=own))
        figures, self.thresholds = from_writer(lambda: self._measured(results))
        return figures

    def _measured(
        self, results: list[ImageResult]
    ) -> tuple[dict[str, float | None], dict[str, float]]:
        parts = self.parts
        measured = average_precision(results, parts.info.names)
        score = best_thresholds(results, parts.info.names)[-1]
        thresholds = {} if score is None else {"score": score}
        return {figure: getattr(measured, figure) for figure in _FIGURES}, thresholds
