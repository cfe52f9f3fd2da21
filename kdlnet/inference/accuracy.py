"""How accurate a runtime is on a split, to stand beside how fast it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdlnet.data.catalog import find_dataset
from kdlnet.events import Listener
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.runtimes import Runtime
from kdlnet.metrics.average_precision import average_precision
from kdlnet.utils.given import Name


@dataclass(frozen=True)
class Accuracy:
    """COCO figures in [0, 1], as ``kdlnet val`` has them; None where no true box is."""

    ap: float | None
    ap50: float | None
    images: int


def accuracy_on(
    runtime: Runtime, data: Name, split: str, data_root: Path | None, on_event: Listener
) -> Accuracy:
    """Of the network as it is measured. Raises DataError for labels that do not fit it."""
    info = find_dataset(data, data_root)
    dataset, _ = open_split(runtime, info, split, runtime.preprocess, False, on_event)
    results = detect(runtime.engine, dataset, 16, on_event=on_event)
    found = average_precision(results, runtime.names)
    return Accuracy(found.ap, found.ap50, found.images)
