"""The one way from pixels to boxes, for every verb and over every runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdlnet.errors import WeightsError
from kdlnet.images.tiles import Tile, merge_tiles
from kdlnet.inference.clock import Laps
from kdlnet.inference.engine import Engine
from kdlnet.inference.suppressed import LOWEST_SCORE
from kdlnet.inference.views import Views
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS, VOTERS
from kdlnet.types import DetectionArrays, ImageSize
from kdlnet.utils.lanes import in_turn
from kdlnet.utils.threads import safe_in_forks


@dataclass(frozen=True)
class Pipeline:
    """Tiles, letterbox, network, suppression, back to the original image, tiles merged.

    ``engine`` has the network, which takes images of ``input_size``; it gets ``batch`` views at
    once. Boxes that ``rule`` passes over for their score are left out; with ``labels`` those of
    other classes, too, before the suppression.
    """

    engine: Engine
    input_size: ImageSize
    rule: VerdictRule = field(default_factory=VerdictRule)
    iou_threshold: float = IOU_THRESHOLD
    max_detections: int = MAX_DETECTIONS
    batch: int = 16
    labels: tuple[int, ...] | None = None

    def detect(
        self, views: Views, clock: Laps | None = None, lanes: int = 1
    ) -> Iterator[DetectionArrays]:
        """Detections of each image in turn, boxes in pixels of the original image.

        ``clock`` gets what the stages take, waiting for the device at their ends; what the caller
        does between two images is in none of them. With ``lanes`` so many threads look at views at
        once, without a clock; see :func:`~kdlnet.inference.engine.in_lanes`. Raises WeightsError
        for a network that answers with NaN: no box would come of it, and every part would pass.
        """
        parts: list[DetectionArrays] = []
        tiles: list[Tile | None] = []
        count = len(views.image_of)
        batches = (range(i, min(i + self.batch, count)) for i in range(0, count, self.batch))
        looks = in_turn(lambda rows: (rows, self._look(views, rows, clock)), batches, lanes)
        for rows, looked in looks:
            whole = []
            for row, found in zip(rows, looked, strict=True):
                parts.append(found)
                tiles.append(views.tiles[row])
                if row + 1 == count or views.image_of[row + 1] != views.image_of[row]:
                    whole.append(self._merge(parts, tiles))
                    parts, tiles = [], []
            if clock is not None:
                clock.end("postprocess")  # the boxes are on the CPU: there is nothing to wait for
            yield from whole
            if clock is not None:
                clock.skip()

    @safe_in_forks
    def _look(self, views: Views, rows: range, clock: Laps | None) -> list[DetectionArrays]:
        """Detections of the views ``rows``, in pixels of the original image, tiles apart."""
        pixels, contract, geometries = views.load(rows)
        images = self.engine.load(pixels, contract)
        self._end(clock, "preprocess")
        raw = self.engine.run(images)
        self._end(clock, "infer")
        _require_numbers(raw)
        tiled = any(views.tiles[row] is not None for row in rows)
        return [
            geometry.detections(found)
            for found, geometry in zip(self._select(raw, tiled), geometries, strict=True)
        ]

    def _end(self, clock: Laps | None, stage: str) -> None:
        """Ends a lap, where there is a clock, once the device has done all it was given."""
        if clock is not None:
            self.engine.wait()
            clock.end(stage)

    def _select(self, raw: Any, tiled: bool) -> list[DetectionArrays]:
        """The boxes that are looked for and, of tiles, those that have a say in where one is."""
        lowest = self.rule.lowest
        if tiled:
            lowest = min(lowest, max(VOTERS * lowest, LOWEST_SCORE))
        limits = (lowest, self.iou_threshold, self.max_detections)
        if self.labels is None:
            return self.engine.select(raw, self.input_size, *limits)
        found = self.engine.select(raw.of_classes(list(self.labels)), self.input_size, *limits)
        kept = np.array(self.labels)
        return [DetectionArrays(one.boxes, one.scores, kept[one.labels]) for one in found]

    def _merge(self, parts: list[DetectionArrays], tiles: list[Tile | None]) -> DetectionArrays:
        found = merge_tiles(parts, tiles, self.iou_threshold, self.max_detections)
        return found[self.rule.kept(found.scores, found.labels)]


def _require_numbers(raw: Any) -> None:
    """Raises WeightsError for NaN, which is unequal to itself in torch and in numpy alike."""
    if any(bool((numbers != numbers).any()) for numbers in raw.numbers()):
        raise WeightsError(
            "the network answered with NaN, so no verdict can be given: its file is damaged, or "
            "this device is not precise enough for it; try --device cpu or the file it came from"
        )
