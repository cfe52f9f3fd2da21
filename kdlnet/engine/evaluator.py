"""Validation: run a detector over a split, measure, draw, write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.dataset import DetectionDataset, Split, load_split
from kdlnet.data.labels import ImageLabels, summarize
from kdlnet.engine.checkpoint import Weights, load_weights
from kdlnet.engine.device import find_device, prepare, synchronize
from kdlnet.engine.events import Listener, Message, Progress, ignore
from kdlnet.engine.inspection import write_inspection
from kdlnet.engine.run import environment, new_folder, protect, write_json
from kdlnet.engine.steps import Forward
from kdlnet.errors import DataError
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.result import ImageResult
from kdlnet.ops.nms import select_detections
from kdlnet.types import ImageSize, Preprocess


@dataclass(frozen=True)
class ValResult:
    """``metrics`` is what metrics.json in ``folder`` holds; ``problems`` one line a problem."""

    folder: Path
    metrics: dict[str, Any]
    problems: list[str] = field(default_factory=list)


@torch.no_grad()
def detect(
    detector: Forward,
    dataset: DetectionDataset,
    batch: int,
    device: torch.device,
    score_threshold: float = 0.001,
    iou_threshold: float = 0.65,
    max_detections: int = 300,
    on_event: Listener = ignore,
) -> list[ImageResult]:
    """Detections of every image beside its truth, boxes in pixels of the original image.

    ``detector`` is in eval mode already.
    """
    results = []
    for start in range(0, len(dataset), batch):
        indices = range(start, min(start + batch, len(dataset)))
        images = dataset.batch(indices, device).images
        found = select_detections(
            detector(images),
            dataset.preprocess.image_size,
            score_threshold,
            iou_threshold,
            max_detections,
        )
        for index, detections in zip(indices, found, strict=True):
            detections = detections.cpu()
            geometry = dataset.letterboxes[index]
            truth_boxes, truth_labels = dataset.truth(index)
            results.append(
                ImageResult(
                    geometry.to_original(detections.boxes.double()).numpy(),
                    detections.scores.double().numpy(),
                    detections.labels.numpy(),
                    truth_boxes,
                    truth_labels,
                    geometry.original_size,
                    str(dataset.paths[index]),
                )
            )
        on_event(Progress("validate", len(results), len(dataset)))
    return results


def validate(
    weights: Path,
    *,
    data: str,
    split: str = "val",
    data_root: Path | None = None,
    image_size: ImageSize | None = None,
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

    Raises WeightsError, DataError or ConfigError for what cannot be used.
    """
    target = find_device(device)
    prepare(target)
    if overwrite:
        protect(out, [weights])
    loaded = load_weights(weights, target)
    info = find_dataset(data, data_root)
    dataset, problems = open_split(loaded, info, split, image_size, strict, on_event)
    folder = new_folder(Path("runs/val") / info.name, out, overwrite)
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
        "left_out": dataset.unreadable,
        "label_problems": [str(problem) for problem in problems],
    }
    metrics |= write_inspection(
        folder, results, loaded.names, dataset.preprocess, pictures, on_event
    )
    write_json(folder / "environment.json", environment())
    write_json(folder / "metrics.json", metrics)
    return ValResult(folder, metrics, [*dataset.unreadable, *metrics["label_problems"]])


def open_split(
    weights: Weights,
    info: DatasetInfo,
    split: str,
    image_size: ImageSize | None,
    strict: bool,
    on_event: Listener,
    limit: int | None = None,
) -> tuple[DetectionDataset, list[Any]]:
    """The split as ``weights`` want to see it, and the label rows that were dropped or clipped.

    Labels are numbered by the class names of the weights. ``limit`` takes that many images, spread
    over the split. Raises DataError when the dataset has a class that the weights do not know.
    """
    loaded = load_split(info, split, strict)
    if loaded.problems:
        on_event(Message(summarize(loaded.problems), "warning"))
    if limit is not None and limit < len(loaded.paths):
        rows = np.linspace(0, len(loaded.paths) - 1, limit).round().astype(int)
        paths, labels = [loaded.paths[i] for i in rows], [loaded.labels[i] for i in rows]
        loaded = Split(paths, labels, loaded.problems)
    loaded = renumber(loaded, info.names, weights.names)
    contract = weights.preprocess
    if image_size is not None:
        contract = Preprocess(image_size, contract.channels, contract.window, contract.pad)
    dataset = DetectionDataset(
        loaded,
        contract,
        strict=strict,
        on_progress=lambda done, total: on_event(Progress("read images", done, total)),
    )
    deep, high = dataset.images.dtype != np.uint8, contract.window[1]
    if deep != (high > 255):
        kind = "16" if deep else "8"
        text = f"the weights expect intensities up to {high:g}, these are {kind}-bit images"
        on_event(Message(text, "warning"))
    for line in dataset.unreadable:
        on_event(Message(f"left out: {line}", "warning"))
    return dataset, loaded.problems


def renumber(split: Split, names: Sequence[str], wanted: Sequence[str]) -> Split:
    """The split with labels counted in ``wanted`` instead of ``names``, matched by class name."""
    if tuple(names) == tuple(wanted):
        return split
    missing = [name for name in names if name not in wanted]
    if missing:
        raise DataError(
            f"the dataset has the class {missing[0]!r}, the weights know {', '.join(wanted)}: "
            "give a dataset with these class names, or train on this one with --init"
        )
    row = np.array([list(wanted).index(name) for name in names], np.int64)
    labels = [ImageLabels(found.boxes, row[found.labels]) for found in split.labels]
    return Split(split.paths, labels, split.problems)
