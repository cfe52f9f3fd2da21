"""``kdlnet val``: run a detector over a split, measure, draw, write."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlnet.data.catalog import find_dataset
from kdlnet.events import Listener, ignore
from kdlnet.images.contract import TileChoice, adjusted
from kdlnet.images.window import Window
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.weights import load_weights
from kdlnet.metrics.average_precision import average_precision
from kdlnet.report.validation import write_inspection
from kdlnet.types import ImageSize
from kdlnet.utils.device import find_device, prepare, synchronize
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json
from kdlnet.utils.output import new_folder


@dataclass(frozen=True)
class ValResult:
    """``metrics`` is what metrics.json in ``folder`` holds; ``problems`` one line a problem."""

    folder: Path
    metrics: dict[str, Any]
    problems: list[str] = field(default_factory=list)


def validate(
    weights: Path,
    *,
    data: str,
    split: str = "val",
    data_root: Path | None = None,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
    batch: int = 16,
    device: str = "auto",
    out: Path | None = None,
    overwrite: bool = False,
    score_threshold: float = 0.001,
    iou_threshold: float = 0.65,
    max_detections: int = 300,
    strict: bool = False,
    pictures: bool = True,
    on_event: Listener = ignore,
) -> ValResult:
    """Measures ``weights`` on a split and writes metrics.json, curves and pictures.

    ``image_size``, ``window``, ``tile`` and ``overlap`` replace what the weights hold, see
    :func:`~kdlnet.images.contract.adjusted`; the figures are those of whole images all the same.
    Raises WeightsError, DataError or ConfigError for what cannot be used.
    """
    target = find_device(device)
    prepare(target)
    loaded = load_weights(weights, target)
    info = find_dataset(data, data_root)
    contract = adjusted(loaded.preprocess, image_size, window, tile, overlap)
    dataset, loaded_split = open_split(loaded, info, split, contract, strict, on_event)
    folder = new_folder(
        Path("runs/val") / info.name,
        out,
        overwrite,
        reads=[weights, info.source],
        images=dataset.paths,
    )
    began = time.perf_counter()
    results = detect(
        loaded.detector,
        dataset,
        batch,
        target,
        score_threshold,
        iou_threshold,
        max_detections,
        on_event,
    )
    synchronize(target)
    seconds = time.perf_counter() - began
    metrics = {
        **average_precision(results, loaded.names, max_detections).to_dict(),
        "images_per_second": round(len(results) / seconds, 2),
        "seconds": round(seconds, 3),
        "weights": str(weights),
        "model": loaded.model,
        "fused": loaded.fused,
        "data": info.name,
        "split": split,
        "preprocess": dataset.preprocess.to_dict(),
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "max_detections": max_detections,
        "device": str(target),
        "left_out": [*loaded_split.left_out, *dataset.unreadable],
        "label_problems": [str(problem) for problem in loaded_split.problems],
    }
    metrics |= write_inspection(
        folder, results, loaded.names, dataset.preprocess, pictures, on_event
    )
    write_json(folder / "environment.json", environment())
    write_json(folder / "metrics.json", metrics)
    return ValResult(folder, metrics, [*metrics["left_out"], *metrics["label_problems"]])
