"""Validation: run a detector over a split, measure, draw, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.dataset import DetectionDataset, Split, load_split
from kdlnet.data.labels import ImageLabels
from kdlnet.errors import DataError
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.tiles import merge_tiles
from kdlnet.images.window import fit_depth, image_depth, other_depth
from kdlnet.inference.weights import Weights
from kdlnet.metrics.result import ImageResult
from kdlnet.ops.nms import select_detections
from kdlnet.types import DetectionArrays, Forward, Preprocess


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

    Those of tiles are merged: results are whole images. ``detector`` is in eval mode already.
    """
    results: list[ImageResult] = []
    parts: list[DetectionArrays] = []
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
            sample = dataset.samples[index]
            parts.append(sample.letterbox.detections(detections.arrays()))
            if len(parts) == len(dataset.samples_of(sample.image)):
                results.append(_result(dataset, sample.image, parts, iou_threshold, max_detections))
                parts = []
        on_event(Progress("validate", len(results), len(dataset.paths)))
    return results


def _result(
    dataset: DetectionDataset,
    image: int,
    parts: list[DetectionArrays],
    iou_threshold: float,
    max_detections: int,
) -> ImageResult:
    samples = dataset.samples_of(image)
    tiles = [sample.tile for sample in samples]
    found = merge_tiles(parts, tiles, iou_threshold, max_detections)
    return ImageResult(
        found.boxes,
        found.scores,
        found.labels,
        *dataset.truth(image),
        samples[0].letterbox.original_size,
        str(dataset.paths[image]),
    )


def open_split(
    weights: Weights,
    info: DatasetInfo,
    split: str,
    contract: Preprocess | None,
    strict: bool,
    on_event: Listener,
    limit: int | None = None,
) -> tuple[DetectionDataset, Split]:
    """The split as ``weights`` want to see it, and as it was loaded.

    Labels are numbered by the class names of the weights. ``contract`` None is theirs; it is fitted
    to the bit depth of the images. ``limit`` takes that many images, spread over the split. Raises
    DataError when the dataset has a class that the weights do not know.
    """
    loaded = load_split(info, split, strict)
    for line in loaded.warnings:
        on_event(Message(line, "warning"))
    if limit is not None and limit < len(loaded.paths):
        rows = np.linspace(0, len(loaded.paths) - 1, limit).round().astype(int)
        paths, labels = [loaded.paths[i] for i in rows], [loaded.labels[i] for i in rows]
        loaded = replace(loaded, paths=paths, labels=labels)
    loaded = renumber(loaded, info.names, weights.names)
    wanted = contract or weights.preprocess
    contract = fit_depth(wanted, image_depth(loaded.paths))
    if contract != wanted:
        on_event(Message(other_depth(str(loaded.paths[0]), wanted, contract), "warning"))
    dataset = DetectionDataset(
        loaded,
        contract,
        strict=strict,
        on_progress=lambda done, total: on_event(Progress("read images", done, total)),
    )
    for line in dataset.unreadable:
        on_event(Message(f"left out: {line}", "warning"))
    return dataset, loaded


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
    return replace(split, labels=labels)
