from __future__ import annotations

import pytest

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.yolo import import_yolo
from kdlnet.errors import DataError

from ...support.layouts import save_image


def read(source):
    result = import_yolo(source, ImportOptions())
    return {image.path.name: image for image in result.images}, result


@pytest.fixture
def bare(tmp_path):
    """Folders of images and labels with a list of class names, as some tools leave them."""
    for split in ("train", "valid"):
        save_image(tmp_path / f"{split}/images/{split}.jpg")
        (tmp_path / f"{split}/labels").mkdir()
        (tmp_path / f"{split}/labels/{split}.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("\ufeffdent\nlong scratch\n", encoding="utf-8")
    return tmp_path


def test_class_file_and_folders_do_without_a_yaml(bare):
    images, result = read(bare)
    assert result.names == ("dent", "long scratch")
    assert {image.split for image in images.values()} == {"train", "val"}
    assert images["valid.jpg"].boxes.tolist() == [[15, 10, 45, 30]]
    assert images["valid.jpg"].names == ("long scratch",)


def test_labels_beside_the_images(tmp_path):
    save_image(tmp_path / "a.JPG")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "obj.names").write_text("dent\n")
    assert read(tmp_path)[0]["a.JPG"].boxes.tolist() == [[0, 0, 60, 40]]


def test_polygons_become_their_box_and_are_counted(bare):
    rows = [
        "0 0.1 0.2 0.5 0.2 0.3 0.7",  # three points
        "0 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5",  # a turned box of four
        "1 0.5 0.5 0.5 0.5",
        "1 0.5 0.5 0.5 0.5 0.9",  # a score
        "9 0.1 0.2 0.5 0.2 0.3 0.7",  # no such class
    ]
    (bare / "train/labels/train.txt").write_text("\n".join(rows))
    image = read(bare)[0]["train.jpg"]
    assert image.boxes.round(9).tolist() == [[6, 8, 30, 28], [15, 10, 45, 20], [15, 10, 45, 30]]
    assert image.converted == ("polygon",)  # a rectangle is a box
    assert image.outlines[0].round(9).tolist() == [[6, 8], [30, 8], [18, 28]]
    assert image.outlines[1:] == (None, None)
    assert [(p.line, p.reason) for p in image.problems] == [(4, "score"), (5, "class")]


def test_yaml_of_another_name_or_named_itself(bare, tmp_path):
    yaml = bare / "parts-seg.yaml"
    yaml.write_text("train: train/images\nval: valid/images\nnames: {0: a, 1: b}\n")
    assert read(bare)[1].names == read(yaml)[1].names == ("a", "b")
    (bare / "other.yml").touch()  # two: neither is taken, but the class file is there
    assert read(bare)[1].names == ("dent", "long scratch")


def test_labelled_images_that_no_split_names_are_counted(bare):
    save_image(bare / "train/images/good.jpg")  # without labels, in a split
    save_image(bare / "more/images/loose.jpg")
    (bare / "parts.yaml").write_text("train: train/images\nnames: [a, b]\n")
    images, result = read(bare)
    assert set(images) == {"train.jpg", "good.jpg"}
    assert [(p.file.name, p.reason) for p in result.left_out] == [("valid.jpg", "no split")]
    (bare / "link").symlink_to(bare)
    assert [p.file.name for p in read(bare / "link")[1].left_out] == ["valid.jpg"]


def test_images_in_a_linked_folder_of_a_split_are_not_told_as_left_out(bare, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for kind in ("images", "labels"):
        (elsewhere / kind).mkdir()
        (bare / "train" / kind / "lot").symlink_to(elsewhere / kind)
    save_image(elsewhere / "images/far.jpg")
    (elsewhere / "labels/far.txt").write_text("0 .5 .5 .2 .2\n")
    (bare / "parts.yaml").write_text("train: train/images\nval: valid/images\nnames: [a, b]\n")
    images, result = read(bare)
    assert images["far.jpg"].names == ("a",) and result.left_out == []


def test_faulty_folders_are_errors(bare):
    (bare / "classes.txt").write_text("dent\ndent\n")
    with pytest.raises(DataError, match="class 'dent' appears twice"):
        read(bare)
    (bare / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no data\.yaml and no classes\.txt"):
        read(bare)
    (bare / "classes.txt").write_text("dent\n")
    for file in bare.rglob("labels/*.txt"):
        file.unlink()
    with pytest.raises(DataError, match="label file"):
        read(bare)


def test_labels_in_a_folder_of_another_name_are_named(bare):
    (bare / "train/labels").rename(bare / "train/Labels")
    for file in (bare / "valid/labels").glob("*.txt"):
        file.unlink()
    with pytest.raises(DataError, match=r"; '.*Labels/.*\.txt' is no '.*labels/.*\.txt'$"):
        read(bare)


def test_class_names_beside_the_labels(bare):
    """Where LabelImg leaves them."""
    names = (bare / "classes.txt").read_bytes()
    (bare / "classes.txt").unlink()
    for split in ("train", "valid"):
        (bare / split / "labels/classes.txt").write_bytes(names)
    assert read(bare)[1].names == ("dent", "long scratch")
    (bare / "valid/labels/classes.txt").write_text("long scratch\ndent\n")
    with pytest.raises(DataError, match=r"'.*' and '.*' do not have the same class names"):
        read(bare)
    (bare / "valid/labels/classes.txt").unlink()
    with pytest.raises(DataError, match=r"'.*' and '.*' do not have the same class names"):
        read(bare)
    (bare / "train/labels/classes.txt").rename(bare / "train/classes.txt")
    (bare / "valid/classes.txt").write_bytes(names)
    assert read(bare)[1].names == ("dent", "long scratch")


def test_class_names_beside_the_images(bare):
    """Those beside the labels come first."""
    for split in ("train", "valid"):
        (bare / split / "images/classes.txt").write_text("dent\nscratch\n")
    own = (bare / "classes.txt").read_bytes()
    (bare / "classes.txt").unlink()
    images, result = read(bare)
    assert result.names == ("dent", "scratch") and images["train.jpg"].names == ("scratch",)
    for split in ("train", "valid"):
        (bare / split / "labels/classes.txt").write_bytes(own)
    assert read(bare)[1].names == ("dent", "long scratch")
