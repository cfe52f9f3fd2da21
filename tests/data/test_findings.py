"""findings.json: what is read of it, and which image a finding belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdlnet.data.findings import Finding, by_image, read_findings
from kdlnet.errors import DataError

SMALL = {"check": "small-box", "severity": "warning", "split": "train", "message": "3 pixels"}


def written(tmp_path, values):
    file = tmp_path / "findings.json"
    file.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return file


def test_reads_what_a_check_writes_and_passes_over_the_rest(tmp_path):
    line = {**SMALL, "image": "images/a.png", "value": 3}
    findings = read_findings(written(tmp_path, {"findings": [line], "images": 12}))
    assert findings == [Finding(**SMALL, image="images/a.png")]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("{", "key file: Invalid JSON"),
        ("", "key file: Invalid JSON"),
        ([], "holds no findings of 'kdlnet data check'"),
        ({"images": []}, "key findings: Field required"),
        ({"findings": [{"check": "x", "severity": "info"}]}, "key findings.0.message"),
    ],
)
def test_other_files(tmp_path, values, words):
    with pytest.raises(DataError, match=words):
        read_findings(written(tmp_path, values))


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_findings(tmp_path / "nowhere.json")


def test_images_are_named_from_the_root_or_absolutely():
    root = Path("/set")
    images = [root / "images/a.png", Path("/other/b.png"), root / "c.png"]
    places = ["images/a.png", "/set/images/a.png", "images/../c.png", "../other/b.png"]
    findings = [Finding(**SMALL, image=place) for place in [*places, None, "gone.png"]]
    found, rest = by_image(findings, images, root)
    assert [len(lines) for lines in found] == [2, 1, 1]
    assert [finding.image for finding in rest] == [None, "gone.png"]
