"""What a check leaves in its folder, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from kdlnet.curation.findings import read_findings
from kdlnet.errors import DataError, KdlnetError
from kdlnet.events import Progress
from kdlnet.verbs.check import check_dataset


@pytest.fixture
def leaky(tmp_path):
    """Two texture images in train, a darker copy of the first in val; one has a tiny box."""
    rng = np.random.default_rng(0)
    first, second = (
        np.clip(120 + 90 * cv2.GaussianBlur(rng.normal(size=(200, 240)), (0, 0), 2), 0, 255)
        for _ in range(2)
    )
    root = tmp_path / "set"
    for name, image in (("train/a", first), ("train/b", second), ("val/c", first * 0.8)):
        for folder, suffix in (("images", ".png"), ("labels", ".txt")):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            file = (root / folder / name).with_suffix(suffix)
            if suffix == ".png":
                cv2.imwrite(str(file), image.astype(np.uint8))
            else:
                file.write_text("0 .5 .5 .4 .4\n0 .2 .2 .002 .3\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [pit]\n")
    return root


def test_a_disk_that_does_not_hold_the_pictures_costs_no_findings(leaky, tmp_path, monkeypatch):
    def full(*arguments):
        raise KdlnetError("no space left")

    monkeypatch.setattr("kdlnet.verbs.check.save_image", full)
    out = tmp_path / "out"
    with pytest.raises(KdlnetError, match=r"no space left \(the figures are in .*findings\.json"):
        check_dataset(str(leaky / "data.yaml"), out=out)
    assert {f.check for f in read_findings(out / "findings.json")} >= {"near-duplicate", "group"}
    assert (out / "groups.csv").read_text().count("\n") == 4


def test_the_folder_holds_findings_groups_and_pictures(leaky, tmp_path):
    events = []
    out = tmp_path / "out"
    result = check_dataset(str(leaky / "data.yaml"), out=out, on_event=events.append)
    document = json.loads((out / "findings.json").read_text())
    assert document == json.loads(json.dumps(result.to_dict()))
    # What `data show` reads is what was found; only the images are named from the dataset.
    read = read_findings(out / "findings.json")
    assert [replace(f, image=f.image and leaky / f.image) for f in read] == result.findings
    assert document["counts"]["error"] == len([f for f in result.findings if f.severity == "error"])
    near = next(f for f in document["findings"] if f["check"] == "near-duplicate")
    assert (near["image"], near["split"]) == ("images/val/c.png", "val")
    assert document["groups"] == [["images/train/a.png", "images/val/c.png"]]
    assert document["pairs"][0]["kind"] == "near"
    with (out / "groups.csv").open(newline="") as file:
        rows = {row["image"]: row["group"] for row in csv.DictReader(file)}
    assert rows["images/train/a.png"] == rows["images/val/c.png"] != rows["images/train/b.png"]
    shown = {entry["check"] for entry in document["pictures"].values()}
    assert shown == {"near-duplicate", "group", "small-box"}
    for name in document["pictures"]:
        assert cv2.imread(str(out / name)).std() > 5, name
    assert Progress("read images", 3, 3) in events


def test_the_picture_of_copies_that_disagree_shows_what_each_is_labelled_as(leaky, tmp_path):
    """The grey images get coloured boxes: the copy, on the left, has none."""
    shutil.copy(leaky / "images/train/a.png", leaky / "images/val/d.png")
    (leaky / "labels/val/d.txt").touch()
    out = tmp_path / "out"
    result = check_dataset(str(leaky), only=["conflicting-labels"], out=out)
    (name,) = result.pictures
    picture = cv2.imread(str(out / name)).astype(int)
    coloured = np.ptp(picture, axis=2) > 60
    left, right = np.array_split(coloured, 2, axis=1)
    assert left.sum() == 0 and right.sum() > 100


def test_other_checks_are_left_out(leaky):
    result = check_dataset(str(leaky), only=["small-box"])
    assert {finding.check for finding in result.findings} == {"small-box"}
    assert result.folder is None and result.pictures == {}
    with pytest.raises(DataError, match="did you mean 'small-box'"):
        check_dataset(str(leaky), only=["smallbox"])


@pytest.mark.parametrize("place", [".", "out", "images/train/out"])
def test_the_dataset_is_never_written_to(leaky, place):
    before = sorted(leaky.rglob("*"))
    events = []
    with pytest.raises(KdlnetError, match="nothing is ever written"):
        check_dataset(str(leaky), out=leaky / place, on_event=events.append)
    assert events == [], "refused before anything is read"
    assert sorted(leaky.rglob("*")) == before


def test_the_old_results_stay_until_the_new_ones_are_known(leaky, tmp_path, monkeypatch):
    out = tmp_path / "out"
    check_dataset(str(leaky), only=["size"], out=out)

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("kdlnet.verbs.check.run_checks", stop)
    with pytest.raises(KeyboardInterrupt):
        check_dataset(str(leaky), only=["size"], out=out, overwrite=True)
    assert (out / "findings.json").exists()


def test_a_folder_of_results_counts_up_or_is_replaced(leaky, tmp_path):
    out = tmp_path / "out"
    for expected in ("out", "out-2"):
        assert check_dataset(str(leaky), only=["size"], out=out).folder.name == expected
    assert check_dataset(str(leaky), only=["size"], out=out, overwrite=True).folder == out
    shutil.rmtree(out)
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(KdlnetError, match="left alone"):
        check_dataset(str(leaky), only=["size"], out=out, overwrite=True)
