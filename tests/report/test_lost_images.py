"""Images that were measured and are gone, or damaged, when they are to be drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.events import Message
from kdlnet.metrics.errors import find_errors
from kdlnet.metrics.flips import Flip
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.flips import draw_flips
from kdlnet.report.validation import draw_validation
from kdlnet.types import Preprocess

BOX = [10.0, 10, 40, 40]


@pytest.fixture
def results(tmp_path: Path) -> list[ImageResult]:
    """One image is there, one was removed, of one half is left."""
    found = []
    for name in ("here", "gone", "half"):
        file = tmp_path / f"{name}.png"
        cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
        found.append(ImageResult([BOX], [0.9], [0], [BOX], [0], (64, 64), name=str(file)))
    (tmp_path / "gone.png").unlink()
    half = tmp_path / "half.png"
    half.write_bytes(half.read_bytes()[:2000])
    return found


def test_a_validation_goes_without_their_pictures(
    results: list[ImageResult], tmp_path: Path
) -> None:
    told: list[object] = []
    errors = find_errors(results, ["dent"])
    out = tmp_path / "val"
    draw_validation(out, results, errors, ["dent"], Preprocess((64, 64)), told.append)
    assert [file.name for file in (out / "pictures").iterdir()] == ["01-here.png"]
    assert (out / "worst.png").is_file()
    said = [event.text for event in told if isinstance(event, Message)]
    assert [name in text for name, text in zip(("gone", "half"), said, strict=True)] == [True, True]
    draw_validation(
        tmp_path / "none", results[1:], find_errors(results[1:], ["dent"]), ["dent"],
        Preprocess((64, 64)),
    )  # fmt: skip
    assert not (tmp_path / "none/worst.png").exists()


def test_a_comparison_goes_without_their_pictures(
    results: list[ImageResult], tmp_path: Path
) -> None:
    told: list[object] = []
    by_name = {result.name: (result, VerdictRule()) for result in results}
    flips = [Flip(name, True, "NG", "OK") for name in by_name]
    out = tmp_path / "flips"
    draw_flips(out, flips, lambda flip: (by_name[flip.image],) * 2, ["dent"], on_event=told.append)
    assert [file.name for file in out.iterdir()] == ["01-here.png"]
    assert sum(isinstance(event, Message) for event in told) == 2
