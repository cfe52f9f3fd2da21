"""``val --drift``: the same figures under other light, blur and noise."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.metrics.drift import CHANGES
from kdlnet.verbs.val import validate

from .test_compare import judged

__all__ = ["judged"]


def test_each_change_is_measured_and_the_rest_stays(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    good, _, dataset = judged
    plain = validate(good, data=str(dataset), out=tmp_path / "plain", pictures=False)
    found = validate(good, data=str(dataset), out=tmp_path / "drift", pictures=False, drift=True)
    assert plain.drift == [] and found.precision == plain.precision
    assert found.verdicts == plain.verdicts
    assert [one.change for one in found.drift] == list(CHANGES)
    assert len({plain.precision.ap, *(one.ap for one in found.drift)}) > 4
    document = json.loads((tmp_path / "drift" / "metrics.json").read_text())
    assert [row["ap"] for row in document["drift"]] == [one.ap for one in found.drift]
    assert document["drift"][0]["escape"].keys() == {"count", "of", "low", "high", "rate"}
    page = (tmp_path / "drift" / "report.html").read_text(encoding="utf-8")
    assert all(change.name in page for change in CHANGES)
    assert "blur of 1 pixel" not in (tmp_path / "plain" / "report.html").read_text("utf-8")


def test_a_change_is_what_darker_files_would_give(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    good, _, dataset = judged
    light = next(change for change in CHANGES if change.name == "60 % of the light")
    for kind in ("images", "labels"):
        (tmp_path / "dark" / kind).mkdir(parents=True)
    for path in sorted((dataset.parent / "images").iterdir()):
        pixels = cv2.imread(str(path)).astype(np.float32)
        dark = (pixels * np.float32(light.light)).round().astype(np.uint8)
        cv2.imwrite(str(tmp_path / "dark" / "images" / path.name), dark)
        label = (dataset.parent / "labels" / path.name).with_suffix(".txt")
        (tmp_path / "dark" / "labels" / label.name).write_bytes(label.read_bytes())
    (tmp_path / "dark" / "data.yaml").write_text(dataset.read_text())
    found = validate(good, data=str(dataset), out=tmp_path / "drift", pictures=False, drift=True)
    (row,) = (one for one in found.drift if one.change == light)
    files = str(tmp_path / "dark" / "data.yaml")
    wanted = validate(good, data=files, out=tmp_path / "files", pictures=False)
    assert row.ap == pytest.approx(wanted.precision.ap, abs=1e-9)
    assert row.ap50 == pytest.approx(wanted.precision.ap50, abs=1e-9)
    assert row.rates == wanted.verdicts.overall
