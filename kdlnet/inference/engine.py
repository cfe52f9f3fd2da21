"""Who does the arithmetic: a network, what comes before it and what after, in one kind of array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kdlnet.images.read import ImageArray
from kdlnet.images.unit import to_planes
from kdlnet.inference.arrays import RawArrays, SuppressedArrays
from kdlnet.inference.suppressed import suppressed_detections
from kdlnet.ops.arrays import select_detections
from kdlnet.types import DetectionArrays, ImageSize, Preprocess

ArrayNetwork = Callable[[NDArray[np.float32]], RawArrays | SuppressedArrays]


class Engine(Protocol):
    """A network on one device. What it takes and answers, tensors or arrays, only it looks into."""

    @property
    def device(self) -> object:
        """Where it runs; its text is the name that people give it."""

    @property
    def lanes(self) -> int:
        """How many threads should call at once where there are batches enough; 1: one alone."""

    def divided(self, lanes: int) -> Engine:
        """The same network for ``lanes`` threads: each call takes a share of the processor.

        Many calls side by side, each on one core, do more than one after the other on all cores.
        """

    def load(self, pixels: ImageArray, preprocess: Preprocess) -> Any:
        """Network input of native pixels (B, H, W, c); c is 1, or the network's channels."""

    def run(self, images: Any) -> Any:
        """What the network answers: RawPredictions, RawArrays or SuppressedArrays."""

    def select(
        self,
        raw: Any,
        input_size: ImageSize,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
    ) -> list[DetectionArrays]:
        """Boxes of each image after suppression, in pixels of the network input."""

    def wait(self) -> None:
        """Returns once the device has done all it was given."""


def in_lanes(engine: Engine, batch: int, alone: bool) -> tuple[Engine, int, int]:
    """The engine to call, the views of each call, and how many threads are to call it at once.

    The threads share the ``batch``. ``alone``: what comes one by one, or is few, is answered sooner
    by one thread after the other on all cores.
    """
    lanes = 1 if alone else min(engine.lanes, batch)
    if lanes == 1:
        return engine, batch, 1
    return engine.divided(lanes), -(-batch // lanes), lanes


@dataclass(frozen=True)
class ArrayEngine:
    """A network that another runtime runs, in numpy; nothing here needs torch.

    ``network`` maps images (B, channels, H, W) float32 to RawArrays, or to SuppressedArrays.
    ``divide`` makes one that so many threads may call at once, up to ``lanes``.
    """

    network: ArrayNetwork
    device: str = "cpu"
    lanes: int = 1
    divide: Callable[[int], ArrayNetwork] | None = None

    def divided(self, lanes: int) -> ArrayEngine:
        return self if self.divide is None else replace(self, network=self.divide(lanes))

    def load(self, pixels: ImageArray, preprocess: Preprocess) -> NDArray[np.float32]:
        return to_planes(pixels, preprocess)

    def run(self, images: NDArray[np.float32]) -> RawArrays | SuppressedArrays:
        return self.network(images)

    def select(
        self,
        raw: RawArrays | SuppressedArrays,
        input_size: ImageSize,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
    ) -> list[DetectionArrays]:
        limits = score_threshold, iou_threshold, max_detections
        if isinstance(raw, SuppressedArrays):
            return suppressed_detections(raw, *limits)
        return [
            select_detections(logits, bins, raw.points, raw.strides, input_size, *limits)
            for logits, bins in zip(raw.logits, raw.bins, strict=True)
        ]

    def wait(self) -> None:
        """Another runtime answers when it is done."""
