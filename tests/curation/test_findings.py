"""findings.json: what is read of it, and which image a finding belongs to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kdlnet.curation.findings import Finding, by_image, read_findings
from kdlnet.errors import DataError

SMALL = {"check": "small-box", "severity": "warning", "split": "train", "message": "3 pixels"}


def written(tmp_path, values):
    file = tmp_path / "findings.json"
    file.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return file


def test_reads_what_another_tool_writes_and_passes_over_the_rest(tmp_path):
    line = {**SMALL, "image": "images/a.png", "value": 3, "colour": "red"}
    findings = read_findings(written(tmp_path, {"findings": [line], "images": 12}))
    assert findings == [Finding(**SMALL, image=Path("images/a.png"), value=3)]


def test_what_is_written_is_read_back(tmp_path):
    root = tmp_path / "set"
    values = (None, 3, 0.5, "images/b.png", ["train", "val"], {"share": {"640": 0.9}})
    made = [
        Finding("small-box", "warning", "3 pixels", "train", root / "images/a.png", value, "crop")
        for value in values
    ]
    lines = [finding.to_dict(root) for finding in [*made, Finding("drift", "info", "none")]]
    *found, general = read_findings(written(tmp_path, {"findings": lines}))
    assert [replace(finding, image=root / finding.image) for finding in found] == made
    assert general == Finding("drift", "info", "none")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("{", "key file: Invalid JSON"),
        ("", "key file: Invalid JSON"),
        ([], "holds no findings of 'kdlnet data check'"),
        ({"images": []}, "key findings: Field required"),
        ({"findings": [{"check": "x", "severity": "info"}]}, "key findings.0.message"),
        ({"findings": [{**SMALL, "severity": "bad"}]}, "key findings.0.severity.*'info'"),
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
    findings = [Finding(**SMALL, image=Path(place)) for place in [*places, "gone.png"]]
    findings.append(Finding(**SMALL))
    found, rest = by_image(findings, images, root)
    assert [len(lines) for lines in found] == [2, 1, 1]
    assert [finding.image for finding in rest] == [Path("gone.png"), None]
