"""A split as a network wants to see it, and what a network finds on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.data.joined import renumber
from kdlnet.data.labels import Split
from kdlnet.data.learned import Learned
from kdlnet.data.roi import inside
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.drift import changed
from kdlnet.images.window import depth_line, fit_depth, image_depth
from kdlnet.inference.engine import Engine, in_lanes
from kdlnet.inference.pipeline import Pipeline
from kdlnet.inference.views import Seen
from kdlnet.metrics.drift import Change
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.types import DetectionArrays, Preprocess
from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

VAL_SCORE = 0.001
"""Boxes from this score on enter the figures of a validation."""


class Reader(Protocol):
    """What says how images and labels are to be read: a runtime, or weights."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def preprocess(self) -> Preprocess: ...


class Taught(Protocol):
    """What says which images a network has learned from: a runtime, or weights."""

    @property
    def learned(self) -> Learned: ...

    @property
    def path(self) -> Path | None: ...


class DatasetViews:
    """Views of a dataset, or of its ``images`` alone, letterboxed already, after a ``change``."""

    def __init__(
        self,
        dataset: DetectionDataset,
        images: range | None = None,
        change: Change | None = None,
    ) -> None:
        samples = dataset.samples
        wanted = range(len(dataset.paths)) if images is None else images
        self._rows = [row for row, sample in enumerate(samples) if sample.image in wanted]
        self.image_of = [samples[row].image for row in self._rows]
        self.tiles = [samples[row].tile for row in self._rows]
        self._dataset = dataset
        self._change = change

    def load(self, rows: range) -> Seen:
        chosen = self._rows[rows.start : rows.stop]
        geometries = [self._dataset.samples[row].letterbox for row in chosen]
        tiles = self.tiles[rows.start : rows.stop]
        pixels, preprocess = self._dataset.images[chosen].numpy(), self._dataset.preprocess
        if self._change is not None:
            pixels = changed(
                pixels, preprocess, list(zip(geometries, tiles, strict=True)), self._change
            )
        return pixels, preprocess, geometries


def detect(
    engine: Engine,
    dataset: DetectionDataset,
    batch: int,
    score_threshold: float = VAL_SCORE,
    on_event: Listener = ignore,
    images: range | None = None,
    change: Change | None = None,
) -> list[ImageResult]:
    """Detections of every image, or of ``images``, beside the truth, in pixels of the original.

    With a ``change`` they are those of the images after it. Those of tiles are merged: results are
    whole images. Whether a box of a class that an image is not labelled for is right is not known:
    it is one of the ``others``.
    """
    size = dataset.preprocess.image_size
    rule = VerdictRule.at(score_threshold)
    views = DatasetViews(dataset, images, change)
    shown = dict.fromkeys(views.image_of)
    results: list[ImageResult] = []
    own, share, lanes = in_lanes(engine, batch, len(views.image_of) <= batch)
    found = Pipeline(own, size, rule, batch=share).detect(views, lanes=lanes)
    for image, detections in zip(shown, found, strict=True):
        results.append(_result(dataset, image, detections))
        on_event(Progress("validate", len(results), len(shown)))
    return results


def _result(dataset: DetectionDataset, image: int, found: DetectionArrays) -> ImageResult:
    known, others = dataset.known(image), None
    if known is not None:
        looked_for = known[found.labels]
        found, others = found[looked_for], found[~looked_for]
    return ImageResult(
        found.boxes,
        found.scores,
        found.labels,
        *dataset.truth(image),
        dataset.samples_of(image)[0].letterbox.original_size,
        str(dataset.paths[image]),
        others,
        dataset.drawn(image),
        dataset.labelled(image),
    )


def open_split(
    reader: Reader,
    info: DatasetInfo,
    split: str,
    contract: Preprocess | None,
    strict: bool,
    on_event: Listener,
    limit: int | None = None,
) -> tuple[DetectionDataset, Split]:
    """The split as ``reader`` wants to see it, and as it was loaded.

    Labels are numbered by the class names of the reader. ``contract`` None is its own; it is fitted
    to the bit depth of the images. ``limit`` takes that many images, spread over the split. Raises
    DataError when the dataset has a class that the reader does not know.
    """
    wanted = contract or reader.preprocess
    loaded = inside(load_split(info, split, strict), wanted.roi)
    for line in loaded.warnings:
        on_event(Message(line, "warning"))
    if limit is not None and limit < len(loaded.paths):
        rows = np.linspace(0, len(loaded.paths) - 1, limit).round().astype(int)
        paths, labels = [loaded.paths[i] for i in rows], [loaded.labels[i] for i in rows]
        loaded = replace(loaded, paths=paths, labels=labels)
    loaded = renumber(loaded, info.names, reader.names)
    if absent := [name for name in reader.names if name not in info.names]:
        text = (
            f"{info.name} has no class {', '.join(absent)}: whether boxes of it are right is "
            "not known; verdicts and image-level figures count them, as predict does, others do not"
        )
        on_event(Message(text, "warning"))
    depth = image_depth(loaded.paths)
    if caution := depth_line(str(loaded.paths[0]), wanted, depth):
        on_event(Message(caution, "warning"))
    dataset = DetectionDataset(
        loaded,
        fit_depth(wanted, depth),
        strict=strict,
        on_progress=lambda done, total: on_event(Progress("read images", done, total)),
    )
    for line in dataset.unreadable:
        on_event(Message(f"left out: {line}", "warning"))
    return dataset, loaded


def count_learned(
    network: Taught, paths: Sequence[Path], split: str, on_event: Listener
) -> int | None:
    """How many of ``paths``, images of ``split``, the network has learned from; some are told.

    None where its file does not tell.
    """
    count = network.learned.count(paths)
    if count:
        some = f"{count} of {counted(len(paths), 'image')}"
        which = "all images" if count == len(paths) else some
        name = "the network" if network.path is None else shown(network.path)
        text = f"{name} has learned from {which} of {split}: figures on it flatter"
        on_event(Message(text, "warning"))
    return count
