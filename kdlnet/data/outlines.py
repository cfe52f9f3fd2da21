"""Outlines of defects: what is defect inside of a box, and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
"""Corners (K, 2) as x, y in their order around a defect, K >= 3; the last one meets the first."""


def outline_around(marked: NDArray[np.bool_]) -> Outline:
    """Along the edges of the marked pixels (H, W), in pixels; holes are filled.

    Regions that do not touch are joined by lines without an area, there and back. At least one
    pixel must be marked.
    """
    # At twice the size a border pixel with an even number lies left of or above its edge, one with
    # an odd number right of or below it.
    doubled = marked.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    rings, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = sorted((ring[:, 0] for ring in rings), key=lambda ring: tuple(ring[0]))
    if len(rings) > 1:
        rings = [np.concatenate((ring, ring[:1])) for ring in rings]
        rings += [ring[:1] for ring in rings[-2:0:-1]]
    corners = np.concatenate(rings).astype(np.int64)
    outline: Outline = (corners + (corners & 1)) / 2.0
    moves: NDArray[np.bool_] = (outline != np.roll(outline, 1, axis=0)).any(axis=1)
    turns: Outline = outline[moves]
    return turns


def tells_more(outline: Outline) -> bool:
    """Whether an outline is something else than the upright box around it."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    on_corner = ((outline == low) | (outline == high)).all(axis=1)
    return not on_corner.all() or len(np.unique(outline, axis=0)) < len("xyxy")


@dataclass(frozen=True)
class Outlines:
    """The outlines of T targets, one after the other.

    ``points`` (P, 2) float64 in pixels of the network input, those of target t from ``first[t]`` to
    ``first[t + 1]``, (T + 1,). A target without points is known by its box alone.
    """

    points: Outline
    first: NDArray[np.int64]

    @classmethod
    def of(cls, outlines: Iterable[Outline | None]) -> Outlines:
        """Of each target its outline, None for one without."""
        each = [np.empty((0, 2)) if outline is None else outline for outline in outlines]
        counts = np.array([len(outline) for outline in each], np.int64)
        points = np.concatenate([np.empty((0, 2)), *each])
        return cls(points, np.concatenate(([0], counts.cumsum())))

    def __len__(self) -> int:
        """How many targets have one."""
        return int((np.diff(self.first) > 0).sum())

    def __getitem__(self, target: int) -> Outline:
        """The corners (K, 2) of one target, K = 0 where it has no outline."""
        return self.points[self.first[target] : self.first[target + 1]]
