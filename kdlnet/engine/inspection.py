"""Pictures and plots of a validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlnet.metrics.result import ImageResult


def write_inspection(
    folder: Path, results: Sequence[ImageResult], names: Sequence[str], pictures: bool
) -> dict[str, Any]:
    """TODO"""
    return {}
