"""Curves of results, in one step."""

from __future__ import annotations

from collections.abc import Sequence

from kdlnet.metrics.curves import Curves, curves_of, rank
from kdlnet.metrics.matching import MATCH_IOU
from kdlnet.metrics.result import ImageResult


def curves(results: Sequence[ImageResult], names: Sequence[str]) -> Curves:
    return curves_of(rank(results, len(names)), names, MATCH_IOU)
