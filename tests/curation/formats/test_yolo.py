from __future__ import annotations

import re

import pytest

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.yolo import import_yolo
from kdlnet.errors import DataError

from ...support.layouts import save_image


def read(source, **options):
    result = import_yolo(source, ImportOptions(**options))
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


def test_a_folder_without_images_says_what_was_looked_for(apart):
    """Not that their labels are missing."""
    (apart / "image").rename(apart / ".image")
    line = r"no image below '.*': looked for .*\.png.*hidden.*--images"
    with pytest.raises(DataError, match=line):
        read(apart, names=("dent", "scratch"))
    (apart / "empty").mkdir()
    with pytest.raises(DataError, match=r"no image below '.*empty': looked for"):
        read(apart / "label", images=apart / "empty")
    (apart / "empty/a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"no image below '.*empty': .* not read: 1 \.gif; save"):
        read(apart / "label", images=apart / "empty", names=("dent", "scratch"))


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


@pytest.fixture
def apart(tmp_path):
    """Images in one tree and label files in another, called neither ``images`` nor ``labels``."""
    for name in ("a.jpg", "lot/train/a.jpg", "lot/b.x.png"):
        save_image(tmp_path / "image" / name)
        file = (tmp_path / "label" / name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "label/lot/train/a.txt").write_text("0 0.5 0.5 1 1\n")
    return tmp_path


def read_apart(apart, names=("dent", "scratch")):
    result = import_yolo(apart / "label", ImportOptions(images=apart / "image", names=names))
    found = {image.path.relative_to(apart / "image").as_posix(): image for image in result.images}
    return found, result


def test_labels_in_one_tree_and_images_in_another(apart):
    save_image(apart / "image/lot/good.png")
    images, result = read_apart(apart)
    assert {name: image.names for name, image in images.items()} == {
        "a.jpg": ("scratch",),
        "lot/b.x.png": ("scratch",),
        "lot/good.png": (),
        "lot/train/a.jpg": ("dent",),
    }
    assert result.names == ("dent", "scratch")
    assert images["lot/train/a.jpg"].split == "train" and images["a.jpg"].split is None
    assert result.left_out == [] and result.warnings == ()
    assert not any(image.problems for image in images.values())


def test_the_form_of_rows_in_another_tree_is_decided_for_all(apart):
    """A box and two keypoints would be a polygon of four points."""
    for file in (apart / "label").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.2 0.2 0.45 0.45 0.55 0.55\n")
    images, _ = read_apart(apart)
    assert {p.reason for i in images.values() for p in i.problems} == {"keypoints"}


def test_only_the_same_path_pairs(apart):
    """Neither a file of the name in another folder nor one in another case."""
    (apart / "label/lot/train/a.txt").rename(apart / "label/lot/a.txt")
    (apart / "label/a.txt").rename(apart / "label/A.txt")
    images, result = read_apart(apart)
    assert images["lot/b.x.png"].names == ("scratch",)
    assert "a.jpg" not in images
    assert [p.file.relative_to(apart).as_posix() for p in result.left_out] == [
        "image/a.jpg",
        "image/lot/train/a.jpg",
    ]
    assert {p.reason for p in result.left_out} == {"labels elsewhere"}
    assert "belongs in" in result.warnings[0] and "label/a.txt" in result.warnings[0]


def test_a_label_file_without_an_image_in_another_tree_is_told(apart):
    (apart / "label/new").mkdir()
    (apart / "label/new/gone.txt").write_text("0 0.5 0.5 1 1\n")
    (apart / "label/new/empty.txt").touch()
    (apart / "label/README.txt").write_text("0 is a dent, 1 a scratch\n")
    (apart / "label/latin.txt").write_bytes(b"\xe9t\xe9\n")
    _, result = read_apart(apart)
    assert [(p.file.name, p.reason) for p in result.left_out] == [("gone.txt", "no image")]
    (apart / "label/new/gone.txt").rename(apart / "label/lot/gone.txt")
    save_image(apart / "image/lot/renamed.png")  # may be its
    images, _ = read_apart(apart)
    assert [p.reason for p in images["lot/renamed.png"].problems] == ["unsure"]


def test_a_label_file_beside_that_of_another_case_in_another_tree_is_told(apart):
    file = apart / "label/A.txt"
    file.write_text("0 0.5 0.5 1 1\n")
    if file.samefile(apart / "label/a.txt"):
        pytest.skip("case is ignored here")
    images, result = read_apart(apart)
    assert images["a.jpg"].names == ("scratch",)
    assert [(p.file.name, p.reason) for p in result.left_out] == [("A.txt", "no image")]


def test_two_images_of_one_label_file_in_another_tree_are_told(apart):
    save_image(apart / "image/a.png")
    _, result = read_apart(apart)
    assert "read with the label file of another one, first 'a.png'" in result.warnings[0]


def test_an_image_with_labels_in_the_usual_place_is_no_good_part(apart):
    (apart / "image").rename(apart / "images")
    (apart / "labels/lot").mkdir(parents=True)
    (apart / "labels/lot/new.txt").write_text("0 0.5 0.5 1 1\n")
    save_image(apart / "images/lot/new.jpg")
    result = import_yolo(apart / "label", ImportOptions(images=apart / "images", names=("a", "b")))
    assert [(p.file.name, p.reason) for p in result.left_out] == [("new.jpg", "labels elsewhere")]


def test_a_list_of_classes_comes_before_the_names_by_number(apart, bare):
    for place in ("label", "label/lot", "image"):
        (bare / "classes.txt").rename(apart / place / "classes.txt")
        if place == "label/lot":
            (apart / "label/a.txt").rename(apart / "label/lot/b.txt")
        assert read_apart(apart, ("x", "y"))[1].names == ("dent", "long scratch")
        (apart / place / "classes.txt").rename(bare / "classes.txt")


def test_names_where_nothing_else_names_the_classes(bare):
    (bare / "classes.txt").unlink()
    images, result = read(bare, names=("a", "b"))
    assert result.names == ("a", "b") and images["valid.jpg"].names == ("b",)
    images, _ = read(bare, names=("a",))
    assert [p.reason for p in images["valid.jpg"].problems] == ["class"]
    (bare / "classes.txt").write_text("dent\nlong scratch\n")
    assert read(bare, names=("a", "b"))[0]["valid.jpg"].names == ("long scratch",)
    (bare / "data.yaml").write_text("train: train/images\nnames: [m, n]\n")
    assert read(bare, names=("a", "b"))[0]["train.jpg"].names == ("n",)


def test_names_beside_a_list_of_classes_are_an_order_and_said_to_be(bare):
    """The numbers stay those of the list: who meant to name them is told."""
    assert read(bare)[1].warnings == ()
    _, result = read(bare, names=("long scratch", "dent"))
    line = r"numbers in its labels are those of its own classes \(dent, long scratch\): --names"
    assert len(result.warnings) == 1 and re.search(line, result.warnings[0])
    for same in (("dent", "long scratch"), ("dent", "long scratch", "pore")):
        assert read(bare, names=same)[1].warnings == ()
    (bare / "classes.txt").unlink()
    assert read(bare, names=("long scratch", "dent"))[1].warnings == ()


def test_faulty_trees_are_errors(apart):
    with pytest.raises(DataError, match=r"or give its class names in .* with --names"):
        read_apart(apart, ())
    (apart / "nowhere").mkdir()
    (apart / "label/data.yaml").write_text("train: .\nnames: [a, b]\n")
    for source in ("label", "label/data.yaml"):
        with pytest.raises(DataError, match=r"data\.yaml' says .* that does not hold it"):
            read(apart / source, images=apart / "image")
    with pytest.raises(
        DataError, match=r"no image below '.*/lot' has a label file below '.*nowhere'"
    ):
        read(apart / "nowhere", images=apart / "image/lot", names=("a", "b"))
    (apart / "label/data.yaml").unlink()
    command = r"use kdlnet data convert yolo \S*/label --images \S*/image$"
    with pytest.raises(DataError, match=command):  # a folder too high and one too low
        read(apart, images=apart / "image/lot", names=("a", "b"))


def test_the_way_out_is_named_where_labels_lie_in_a_tree_of_their_own(apart, monkeypatch):
    (apart / "label").rename(apart / "my labels")
    monkeypatch.chdir(apart)
    command = "use kdlnet data convert yolo 'my labels' --images image"
    with pytest.raises(DataError, match=f"is no '.*image/a.txt': {command} --names A,B$"):
        read(apart)
    (apart / "classes.txt").write_text("dent\nscratch\n")
    with pytest.raises(DataError, match=f"is no '.*image/a.txt': {command}$"):
        read(apart)
    (apart / "my labels/a.txt").rename(apart / "my labels/A.txt")  # would not be paired
    with pytest.raises(DataError, match=r"is no '[^']*image/a.txt'$"):
        read(apart)
    for file in (apart / "image").rglob("*.*"):
        file.rename(apart / "my labels" / file.relative_to(apart / "image"))
    (apart / "my labels/A.txt").rename(apart / "my labels/a.txt")
    (apart / "my labels").rename(apart / "images")  # labels belong in labels, not beside
    with pytest.raises(DataError, match=r"use kdlnet data convert yolo images --images images$"):
        read(apart)


def test_names_in_another_case_are_found_in_a_tree_far_from_the_images(apart):
    (apart / "far").mkdir()
    (apart / "label").rename(apart / "far/label")
    (apart / "far/label/a.txt").rename(apart / "far/label/A.txt")
    options = ImportOptions(images=apart / "image", names=("dent", "scratch"))
    result = import_yolo(apart / "far/label", options)
    assert [(p.file.name, p.reason) for p in result.left_out] == [("a.jpg", "labels elsewhere")]
