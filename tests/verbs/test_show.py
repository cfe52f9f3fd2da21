"""What a look at a dataset writes: every image on the page, nothing into the dataset."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest

from kdlnet.errors import DataError
from kdlnet.events import Message
from kdlnet.verbs.show import show_dataset


def write_image(file, image):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(file.suffix, image)[1].tobytes())


@pytest.fixture
def parts(tmp_path):
    """Grey, colour, 12 bits, a name with signs, a good part, and a file that is no image."""
    root = tmp_path / "parts"
    ramp = np.linspace(0, 4095, 120 * 80).reshape(80, 120)
    write_image(root / "images/train/grey.png", (ramp / 16).astype(np.uint8))
    write_image(root / "images/train/deep.png", ramp.astype(np.uint16))
    write_image(root / "images/train/größe #1.jpg", np.full((60, 60, 3), (10, 200, 30), np.uint8))
    write_image(root / "images/val/good.png", np.zeros((30, 90), np.uint8))
    (root / "images/val/broken.png").write_bytes(b"no image")
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/grey.txt").write_text(
        "1 0.5 0.5 0.5 0.25\n0 0.1 0.1 0.1 0.1\n9 1 1 1 1\n"
    )
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [pit, dent]\n")
    return root


def show(parts, out, **options):
    told = []
    view = show_dataset(str(parts / "data.yaml"), out=out, on_event=told.append, **options)
    page = view.page.read_text(encoding="utf-8")
    data, thumbnails = (
        json.loads(re.search(rf'id="{name}">(.*?)</script>', page)[1])
        for name in ("data", "thumbnails")
    )
    warnings = [event.text for event in told if isinstance(event, Message)]
    return view, data, thumbnails, warnings


def tree(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_image_is_on_the_page(parts, tmp_path):
    before = tree(parts)
    view, data, thumbnails, warnings = show(parts, tmp_path / "look")
    assert tree(parts) == before
    assert (view.images, view.of, view.boxes, view.unreadable, view.side) == (5, 5, 2, 1, 120)
    assert view.megabytes == pytest.approx(view.page.stat().st_size / 1e6, abs=0.01)
    images = {image["name"]: image for image in data["images"]}
    assert images["images/train/grey.png"]["boxes"] == [
        [1, 30.0, 30.0, 90.0, 50.0],
        [0, 6.0, 4.0, 18.0, 12.0],
    ]
    assert images["images/train/grey.png"]["size"] == [80, 120]
    originals = {name.split("/")[-1]: image["original"] for name, image in images.items()}
    assert originals == {
        "grey.png": "../parts/images/train/grey.png",
        "deep.png": "",  # a browser would show 12 bits as black
        "größe #1.jpg": "../parts/images/train/gr%C3%B6%C3%9Fe%20%231.jpg",
        "good.png": "../parts/images/val/good.png",
        "broken.png": "",
    }
    assert images["images/val/broken.png"]["findings"][0][0] == "unreadable"
    assert len(warnings) == 3
    assert "leave out 1 of 3 images" in warnings[0]
    assert "1 dropped" in warnings[1]
    assert "broken.png" in warnings[2]
    deep = data["images"].index(images["images/train/deep.png"])
    pixels = np.frombuffer(base64.b64decode(thumbnails[deep]), np.uint8)
    assert np.ptp(cv2.imdecode(pixels, cv2.IMREAD_GRAYSCALE)) > 240


def test_what_training_leaves_out_is_told_and_says_why_on_the_page(parts, tmp_path):
    (parts / "labels/val").mkdir()
    (parts / "labels/val/GOOD.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    view, data, _, warnings = show(parts, tmp_path / "look")
    images = {image["name"]: image for image in data["images"]}
    assert view.images == 5
    assert warnings[0].startswith("train: train and val leave out 1 of 3 images")  # class 9
    assert warnings[2].startswith("val: train and val leave out 1 of 2 images")
    assert "GOOD.txt" in warnings[2]
    ((check, severity, text),) = images["images/val/good.png"]["findings"]
    assert (check, severity) == ("left out", "error") and "GOOD.txt" in text
    assert images["images/train/deep.png"]["findings"] == []


def test_a_sheet_for_each_split(parts, tmp_path):
    view, *_ = show(parts, tmp_path / "look")
    assert [sheet.name for sheet in view.sheets] == ["sheet-train.png", "sheet-val.png"]
    sizes = [cv2.imread(str(sheet)).shape for sheet in view.sheets]
    assert sizes[0][1] > sizes[1][1]  # three images beside one


def test_a_limit_is_a_seeded_choice_that_is_told(parts, tmp_path):
    chosen = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2), ("e", 3)):
        view, data, _, warnings = show(parts, tmp_path / name, limit=2, seed=seed)
        assert (view.images, view.of) == (2, 5)
        assert any("2 of 5 images" in line for line in warnings)
        chosen.append([image["name"] for image in data["images"]])
    assert chosen[0] == chosen[1]
    assert any(other != chosen[0] for other in chosen[2:])


def test_findings_reach_their_images(parts, tmp_path):
    lines = [
        {"check": "leak", "severity": "error", "message": "m", "image": "images/train/grey.png"},
        {"check": "drift", "severity": "info", "message": "n", "split": "val", "fix": "do"},
    ]
    (tmp_path / "findings.json").write_text(json.dumps({"findings": lines}))
    _, data, _, told = show(parts, tmp_path / "look", findings=tmp_path / "findings.json")
    assert not any("another set" in text for text in told)
    (marked,) = [image for image in data["images"] if "grey" in image["name"]]
    assert marked["findings"][0] == ["leak", "error", "m"]
    assert data["general"] == [["drift", "info", "n (val); do"]]


def test_findings_of_another_set_are_told(parts, tmp_path):
    line = {"check": "leak", "severity": "error", "message": "m", "image": "images/train/other.png"}
    (tmp_path / "findings.json").write_text(json.dumps({"findings": [line]}))
    *_, told = show(parts, tmp_path / "look", findings=tmp_path / "findings.json")
    assert any("findings.json" in text and "another set" in text for text in told)


def test_one_split(parts, tmp_path):
    view, data, *_ = show(parts, tmp_path / "look", split="val")
    assert data["splits"] == ["val"]
    assert view.images == 2
    with pytest.raises(DataError, match="unknown split 'test'"):
        show(parts, tmp_path / "other", split="test")


def test_a_small_page_has_small_pictures(parts, tmp_path):
    generator = np.random.default_rng(0)
    for n in range(12):
        noise = generator.integers(0, 256, (300, 300), dtype=np.uint8)
        write_image(parts / f"images/train/noise{n}.png", noise)
    large, *_ = show(parts, tmp_path / "large")
    small, *_ = show(parts, tmp_path / "small", megabytes=0.2)
    assert small.side < large.side == 300
    assert small.megabytes < 0.25 < large.megabytes


def test_outlines_are_on_the_page_where_they_tell_more_than_the_box(parts, tmp_path):
    rows = "1 0.5 0.25 0.75 0.75 0.25 0.75\n0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n"
    (parts / "labels/train/grey.txt").write_text(rows)
    (parts / "labels/val/good.txt").parent.mkdir()
    (parts / "labels/val/good.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    _, data, _, _ = show(parts, tmp_path / "look")
    images = {image["name"]: image for image in data["images"]}
    triangle, rectangle = images["images/train/grey.png"]["outlines"]
    assert sorted(zip(triangle[::2], triangle[1::2], strict=True)) == [(30, 60), (60, 20), (90, 60)]
    assert rectangle == []
    assert images["images/val/good.png"]["outlines"] == [[]]
