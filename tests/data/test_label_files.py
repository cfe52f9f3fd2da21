"""Label files as a dataset has them: one form for all rows, and files that nothing reads."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.data import labels, strays
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import load_split
from kdlnet.data.label_files import LabelReader
from kdlnet.errors import DataError

ROW = "0 0.5 0.5 0.2 0.2\n"


def make(root: Path, files: dict[str, str], yaml: str = "") -> Path:
    """A dataset of one split ``train``: images and label files by their names below ``root``."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in {".png", ".bmp"}:
            cv2.imwrite(str(file), np.zeros((8, 8), np.uint8))
        else:
            file.write_text(text)
    (root / "data.yaml").write_text(f"names: [pit]\n{yaml or 'train: images'}\n")
    return root


def load(root: Path, **options: bool):
    return load_split(find_dataset(str(root)), "train", **options)


def pictures(count: int, folder: str = "images") -> dict[str, str]:
    return {f"{folder}/p{n}.png": "" for n in range(count)}


@pytest.mark.parametrize(
    ("stray", "belongs"),
    [
        ("images/p0.txt", "labels/p0.txt"),
        ("labels/p0.TXT", "labels/p0.txt"),
        ("labels/P0.txt", "labels/p0.txt"),
        ("labels/p0.png.txt", "labels/p0.txt"),
        ("label/p0.txt", "labels/p0.txt"),
        ("Labels/p0.txt", "labels/p0.txt"),
        ("yolo/p0.txt", "labels/p0.txt"),
        ("images/labels/p0.txt", "labels/p0.txt"),
    ],
)
def test_labels_that_lie_elsewhere_make_no_good_part(tmp_path, stray, belongs):
    files = {**pictures(3), "labels/p1.txt": ROW, stray: ROW}
    split = load(make(tmp_path, files))
    # p2 has no labels anywhere: a good part.
    assert [path.name for path in split.paths] == ["p1.png", "p2.png"]
    (left_out,) = split.left_out
    assert str(tmp_path / stray) in left_out and str(tmp_path / belongs) in left_out
    assert split.warnings[0].startswith("1 of 3 images are left out")
    assert str(tmp_path / stray) in split.warnings[0]
    with pytest.raises(DataError, match="1 of 3"):
        load(tmp_path, strict=True)


def test_splits_below_a_singular_folder_and_flat_labels(tmp_path):
    files = {
        **pictures(2, "image/train"),
        "label/train/p0.txt": ROW,
        "labels/p1.txt": ROW,
    }
    make(tmp_path, files, "train: image/train")
    with pytest.raises(DataError, match=r"2 of 2 images of 'train'.*label/train/p0\.txt"):
        load(tmp_path)


def test_labels_of_other_images_and_other_texts_are_left_alone(tmp_path):
    files = {
        **pictures(2, "train"),
        **pictures(1, "val"),
        "val/p0.txt": ROW,  # beside the image that it belongs to
        "spare/p1.bmp": "",
        "spare/p1.txt": ROW,
        "notes/p0.txt": "taken on Monday, 5 lamps",
        "train/p1.txt": "",
    }
    split = load(make(tmp_path, files, "train: train\nval: val"))
    assert (len(split.paths), split.left_out, split.warnings) == (2, [], [])


def test_label_files_of_no_image_are_told_where_images_lack_theirs(tmp_path):
    files = {**pictures(3), "labels/p0.txt": ROW, "labels/p_1.txt": ROW, "labels/p2.txt": ""}
    split = load(make(tmp_path, files))
    assert len(split.paths) == 3
    assert "1 of 3 images have no label file" in split.warnings[0]
    assert "no image has the name of 1 label file where theirs belong, first" in split.warnings[0]
    assert "labels/p_1.txt" in split.warnings[0] and "rename" in split.warnings[0]
    with pytest.raises(DataError, match=r"^train: 1 of 3 images .*taken as good.*p_1\.txt"):
        load(tmp_path, strict=True)


def test_images_that_share_a_label_file_are_told(tmp_path):
    files = {**pictures(2), "images/p1.jpg": "", "labels/p0.txt": "", "labels/p1.txt": ROW}
    split = load(make(tmp_path, files))
    assert len(split.paths) == 3
    (line,) = split.warnings
    assert "1 of 3 images are read with the label file of another one" in line
    assert "'p1.png' with that of 'p1.jpg'" in line


def test_names_in_another_unicode_form(tmp_path):
    name = "mü"
    composed, other = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    files = {f"images/{composed}.png": "", "images/a.png": "", f"labels/{other}.txt": ROW}
    split = load(make(tmp_path, files))
    assert [path.name for path in split.paths] == ["a.png"]


def test_an_image_with_a_row_that_is_not_understood_is_left_out_and_named(tmp_path):
    files = {**pictures(3), "labels/p0.txt": ROW, "labels/p1.txt": f"{ROW}0 .1 .1 .1 .1 .9\n"}
    split = load(make(tmp_path, files))
    assert [path.name for path in split.paths] == ["p0.png", "p2.png"]
    assert "p1.txt:2: score" in split.left_out[0]
    assert "1 of 3 images are left out" in split.warnings[0]
    assert "p1.txt:2: score" in split.warnings[1]


def test_a_set_of_predictions_is_refused_by_its_file_and_reason(tmp_path):
    files = {**pictures(1), "labels/p0.txt": "0 .5 .5 .2 .3 .91\n"}
    with pytest.raises(DataError, match=r"1 of 1.*labels/p0\.txt:1: score.*class cx cy w h"):
        load(make(tmp_path, files))


def test_what_rows_hold_is_decided_for_the_whole_set(tmp_path):
    """Alone, the large box of p0 with its keypoints could be a polygon; beside p1 it cannot."""
    large = "0 0.5 0.5 0.6 0.6 0.4 0.4 0.6 0.6\n"
    files = {**pictures(2), "labels/p0.txt": large}
    make(tmp_path, files)
    images = sorted((tmp_path / "images").iterdir())
    assert LabelReader(images, 1)(images[0])[0].polygons == 1
    (tmp_path / "labels/p1.txt").write_text("0 0.8 0.8 0.1 0.1 0.78 0.8 0.82 0.8\n")
    reader = LabelReader(images, 1)
    assert [reader(image)[1][0].reason for image in images] == ["keypoints", "keypoints"]


def test_keypoints_of_the_data_yaml(tmp_path):
    files = {**pictures(1), "labels/p0.txt": "0 0.5 0.5 0.2 0.3 0.45 0.4 2 0.5 0.5 0\n"}
    split = load(make(tmp_path, files, "train: images\nkpt_shape: [2, 3]"))
    np.testing.assert_allclose(split.labels[0].boxes, [[0.4, 0.35, 0.6, 0.65]])
    assert split.warnings == []


LABELME = '{"shapes": [{"label": "pit", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"}]}'
VOC = "<annotation><object><name>pit</name></object></annotation>"


@pytest.mark.parametrize(
    ("stray", "text", "tool"),
    [
        ("images/p0.json", LABELME, "labelme"),
        ("labels/p0.json", LABELME, "labelme"),
        ("images/p0.XML", VOC, "voc"),
        ("Annotations/p0.xml", VOC, "voc"),
    ],
)
def test_what_another_tool_marked_makes_no_good_part(tmp_path, stray, text, tool):
    root = make(tmp_path, {**pictures(3), "labels/p1.txt": ROW, stray: text})
    split = load(root)
    assert [path.name for path in split.paths] == ["p1.png", "p2.png"]
    (left_out,) = split.left_out
    assert str(root / stray) in left_out and f"use kdlnet data convert {tool}" in left_out
    assert any(f"first {str(root / stray)!r}, another tool's" in line for line in split.warnings)


@pytest.mark.parametrize("empty", ["", "\n"])
def test_what_was_drawn_in_an_image_whose_label_file_is_empty_makes_no_good_part(tmp_path, empty):
    """`data convert` gives every good part an empty file; then somebody marks a missed defect."""
    files = {**pictures(4), **{f"labels/p{n}.txt": empty for n in range(3)}, "labels/p3.txt": ROW}
    strays = {"images/p0.json": LABELME, "images/p1.json": '{"shapes": []}', "label/p2.txt": ROW}
    split = load(make(tmp_path, {**files, **strays, "images/p3.json": LABELME}))
    assert [path.name for path in split.paths] == ["p1.png", "p2.png", "p3.png"]
    assert "images/p0.json', another tool's: use kdlnet data convert labelme" in split.warnings[0]


@pytest.mark.parametrize(
    ("stray", "text"),
    [
        ("images/p0.json", '{"exposure": 3}'),
        ("images/p0.json", '{"shapes": []}'),
        ("images/p0.json", "not JSON"),
        ("images/p1.json", LABELME),  # p1 has its label file
        ("images/p0.xml", "<camera/>"),
        ("labels/q.json", LABELME),
    ],
)
def test_notes_about_an_image_are_no_labels(tmp_path, stray, text):
    split = load(make(tmp_path, {**pictures(3), "labels/p1.txt": ROW, stray: text}))
    assert len(split.paths) == 3 and not split.left_out


def test_label_files_are_read_twice_and_no_more(tmp_path, monkeypatch):
    """Once for what all rows are, once for the boxes; only an empty one to see that it is empty."""
    root = make(tmp_path, {**pictures(3), "labels/p0.txt": ROW, "labels/p1.txt": ROW * 2})
    (root / "labels/p2.txt").write_text("")
    opened = []
    read = labels._bytes
    monkeypatch.setattr(labels, "_bytes", lambda file: opened.append(file.name) or read(file))
    assert len(load(root).paths) == 3
    assert Counter(opened) == {"p0.txt": 2, "p1.txt": 2, "p2.txt": 3}


def test_the_names_of_a_folder_become_no_paths(tmp_path, monkeypatch):
    """There may be a hundred thousand, and a Path took longer than all else that is done to one."""
    made = []
    monkeypatch.setattr(strays, "Path", lambda *parts: made.append(parts) or Path(*parts))
    files = pictures(40) | {f"labels/p{n}.txt": ROW for n in range(1, 40)}
    assert len(load(make(tmp_path, files)).paths) == 40  # p0 is searched for in both folders
    assert len(made) < 40
