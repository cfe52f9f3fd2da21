"""Lists beside the images: every image in one part, nothing moved, tests kept."""

from __future__ import annotations

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from kdlnet.curation.groups import find_groups, image_names, lots_of
from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.events import Message
from kdlnet.verbs.split import split_dataset

from ..support.layouts import save_image

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}
BY_PART = r"^(\d)_"


@pytest.fixture
def parts(tmp_path):
    """Four parts with four photographs each; the last of each part is good. Part 3 is the test."""
    root = tmp_path / "möbel set"
    for part in range(4):
        split = "test" if part == 3 else "train"
        for shot in range(4):
            save_image(root / f"images/{split}/{part}_{shot}.PNG", value=10 * part + shot)
            labels = root / f"labels/{split}/{part}_{shot}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("" if shot == 3 else f"{shot % 2} 0.5 0.5 0.2 0.2\n" * (shot + 1))
    text = "train: images/train\ntest: images/test\nnames: [dent, crack, rust]\nchannels: 1\n"
    (root / "data.yaml").write_text(text)
    return root


def tree(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def images_of(folder):
    """Image paths by split, as a training run would list them."""
    info = find_dataset(str(folder / "data.yaml"))
    return {split: list_images(info, split) for split in info.splits}


def test_lists_name_the_images_where_they_are(parts, tmp_path):
    before = tree(parts)
    report = split_dataset(str(parts), tmp_path / "deep/new", shares=SHARES, group_by=BY_PART)
    assert tree(parts) == before
    assert report.files == (tmp_path / "deep/new/data.yaml",)
    found = images_of(tmp_path / "deep/new")
    assert {split: len(images) for split, images in found.items()} == {
        "train": 8,
        "val": 4,
        "test": 4,
    }
    assert all(parts in image.parents for images in found.values() for image in images)
    assert all(label_path(image).is_file() for image in found["train"])
    assert not {image.name[0] for image in found["train"]} & {i.name[0] for i in found["val"]}
    info = find_dataset(str(tmp_path / "deep/new"))
    assert (info.names, info.channels) == (("dent", "crack", "rust"), 1)
    written = json.loads((tmp_path / "deep/new/report.json").read_text())
    assert written == {
        "made_by": "kdlnet",
        "data": str(parts / "data.yaml"),
        "group_by": BY_PART,
        "keep": None,
        "seed": 0,
        "root": "../../möbel set",
    } | json.loads(json.dumps(report.to_dict()))


@pytest.mark.skipif(os.name == "nt", reason="file names are no bytes there")
def test_lists_hold_any_name_but_one_with_a_line_feed(parts, tmp_path):
    names = [
        b"\xc1\xd1.png",
        b"cr\rx.png",
        b" lead.png",
        "nel\x85x.png".encode(),
        b"ls\xe2\x80\xa8x.png",
    ]
    folder = parts / "images" / "train"
    for name in names:
        shutil.copy(folder / "0_0.PNG", os.fsencode(folder) + b"/" + name)
    wanted = {image for images in images_of(parts).values() for image in images}
    split_dataset(str(parts), tmp_path / "new", shares=SHARES)
    found = {image for images in images_of(tmp_path / "new").values() for image in images}
    assert found == wanted and len(found) == 21
    shutil.copy(folder / "0_0.PNG", folder / "two\nlines.png")
    with pytest.raises(DataError, match=r"two\\nlines\.png' has a line break"):
        split_dataset(str(parts), tmp_path / "other", shares=SHARES)
    assert not (tmp_path / "other").exists()


def test_lists_move_with_the_images(parts, tmp_path):
    split_dataset(str(parts), tmp_path / "new", shares=SHARES)
    (tmp_path / "elsewhere").mkdir()
    for folder in (parts, tmp_path / "new"):
        shutil.move(folder, tmp_path / "elsewhere" / folder.name)
    assert len(images_of(tmp_path / "elsewhere/new")["train"]) == 8


def test_counts(parts, tmp_path):
    """Three photographs of a part have 1, 2 and 3 equal rows, of which one counts."""
    report = split_dataset(str(parts), tmp_path / "new", shares=SHARES, group_by=BY_PART)
    val = report.parts["val"]
    assert (val.share, val.images, val.good, val.boxes, val.groups) == (0.25, 4, 1, 3, 1)
    assert val.classes == {"dent": 2, "crack": 1, "rust": 0}
    assert report.class_groups == {"dent": 4, "crack": 4, "rust": 0}
    assert report.deviation == dict.fromkeys(("images", "good", "dent", "crack", "rust"), 0.0)
    (rust,) = [line for line in report.warnings if "'rust'" in line]
    assert rust == "class 'rust' has no box in train, val, test: a model never finds it"
    assert any("12 dropped (dropped: duplicate 12)" in line for line in report.warnings)


def test_deviation_is_of_the_farthest_part(parts, tmp_path):
    """Four equal groups for 90 and 10 %: the second part gets one of them, 15 points too much."""
    shares = {"train": 0.9, "val": 0.1}
    report = split_dataset(str(parts), tmp_path / "new", shares=shares, group_by=BY_PART)
    assert report.deviation["images"] == pytest.approx(0.15)
    assert report.deviation["dent"] == pytest.approx(0.15)


def test_a_kept_test_stays(parts, tmp_path):
    kept = images_of(parts)["test"]
    shares = {"train": 0.75, "val": 0.25}
    report = split_dataset(str(parts), tmp_path / "new", shares=shares, keep="test")
    found = images_of(tmp_path / "new")
    assert found["test"] == kept
    assert (len(found["train"]), len(found["val"])) == (9, 3)
    assert report.parts["test"].share is None
    assert report.left_out == 0


@pytest.mark.parametrize(
    ("home", "groups", "without"), [("test", "0 groups", "train, val"), ("train", "1 group", "val")]
)
def test_a_class_in_fewer_groups_than_parts_is_told(parts, tmp_path, home, groups, without):
    file = parts / "labels" / home / ("3_0.txt" if home == "test" else "0_0.txt")
    file.write_text("2 0.5 0.5 0.2 0.2\n")
    shares = {"train": 0.75, "val": 0.25}
    report = split_dataset(
        str(parts), tmp_path / "new", shares=shares, keep="test", group_by=BY_PART
    )
    (rust,) = [line for line in report.warnings if "'rust'" in line]
    assert rust == f"class 'rust' is in {groups}, too few for 2 parts: none of it in {without}"


def test_a_test_that_is_not_kept_is_told(parts, tmp_path):
    told = []
    shares = {"train": 0.75, "val": 0.25}
    split_dataset(str(parts), tmp_path / "all", shares=shares, on_event=told.append)
    split_dataset(str(parts), tmp_path / "kept", shares=shares, keep="test", on_event=told.append)
    (line,) = [event.text for event in told if isinstance(event, Message)]
    assert line.startswith("the images of its test are divided with the rest: --keep test")


def test_what_would_leak_into_a_kept_test_is_left_out(parts, tmp_path):
    """Grouped by the number of the photograph, every group reaches into the test but one."""
    (parts / "images/test/3_0.PNG").unlink()
    shares = {"train": 0.5, "val": 0.5}
    with pytest.raises(DataError, match="1 group cannot fill 2 parts"):
        split_dataset(str(parts), tmp_path / "new", shares=shares, keep="test", group_by=r"_(.)")
    assert not (tmp_path / "new").exists()
    report = split_dataset(
        str(parts),
        tmp_path / "new",
        shares={"train": 1.0},
        keep="test",
        group_by=r"_(.)",
    )
    assert report.left_out == 9
    left_out = (tmp_path / "new/left-out.txt").read_text().splitlines()
    assert left_out[0] == "images/train/0_1.PNG"
    assert "9 images are left out" in report.warnings[0]
    assert len(images_of(tmp_path / "new")["train"]) == 3


@pytest.mark.parametrize(("rule", "groups"), [("duplicates", 4), ("copies", 7)])
def test_parts_on_one_fixture_are_divided_by_copies(parts, tmp_path, rule, groups):
    """Four shots of a texture, darker each, and a copy of the first, a good part by its labels."""
    rng = np.random.default_rng(0)
    base = 120 + 900 * cv2.GaussianBlur(rng.normal(size=(200, 240)), (0, 0), 2)
    shutil.rmtree(parts / "images/test")
    for file in sorted((parts / "images/train").iterdir())[7:]:
        file.unlink()
    folder = parts / "images/train"
    for shot in range(4):
        image = np.clip(base * (1 - 0.05 * shot), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"0_{shot}.PNG"), image)
    shutil.copy(folder / "0_0.PNG", folder / "0_9.PNG")
    (parts / "data.yaml").write_text("train: images/train\nnames: [dent, crack, rust]\n")
    report = split_dataset(str(parts), tmp_path / "new", folds=2, group_by=rule)
    assert sum(part.groups for part in report.parts.values()) == groups
    assert [line for line in report.warnings if "disagree" in line] == [
        "1 image with copies whose labels disagree: a model cannot learn both; kdlnet data check "
        "tells which"
    ]


def test_nothing_left_beside_the_kept_split(parts, tmp_path):
    with pytest.raises(DataError, match="every group has an image in that split"):
        split_dataset(
            str(parts),
            tmp_path / "new",
            shares={"train": 1.0},
            keep="test",
            group_by=r"_(.)",
        )


def test_folds(parts, tmp_path):
    report = split_dataset(str(parts), tmp_path / "new", folds=3, keep="test", group_by=BY_PART)
    assert list(report.parts) == ["fold-1", "fold-2", "fold-3", "test"]
    vals = []
    for fold in (1, 2, 3):
        found = images_of(tmp_path / f"new/fold-{fold}")
        assert len(found["train"]) == 8
        assert not set(found["train"]) & set(found["val"])
        assert found["test"] == images_of(parts)["test"]
        vals += found["val"]
    assert sorted(vals) == images_of(parts)["train"]


@pytest.mark.parametrize("keep", ["train", "val"])
def test_folds_keep_nothing_that_they_are_made_of(parts, tmp_path, keep):
    """Each fold has a train and a val of its own: a kept one would replace them."""
    with pytest.raises(DataError, match=f"--keep {keep} with --folds: .* --keep test"):
        split_dataset(str(parts), tmp_path / "new", folds=2, keep=keep)
    assert not (tmp_path / "new").exists()


def test_overwrite_replaces_only_what_was_written_here(parts, tmp_path):
    for overwrite in (False, True):
        split_dataset(str(parts), tmp_path / "new", folds=2, overwrite=overwrite)
    with pytest.raises(DataError, match="not empty"):
        split_dataset(str(parts), tmp_path / "new", shares=SHARES)
    (tmp_path / "new/report.json").write_text("{}")
    with pytest.raises(DataError, match="not written by kdlnet"):
        split_dataset(str(parts), tmp_path / "new", shares=SHARES, overwrite=True)


@pytest.mark.parametrize("place", ["möbel set", "möbel set/new", ".", "möbel set/images"])
def test_never_into_the_dataset(parts, tmp_path, place):
    before = tree(parts)
    with pytest.raises(DataError, match="lie inside each other"):
        split_dataset(str(parts), tmp_path / place, shares=SHARES, overwrite=True)
    assert tree(parts) == before


def test_lists_far_from_their_images_are_safe(parts, tmp_path):
    """The root of a split is its own folder: the images' folder is protected all the same."""
    split_dataset(str(parts), tmp_path / "new", shares=SHARES)
    with pytest.raises(DataError, match="lie inside each other"):
        split_dataset(str(tmp_path / "new"), parts, shares=SHARES, overwrite=True)
    again = split_dataset(str(tmp_path / "new"), tmp_path / "two", folds=2)
    assert sum(part.images for part in again.parts.values()) == 16


def test_an_unknown_split_is_not_kept(parts, tmp_path):
    with pytest.raises(DataError, match=r"--keep: .* 'tets'; did you mean 'test'"):
        split_dataset(str(parts), tmp_path / "new", shares=SHARES, keep="tets")


def test_a_rule_fits_what_was_divided_by_it(parts, tmp_path):
    """By folder or by table: images are named from the dataset, whose lists lie elsewhere now."""
    root = tmp_path / "set"
    for number in range(12):
        save_image(root / f"images/{number % 4}/{number // 4}.PNG", value=10 * number)
    (root / "data.yaml").write_text("train: images\nnames: [dent]\n")
    table = tmp_path / "groups.csv"
    rows = "".join(f"images/{part}/{shot}.PNG,p{part}\n" for part in range(4) for shot in range(3))
    table.write_text(f"image,group\n{rows}")
    for number, rule in enumerate((r"images/(\d)/", str(table))):
        for again in ("once", "twice"):  # a split of a split, too
            out = tmp_path / f"{again}-{number}"
            source = root if again == "once" else tmp_path / f"once-{number}" / "fold-1"
            split_dataset(str(source), out, folds=2, group_by=rule)
            for fold in ("fold-1", "fold-2"):
                info = find_dataset(str(out / fold))
                images = list_images(info, "train")
                names = image_names(info, images)
                assert all(name.startswith("images/") for name in names)
                assert len(set(find_groups(rule, names, images))) == 2
    whole = tmp_path / "elsewhere"
    whole.mkdir()
    for name in ("set", "once-0"):
        shutil.move(tmp_path / name, whole)
    info = find_dataset(str(whole / "once-0" / "fold-1"))
    assert image_names(info, list_images(info, "val"))[0].startswith("images/")
    assert len(set(lots_of(info, list_images(info, "val"), r"images/(\d)/") or ())) == 2


def test_what_training_leaves_out_is_no_good_part_and_stays_in_the_lists(parts, tmp_path):
    """Of four good parts one has its labels under another name, one a row that says nothing."""
    labels = parts / "labels/train"
    (labels / "0_3.txt").rename(labels / "0_3.TXT")
    (labels / "0_3.TXT").write_text("0 0.5 0.5 0.2 0.2\n")
    (labels / "1_3.txt").write_text("0 320 240 20 20\n")
    (labels / "2_2.txt").write_text("1 0.5 0.5 0.2 0.2\n0 320 240 20 20\n")
    report = split_dataset(str(parts), tmp_path / "new", shares=SHARES)
    assert sum(part.good for part in report.parts.values()) == 2
    assert sum(part.boxes for part in report.parts.values()) == 12
    assert sum(map(len, images_of(tmp_path / "new").values())) == 16
    (line,) = [line for line in report.warnings if "leave out" in line]
    assert line.startswith("train and val leave out 3 of 16 images") and "0_3.TXT" in line


def test_label_files_that_no_image_has_are_told(parts, tmp_path):
    labels = parts / "labels/train"
    (labels / "0_0.txt").rename(labels / "0_9.txt")
    report = split_dataset(str(parts), tmp_path / "new", shares=SHARES)
    assert any("0_9.txt" in line for line in report.warnings)


def test_labels_that_disagree_on_one_picture_are_told(parts, tmp_path):
    """Part 0 is there thrice, once as a good part; part 1 twice and each time the same."""
    images, labels = parts / "images/train", parts / "labels/train"
    for old, new in (("0_0", "a"), ("0_0", "b"), ("1_0", "c")):
        shutil.copy(images / f"{old}.PNG", images / f"{new}.PNG")
        shutil.copy(labels / f"{old}.txt", labels / f"{new}.txt")
    report = split_dataset(str(parts), tmp_path / "same", shares=SHARES, group_by="duplicates")
    assert not [line for line in report.warnings if "with copies" in line]
    (labels / "b.txt").write_text("")
    report = split_dataset(str(parts), tmp_path / "other", shares=SHARES, group_by="duplicates")
    (line,) = [line for line in report.warnings if "with copies" in line]
    assert line.startswith("1 image with copies") and "kdlnet data check" in line
    (labels / "b.txt").write_text("7 0.5 0.5 0.2 0.2\n")  # no such class: nobody knows what it says
    report = split_dataset(str(parts), tmp_path / "doubt", shares=SHARES, group_by="duplicates")
    assert not [line for line in report.warnings if "with copies" in line]
