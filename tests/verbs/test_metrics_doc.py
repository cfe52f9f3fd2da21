"""docs/metrics.md names every key of metrics.json and comparison.json, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kdlnet.errors import KdlnetError
from kdlnet.verbs.compare import compare
from kdlnet.verbs.val import validate

from .test_compare import judged

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
__all__ = ["judged"]


def listed(section: str) -> set[str]:
    """Keys in the first column of the first table below a heading."""
    text = PAGE.read_text(encoding="utf-8").split(f"# {section}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    cells = [row.split("|")[1] for row in table[0].splitlines()[2:]]
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_the_page_lists_what_the_files_hold(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    good, other, dataset = judged
    validate(good, data=str(dataset), out=tmp_path / "val", pictures=False)
    compare([good], [other], data=str(dataset), out=tmp_path / "compare", rounds=100)
    metrics = json.loads((tmp_path / "val" / "metrics.json").read_text())
    comparison = json.loads((tmp_path / "compare" / "comparison.json").read_text())
    assert listed("metrics.json") == metrics.keys()
    assert listed("comparison.json") == comparison.keys()
    froc, pod = metrics["froc"], metrics["pod"]["overall"]
    parts: dict[str, Any] = {
        "Intervals": metrics["intervals"],
        "FROC": {**froc, **froc["overall"]},
        "Image level": metrics["image_level"],
        "Probability of detection": pod,
        "Calibration": metrics["calibration"]["overall"],
        "Kinds of errors": metrics["breakdown"]["kinds"],
        "Suspicious labels": metrics["suspicious_labels"]["counts"],
        "Flips": comparison["flips"],
        "Score shift": comparison["score_shift"][0],
    }
    several = {"overall", "per_class"}
    for section, held in parts.items():
        assert listed(section) - several == held.keys() - several, section


def test_a_disk_that_does_not_hold_the_pictures_costs_no_figures(
    judged: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were written after the pictures, and with --drift or --folds take hours."""
    good, other, dataset = judged

    def full(*arguments: object, **options: object) -> None:
        raise KdlnetError("no space left")

    monkeypatch.setattr("kdlnet.verbs.val.draw_validation", full)
    monkeypatch.setattr("kdlnet.verbs.compare.draw_flips", full)
    with pytest.raises(KdlnetError, match=r"no space left \(the figures are in .*metrics\.json"):
        validate(good, data=str(dataset), out=tmp_path / "val")
    with pytest.raises(KdlnetError, match=r"left \(the figures are in .*comparison\.json"):
        compare([good], [other], data=str(dataset), out=tmp_path / "compare", rounds=100)
    assert json.loads((tmp_path / "val" / "metrics.json").read_text())["ap"] > 0.2
    figures = json.loads((tmp_path / "compare" / "comparison.json").read_text())
    assert figures["differences"]["ap"]["a"] > 0.2
