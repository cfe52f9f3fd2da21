"""Labels that a person corrected in LabelMe, laid over the dataset that has the images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kdlnet.data.catalog import find_dataset
from kdlnet.data.label_files import LabelReader
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.verbs.convert import convert
from kdlnet.verbs.split import split_dataset

from ..support.layouts import save_image
from .test_convert import tree

ROW = "1 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """a, b and c in train, d in val, all but c with a box of the class dent."""
    root = tmp_path / "parts"
    for split, names in (("train", "abc"), ("val", "d")):
        (root / "labels" / split).mkdir(parents=True)
        for name in names:
            image = save_image(root / "images" / split / f"{name}.png", 40, 60)
            label_path(image).write_text("" if name == "c" else ROW)
    yaml = "train: images/train\nval: images/val\nnames: [scratch, dent]\nchannels: 1\n"
    (root / "data.yaml").write_text(yaml)
    return root


def correct(file: Path, image: Path, *shapes: tuple[str, list[list[float]]]) -> None:
    """A file as val leaves it in suspicious/, with these names and points."""
    kinds = {2: "rectangle"}
    drawn = [
        {"label": name, "points": points, "shape_type": kinds.get(len(points), "polygon")}
        for name, points in shapes
    ]
    place = Path(os.path.relpath(image, file.parent)).as_posix()
    size = {"imageHeight": 40, "imageWidth": 60}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"shapes": drawn, "imagePath": place, **size}))


def labels_of(folder: Path) -> dict[str, tuple[str, list[int], int]]:
    """Split, classes and number of outlines of each image."""
    info = find_dataset(str(folder / "data.yaml"))
    found = {}
    for split in info.splits:
        images = list_images(info, split)
        for image, (labels, _) in zip(images, map(LabelReader(images, 2), images), strict=True):
            found[image.stem] = (split, labels.labels.tolist(), labels.polygons)
    return found


BOX = [[5.0, 5.0], [20.0, 20.0]]


def test_the_labels_of_corrected_images_are_replaced_and_no_other(
    parts: Path, tmp_path: Path
) -> None:
    files, images, before = tmp_path / "val/suspicious", parts / "images", tree(parts)
    correct(files / "a.json", images / "train/a.png")  # its label was none
    correct(files / "c.json", images / "train/c.png", ("scratch", BOX), ("dent", [*BOX, [5, 30]]))
    correct(files / "d-2.json", images / "val/d.png", ("scratch", BOX))
    report = convert("labelme", files, tmp_path / "mended", onto=parts / "data.yaml")
    assert labels_of(tmp_path / "mended") == {
        "a": ("train", [], 0),
        "b": ("train", [1], 0),
        "c": ("train", [0, 1], 1),
        "d": ("val", [0], 0),
    }
    assert report.names == ("scratch", "dent") and tree(parts) == before
    assert find_dataset(str(tmp_path / "mended/data.yaml")).channels == 1
    assert report.converted["image with corrected labels"] == 3
    assert (report.left_out, report.warnings) == ({}, ())


def test_what_is_not_decided_leaves_the_old_labels_and_is_told(parts: Path, tmp_path: Path) -> None:
    files, images = tmp_path / "suspicious", parts / "images/train"
    correct(files / "a.json", images / "a.png", ("? scratch", BOX), ("dent", BOX))
    correct(files / "b.json", images / "b.png", ("scratch", BOX))
    correct(files / "x.json", save_image(tmp_path / "x.png"), ("scratch", BOX))
    report = convert("labelme", files, tmp_path / "mended", onto=parts)
    found = labels_of(tmp_path / "mended")
    assert (found["a"], found["b"]) == (("train", [1], 0), ("train", [0], 0))
    (line,) = report.warnings
    assert line.startswith("1 of 2 images keep their old labels") and "not decided" in line
    assert report.left_out == {"not in the dataset": 1}


def test_what_was_drawn_beside_images_of_the_dataset_is_laid_over_it(
    parts: Path, tmp_path: Path
) -> None:
    """As train asks for: it leaves c out, whose label file is empty."""
    image = parts / "images/train/c.png"
    correct(image.with_suffix(".json"), image, ("scratch", BOX))
    report = convert("labelme", parts / "images", tmp_path / "mended", onto=parts)
    assert labels_of(tmp_path / "mended")["c"] == ("train", [0], 0)
    assert (report.images, report.left_out, report.warnings) == (4, {}, ())


def test_lists_of_a_split_elsewhere_keep_their_images(parts: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    split.mkdir()
    (split / "val.txt").write_text("./../parts/images/train/a.png\n./../parts/images/val/d.png\n")
    (split / "data.yaml").write_text("val: val.txt\nnames: [scratch, dent]\n")
    correct(tmp_path / "s/a.json", parts / "images/train/a.png", ("scratch", BOX))
    report = convert("labelme", tmp_path / "s", tmp_path / "mended", onto=split)
    assert labels_of(tmp_path / "mended") == {"a": ("val", [0], 0), "d": ("val", [1], 0)}
    assert "2 of 2 images lie outside of the source" in report.warnings[0]


def test_images_of_a_set_that_was_divided_are_not_outside_of_it(
    parts: Path, tmp_path: Path
) -> None:
    split_dataset(str(parts), tmp_path / "split", shares={"train": 0.5, "val": 0.5})
    correct(tmp_path / "s/a.json", parts / "images/train/a.png", ("scratch", BOX))
    report = convert("labelme", tmp_path / "s", tmp_path / "mended", onto=tmp_path / "split")
    assert labels_of(tmp_path / "mended")["a"][1] == [0]
    assert not any("outside" in line for line in report.warnings)


def test_wrong_corrections_get_one_line(parts: Path, tmp_path: Path) -> None:
    def fails(words: str, format: str = "labelme", onto: Path = parts) -> None:
        with pytest.raises(DataError, match=words):
            convert(format, tmp_path / "s", tmp_path / "mended", onto=onto)
        assert not (tmp_path / "mended").exists()

    image = parts / "images/train/a.png"
    correct(tmp_path / "s/a.json", image, ("scrach", BOX))
    fails(r"unknown class in the annotations 'scrach'.*'scratch'.*--names")
    fails("--onto takes corrections made in LabelMe, not 'voc'", format="voc")
    fails("--onto '.*nowhere' does not exist", onto=tmp_path / "nowhere")
    correct(tmp_path / "s/a.json", image, ("? scratch", BOX))
    fails(r"no correction can be used: .*a\.png: partial: .*suggestion not decided")
    correct(tmp_path / "s/a.json", tmp_path / "gone.png", ("scratch", BOX))
    fails(r"no correction can be used: .*a\.json: not in the dataset")


def test_a_correction_goes_to_no_namesake(parts: Path, tmp_path: Path) -> None:
    """The image of the correction is gone; val has another of its name."""
    image = parts / "images/train/a.png"
    (tmp_path / "s").mkdir()
    correct(tmp_path / "s/a.json", image, ("scratch", BOX))
    correct(tmp_path / "s/b.json", parts / "images/train/b.png", ("scratch", BOX))
    save_image(parts / "images/val/a.png", 40, 60)
    image.unlink()
    report = convert("labelme", tmp_path / "s", tmp_path / "mended", onto=parts)
    assert report.left_out == {"not in the dataset": 1}
    assert labels_of(tmp_path / "mended")["a"] == ("val", [], 0)


def test_corrections_are_laid_over_what_earlier_ones_gave(parts: Path, tmp_path: Path) -> None:
    """Two people corrected one val; the second's files lead to the images of the first dataset."""
    images = parts / "images/train"
    for number, name in enumerate("abc"):  # all of other bytes
        save_image(images / f"{name}.png", 40, 60, number)
    correct(tmp_path / "one/a.json", images / "a.png", ("scratch", BOX))
    correct(tmp_path / "two/b.json", images / "b.png", ("scratch", BOX))
    convert("labelme", tmp_path / "one", tmp_path / "first", onto=parts)
    report = convert("labelme", tmp_path / "two", tmp_path / "second", onto=tmp_path / "first")
    found = labels_of(tmp_path / "second")
    assert (found["a"], found["b"], report.left_out) == (("train", [0], 0), ("train", [0], 0), {})
    (images / "b.png").unlink()
    save_image(images / "b.png", 40, 60, 9)  # no more the image that the dataset has
    with pytest.raises(DataError, match="not in the dataset"):
        convert("labelme", tmp_path / "two", tmp_path / "third", onto=tmp_path / "first")


def test_what_nobody_corrected_stays_as_it_was(parts: Path, tmp_path: Path) -> None:
    """A suggestion beside a good part, a label without an image beside parts without a label."""
    images = parts / "images/train"
    correct(images / "c.json", images / "c.png", ("? scratch", BOX))
    correct(images / "a.json", images / "a.png", ("scratch", BOX))
    label_path(images / "b.png").unlink()
    (parts / "labels/train/before.txt").write_text(ROW)
    report = convert("labelme", images, tmp_path / "mended", onto=parts)
    found = labels_of(tmp_path / "mended")
    assert [found[name][1] for name in "abc"] == [[0], [], []] and report.left_out == {}
    told = "\n".join(report.warnings)
    assert "keep their old labels" in told and "'b.png', though labels in 'before.txt'" in told


def test_that_keypoints_are_not_taken_over_is_told(parts: Path, tmp_path: Path) -> None:
    with (parts / "data.yaml").open("a") as yaml:
        yaml.write("kpt_shape: [2, 2]\n")
    for file in parts.glob("labels/*/*.txt"):
        file.write_text(file.read_text().replace("\n", " 0.5 0.5 0.6 0.6\n"))
    correct(tmp_path / "s/a.json", parts / "images/train/a.png", ("scratch", BOX))
    report = convert("labelme", tmp_path / "s", tmp_path / "mended", onto=parts)
    (line,) = report.warnings
    assert line.startswith("its keypoints (kpt_shape: [2, 2]) are not taken over")
    assert labels_of(tmp_path / "mended")["b"] == ("train", [1], 0)
