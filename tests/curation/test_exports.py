"""What is written is read back: by the importers for every box, by other readers for the form."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from kdlnet.curation.formats import IMPORTERS
from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.writer import write_index
from kdlnet.data.labels import write_rows
from kdlnet.errors import DataError
from kdlnet.verbs.convert import convert

from ..support.layouts import save_image

HEIGHT, WIDTH = 40, 60
FOLDERS = ["", "left", "right/deep", "images", "Ordner ü"]
FILES = ["a.png", "a.JPG", "a.b.png", "x y.bmp", "Prüfung 試.png", "A.png", "#1.tif", "a.txt.png"]
NAMES = ("dent", "crack", "Riß & <Loch>", "7")

# Corners on a grid of a hundredth of a pixel: finer than any hand draws, and no two boxes of an
# image differ by less than the thousandth that is written.
side = st.tuples(st.integers(0, 6000), st.integers(0, 6000))
box = st.tuples(side, side, st.integers(0, len(NAMES) - 1))
image = st.lists(box, max_size=4)
dataset = st.dictionaries(
    st.tuples(st.sampled_from(FOLDERS), st.sampled_from(FILES)),
    st.tuples(st.sampled_from(["train", "val", "test"]), image),
    min_size=1,
    max_size=6,
)


def save_yolo(folder, content):
    """The drawn content as a YOLO dataset; boxes without area are left away."""
    splits = {}
    for (below, name), (split, drawn) in content.items():
        path = Path("images", below, name)
        save_image(folder / path, HEIGHT, WIDTH)
        corners = [[x1, y1, x2, y2] for (x1, x2), (y1, y2), _ in drawn]
        boxes = np.array(corners, np.float64).reshape(-1, 4)
        boxes = np.concatenate((np.sort(boxes[:, ::2]), np.sort(boxes[:, 1::2])), axis=1)
        boxes = boxes[:, [0, 2, 1, 3]] / 6000
        keep = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        # All within the first pixel they would be taken for shares, whatever wrote them.
        keep &= (boxes[:, 2:] * (WIDTH, HEIGHT)).max(axis=1, initial=0) > 2
        labels = np.array([label for _, _, label in drawn], np.int64)
        file = folder / "labels" / Path(below, name).with_suffix(".txt")
        # Two files of one stem in a folder would share their labels: only the first is listed.
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_rows(file, boxes[keep], labels[keep])
            splits.setdefault(split, []).append(path)
    write_index(folder, NAMES, splits)


def content_of(folder):
    """(path, split, names, boxes in pixels) of every image."""
    found = IMPORTERS["yolo"](folder, ImportOptions())
    assert found.names == NAMES and found.left_out == []
    assert not any(p for r in found.images for p in r.problems if p.reason != "duplicate")
    return [
        (image.path.relative_to(folder).as_posix(), image.split, image.names, image.boxes)
        for image in found.images
    ]


@pytest.mark.parametrize("form", ["coco", "voc"])
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=dataset)
def test_round_trip_loses_nothing(form, content):
    with TemporaryDirectory() as name:
        base = Path(name)
        save_yolo(base / "drawn", content)
        if not any(len(boxes) for *_, boxes in content_of(base / "drawn")):
            return
        convert("yolo", base / "drawn", base / "first")
        there = convert("yolo", base / "first", base / "there", to=form)
        back = convert(form, base / "there", base / "back")
        assert (there.dropped, back.dropped, there.left_out, back.left_out) == ({}, {}, {}, {})
        assert (back.repaired, back.converted) == ({}, {})
        first, again = content_of(base / "first"), content_of(base / "back")
        assert [row[:3] for row in first] == [row[:3] for row in again]
        for (*_, ours), (*_, theirs) in zip(first, again, strict=True):
            # A thousandth of a pixel for a corner, and the eight decimals of the rows.
            assert np.abs(ours - theirs).max(initial=0) < 0.001 + 2e-6
        for split in ("train", "val", "test"):
            lists = [base / part / f"{split}.txt" for part in ("first", "back")]
            assert lists[0].exists() == lists[1].exists()
            assert not lists[0].exists() or lists[0].read_bytes() == lists[1].read_bytes()
        for line in (base / "back" / f"{again[0][1]}.txt").read_text("utf-8").splitlines():
            assert (base / "back" / line).samefile(base / "first" / line)


@pytest.fixture
def parts(voc, tmp_path):
    """A YOLO dataset of two splits: a with two boxes, b with one, c good."""
    splits = {}
    for split, names in (("train", "ac"), ("val", "b")):
        splits[split] = tmp_path / f"{split}.list"
        splits[split].write_text("".join(f"IMAGES/{name}.jpg\n" for name in names))
    convert("voc", voc, tmp_path / "parts", splits=splits, names=["dent", "crack", "hole"])
    return tmp_path / "parts"


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_whole_pixels_come_back_byte_by_byte(parts, tmp_path, form):
    convert("yolo", parts, tmp_path / "there", to=form)
    convert(form, tmp_path / "there", tmp_path / "back")
    for file in parts.rglob("*"):
        if file.suffix in {".txt", ".yaml", ".jpg"}:
            assert (tmp_path / "back" / file.relative_to(parts)).read_bytes() == file.read_bytes()


def test_coco_is_what_pycocotools_reads(parts, tmp_path, capsys):
    convert("yolo", parts, tmp_path / "coco", to="coco")
    coco = COCO(str(tmp_path / "coco/annotations/instances_train.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["dent", "crack", "hole"]
    assert [c["id"] for c in coco.loadCats(coco.getCatIds())] == [1, 2, 3]
    images = coco.loadImgs(coco.getImgIds())
    assert {i["file_name"]: (i["height"], i["width"]) for i in images} == {
        "a.jpg": (40, 60),
        "c.jpg": (40, 60),
    }
    (a,) = (i["id"] for i in images if i["file_name"] == "a.jpg")
    found = coco.loadAnns(coco.getAnnIds(imgIds=[a]))
    assert [(f["bbox"], f["category_id"], f["area"]) for f in found] == [
        ([0, 0, 60, 40], 1, 2400),
        ([10, 20, 10, 10], 2, 100),
    ]
    assert (tmp_path / "coco/images/a.jpg").samefile(parts / "images/a.jpg")


def test_voc_is_what_the_challenge_wrote(parts, tmp_path):
    report = convert("yolo", parts, tmp_path / "voc2", to="voc")
    assert report.images == 3 and report.good == 1
    text = (tmp_path / "voc2/Annotations/a.xml").read_text()
    # Ten pixels from edge 10 are the pixels 11 to 20, counted from 1.
    assert "".join(text.split()).endswith(
        "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"
        "</object></annotation>"
    )
    assert (tmp_path / "voc2/ImageSets/Main/train.txt").read_text() == "a\nc\n"
    assert (tmp_path / "voc2/Annotations/c.xml").is_file()  # good is said, not left open
    assert (tmp_path / "voc2/JPEGImages/b.jpg").is_file()


def test_any_format_to_any_form_and_overwriting(voc, tmp_path):
    convert("voc", voc, tmp_path / "out", to="coco")
    with pytest.raises(DataError, match=r"not empty.*--overwrite"):
        convert("voc", voc, tmp_path / "out", to="coco")
    convert("voc", voc, tmp_path / "out", to="yolo", overwrite=True)
    assert not (tmp_path / "out/annotations").exists()
    assert json.loads((tmp_path / "out/report.json").read_text())["to"] == "yolo"
    with pytest.raises(DataError, match=r"unknown form 'cooc'.*did you mean 'coco'"):
        convert("voc", voc, tmp_path / "new", to="cooc")


def test_outlines_survive_yolo_and_coco(tmp_path):
    """A rectangle beside them is a box on the way back, in a file of polygons, too."""
    save_image(tmp_path / "set/images/a.png", HEIGHT, WIDTH)
    (tmp_path / "set/labels").mkdir()
    rows = "1 0.25 0.25 0.125 0.25\n2 0.5 0.5 0.75 0.5 0.75 0.75 0.625 1\n"
    (tmp_path / "set/labels/a.txt").write_text(rows)
    write_index(tmp_path / "set", NAMES, {"train": [Path("images/a.png")]})
    convert("yolo", tmp_path / "set", tmp_path / "yolo")
    convert("yolo", tmp_path / "yolo", tmp_path / "coco", to="coco")
    convert("coco", tmp_path / "coco", tmp_path / "back")
    (first,), (last,) = (
        IMPORTERS["yolo"](tmp_path / name, ImportOptions()).images for name in ("yolo", "back")
    )
    for image in (first, last):
        np.testing.assert_allclose(image.boxes, [[11.25, 5, 18.75, 15], [30, 20, 45, 40]])
        assert image.outlines[0] is None and image.names == (NAMES[1], NAMES[2])
        np.testing.assert_allclose(image.outlines[1], [[30, 20], [45, 20], [45, 30], [37.5, 40]])
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    # 187.5 by the shoelace formula; of the rectangle the box is its area.
    assert [one["area"] for one in content["annotations"]] == [75, 187.5]
