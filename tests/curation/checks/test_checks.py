"""Each fault is planted once and must be found, named and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from kdlnet.curation.checks import CHECKS, run_checks
from kdlnet.curation.checks.survey import list_dataset, take_survey
from kdlnet.errors import DataError

from .conftest import picture


def found(name, *checks, **options):
    return run_checks(take_survey(list_dataset(name), **options), checks)


def tree(root):
    return {
        str(file): (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def test_a_sound_dataset_has_only_notes(folder):
    for number in range(40):
        split = "train" if number < 20 else "val"
        folder.add(split, f"{number}.png", picture(number), "0 .5 .5 .4 .4\n1 .2 .2 .3 .3\n")
    findings = found(folder.write())
    assert {finding.severity for finding in findings} == {"info"}, findings


def test_broken_files_and_wrong_names(folder):
    whole = cv2.imencode(".jpg", picture(1))[1].tobytes()
    folder.add("train", "cut.jpg", whole[: len(whole) // 2])
    folder.add("train", "empty.png", b"")
    folder.add("train", "text.bmp", b"no image")
    folder.add("train", "named.png", whole)
    folder.add("train", "good.jpg", picture(2))
    name = folder.write()
    broken = found(name, "unreadable")
    assert [finding.image.name for finding in broken] == ["cut.jpg", "empty.png", "text.bmp"]
    assert {finding.severity for finding in broken} == {"error"}
    (wrong,) = found(name, "suffix")
    assert (wrong.image.name, wrong.value) == ("named.png", "JPEG")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_found_and_not_waited_for(folder):
    os.mkfifo(folder.add("train", "good.png", picture(2)).with_name("pipe.png"))
    file = Path(folder.write())
    file.write_text("train: images\nnames: [pit]\n")
    (broken,) = found(str(file), "unreadable")
    assert (broken.image.name, "is a pipe" in broken.message) == ("pipe.png", True)


@pytest.mark.parametrize("train", ["images", "[gone, images]", "[images/a, images]", "images/*/*"])
def test_pictures_that_are_not_read_count_once_however_the_split_names_them(folder, train):
    place = folder.add("train", "a/good.png", picture(2)).parent
    for name in ("a.heic", "b.HEIC", "c.gif", "._c.gif"):
        (place / name).write_bytes(b"picture")
    file = Path(folder.write())
    val = train if train == "images" else "images/a/good.png"
    file.write_text(f"train: {train}\nval: {val}\nnames: [pit]\n")
    (unread,) = [each for each in found(str(file), "suffix") if each.image is None]
    assert unread.value == {".gif": 1, ".heic": 2}
    assert "not read: 1 .gif, 2 .heic;" in unread.message


def test_turned_flat_deep_and_tiny_images(folder):
    for number in range(3):
        folder.add("train", f"{number}.png", picture(number))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = folder.add("train", "turned.jpg", picture(5))
    Image.fromarray(picture(5)).save(turned, exif=exif)
    folder.add("train", "deep.png", picture(6).astype(np.uint16) * 256)
    folder.add("train", "flat.png", np.full((96, 120), 7, np.uint8))
    folder.add("train", "thumb.png", picture(8, 20, 30))
    folder.add("train", "clear.png", cv2.cvtColor(picture(9), cv2.COLOR_GRAY2BGRA))
    name = folder.write()
    (rotation,) = found(name, "rotation")
    assert (rotation.image, rotation.value) == (turned, 6)
    modes = {
        finding.image.name: finding.severity for finding in found(name, "mode") if finding.image
    }
    assert modes == {"deep.png": "error", "flat.png": "warning", "clear.png": "info"}
    tiny, sizes = found(name, "size")
    assert (tiny.image.name, tiny.value) == ("thumb.png", [20, 30])
    assert sizes.value == 3  # (96, 120), the turned (120, 96), (20, 30)


def test_a_flat_image_with_a_box_may_be_the_defect(folder):
    for number in range(3):
        folder.add("train", f"{number}.png", picture(number))
    dead = np.full((96, 120), 2, np.uint8)  # a solar cell without current, by electroluminescence
    folder.add("train", "dead.png", dead, "0 .5 .5 1 1\n")
    folder.add("train", "off.png", dead, "")
    told = {f.image.name: f for f in found(folder.write(), "mode") if f.image}
    assert "it has 1 box" in told["dead.png"].message and "keep it if" in told["dead.png"].fix
    assert "box" not in told["off.png"].message and "keep" not in told["off.png"].fix


def test_rows_and_repeated_boxes(folder):
    rows = "0 .5 .5 .2 .2\n0 .5 .5 .2 .2\n0 .501 .5 .2 .2\n1 .5 .5 .2 .2\n"
    folder.add("train", "twice.png", picture(1), rows)
    folder.add("train", "rows.png", picture(2), "0 .95 .5 .2 .2\n9 .5 .5 .1 .1\n0 .5\n")
    folder.add("train", "good.png", picture(3))
    name = folder.write()
    same, other = found(name, "duplicate-box")
    # One equal row; of the rest the two of class 0 are one box, and each is that of class 1.
    assert (same.image.name, same.value, other.value) == ("twice.png", 2, 2)
    # Equal rows are read once, nearly equal boxes are two for the training.
    assert "1 equal row, which training reads once" in same.message
    assert "1 nearly equal box, which training counts twice" in same.message
    faults = [(finding.value, finding.severity) for finding in found(name, "rows")]
    assert faults == [("class", "warning"), ("columns", "warning"), ("clipped", "info")]


def test_missing_and_lost_labels(folder):
    folder.add("train", "a.png", picture(1))
    folder.add("train", "b.png", picture(2), None)
    folder.add("train", "c.png", picture(3), "")
    folder.add("val", "d.png", picture(4), None)
    (folder.root / "labels" / "e.txt").write_text("0 .5 .5 .1 .1\n")
    name = folder.write()
    by_split = {(f.split, f.severity): f.value for f in found(name, "labels")}
    assert by_split[("val", "error")] == 1
    notes = [f for f in found(name, "labels") if f.split == "train"]
    assert [(f.image.name, f.value) for f in notes] == [("b.png", 1), ("c.png", 1)]
    (lost,) = found(name, "orphans")
    assert "e.txt; 2 images without one: taken as good" in lost.message
    assert lost.severity == "error"  # b or d may be what e was


def test_lost_labels_beside_the_images_are_found(tmp_path):
    for name in ("a", "renamed"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(len(name)))
    for name in ("a", "old"):
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "notes.txt").write_text("taken on Monday\n")
    (tmp_path / "data.yaml").write_text("train: .\nval: .\nnames: [pit]\n")
    (lost,) = found(str(tmp_path), "orphans")
    assert (lost.severity, lost.value) == ("error", 1) and "first old.txt" in lost.message


def test_labels_of_unlisted_images_are_told_apart_from_those_of_none(tmp_path):
    for name in ("a", "b", "good"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(len(name)))
    for name in ("a", "b", "z_old"):
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "listed").mkdir()
    cv2.imwrite(str(tmp_path / "listed/far.png"), picture(9))
    (tmp_path / "train.lst.txt").write_text("a.png\ngood.png\nlisted/far.png\n")
    (tmp_path / "data.yaml").write_text("train: train.lst.txt\nval: train.lst.txt\nnames: [pit]\n")
    (lost,) = (one for one in found(str(tmp_path), "orphans") if one.severity == "error")
    assert lost.value == 1 and "first z_old.txt; 1 image without one" in lost.message


def test_label_files_of_images_that_are_gone_are_no_error(folder):
    folder.add("train", "a.png", picture(1))
    folder.add("train", "b.png", picture(2), "")
    (folder.root / "labels" / "e.txt").write_text("0 .5 .5 .1 .1\n")
    (lost,) = found(folder.write(), "orphans")
    assert (lost.severity, "taken as good" in lost.message) == ("warning", False)


def test_labels_that_lie_elsewhere_and_rows_that_are_no_labels(folder):
    stray = folder.add("train", "a.png", picture(1), None).with_suffix(".txt")
    stray.write_text("0 .5 .5 .1 .1\n")
    folder.add("train", "b.png", picture(2))
    folder.add("val", "c.png", picture(3), "0 .5 .5 .1 .1 .9\n")
    name = folder.write()
    (lost,) = found(name, "orphans")
    assert (lost.severity, lost.value) == ("error", "a.txt")
    assert "'images/a.txt' are not found: the image asks for 'labels/a.txt'" in lost.message
    (label,) = found(name, "labels")  # nobody calls c a good part, or says that it lacks a file
    assert (label.split, label.severity, "correct the rows" in label.fix) == ("val", "error", True)
    (row,) = found(name, "rows")
    assert row.value == "score" and "left out of training and val" in row.fix


def test_labels_lost_by_the_unicode_form_of_their_name(folder):
    """One u with dots, as one character in the image's name and as two in that of the labels."""
    image = folder.add("train", "m\u00fc.png", picture(1), None)
    folder.add("train", "b.png", picture(2))
    (folder.root / "labels" / "mu\u0308.txt").write_text("0 .5 .5 .1 .1\n")
    (folder.root / "labels" / "gone.txt").write_text("0 .5 .5 .1 .1\n")
    pair, lost = found(folder.write(), "orphans")
    assert (pair.severity, pair.image, pair.value) == ("error", image, "mu\u0308.txt")
    assert r"'mu\u0308.txt'" in pair.message and r"'m\xfc.txt'" in pair.message
    assert "1 label file without" in lost.message and "gone.txt" in lost.message


def test_two_images_with_one_label_file(folder):
    folder.add("train", "a.jpg", picture(1))
    second = folder.add("train", "a.png", picture(2))
    folder.add("train", "b.png", picture(3), None)
    folder.add("train", "b.jpg", picture(4), None)  # no labels that they could share
    (shared,) = found(folder.write(), "shared-labels")
    assert (shared.severity, shared.image, shared.value) == ("error", second, "images/a.jpg")


def test_small_boxes_say_which_size_would_do(folder):
    """10 of 1280 pixels: 5 at 640, and the 8 that are wanted at 1024."""
    rows = f"0 .5 .5 {10 / 1280} {10 / 960}\n0 .2 .2 .3 .3\n"
    folder.add("train", "a.png", picture(1, 960, 1280), rows)
    folder.add("train", "b.png", picture(2, 960, 1280), "0 .5 .5 .3 .3\n")
    name = folder.write("[pit]")
    (small,) = found(name, "small-box")
    assert (small.image.name, small.value, small.fix) == ("a.png", 1, "--image-size 1024")
    assert found(name, "small-box", image_size=(1024, 1024)) == []


def test_boxes_of_a_few_pixels_ask_for_a_nearer_camera(folder):
    """5 of 640 pixels are the 8 that are wanted at 1024, of which the image has 640."""
    folder.add("train", "a.png", picture(1, 640, 640), f"0 .5 .5 {5 / 640} {5 / 640}\n")
    (small,) = found(folder.write("[pit]"), "small-box")
    assert small.fix.startswith("few pixels in the image itself: photograph it from nearer")


def test_thin_boxes_ask_for_a_larger_input(folder):
    """4 x 400 of 1000 pixels: 2.56 wide at 640, and 3 only at 750; the area was never too small."""
    for number in range(3):
        folder.add("train", f"{number}.png", picture(number, 1000, 1000), "0 .5 .5 .004 .4\n")
    findings = found(folder.write("[scratch]"), "small-box", "advice")
    assert [finding.fix for finding in findings[:3]] == ["--image-size 768"] * 3
    assert findings[0].message == "too small at 640x640: 1 of 1 box, the smallest 2.6 x 256.0"
    assert findings[3].fix == "train chooses it: --image-size 640x640"
    lost = "3 of 3 boxes so small that many are missed at image size 640x"
    assert findings[3].message.startswith(lost)


def test_boxes_too_thin_for_any_usual_input_ask_for_tiles(folder):
    """4 of 4000 pixels are less than 3 below an input of 3000."""
    folder.add("train", "wide.png", picture(1, 80, 4000), "0 .5 .5 .001 1\n")
    small, advice = found(folder.write("[scratch]"), "small-box", "advice")
    assert small.fix == "--image-size 3008 or --tile 640"
    assert advice.fix == "train chooses it: --tile 288 --image-size 320x320"
    assert advice.message.startswith("tiles of 288 pixels, seen at 320: images 4000 pixels wide")


def test_advice_is_the_input_in_which_the_boxes_keep_32_pixels(folder):
    """64 of 1000 pixels: 32 of them are left at 500, and 512 is near. Of val nothing is learned."""
    rows = "0 .5 .5 .064 .08533\n"
    for number in range(9):
        folder.add("train", f"{number}.png", picture(number, 750, 1000), rows)
    folder.add("train", "10.png", picture(10, 750, 1000), f"{rows}0 .2 .2 .007 .007\n")
    folder.add("val", "val.png", picture(11, 750, 1000), "0 .5 .5 .008 .008\n")
    (advice,) = found(folder.write("[pit]"), "advice")
    assert advice.fix == "train chooses it: --image-size 384x512"
    assert advice.value == {"image_size": [384, 512], "tile": None, "lost": 1 / 11}
    lost = "1 of 11 boxes so small that many are missed at image size 384x512: "
    assert advice.message.startswith(lost)


@pytest.mark.parametrize("split", ["val", "train"])
def test_without_a_split_to_learn_from_there_is_no_advice(folder, split):
    folder.add(split, "a.png", picture(1), "0 .5 .5 .4 .4\n" if split == "val" else "")
    assert found(folder.write(), "advice") == []


@pytest.mark.parametrize("good", [True, False])
def test_where_all_images_with_boxes_are_damaged_there_is_no_advice(folder, good):
    """Their headers can be read."""
    damaged = folder.add("train", "a.png", picture(1), "0 .5 .5 .1 .1\n")
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 3])
    if good:
        folder.add("train", "c.png", picture(2), "")
    assert found(folder.write(), "advice") == []


def test_classes_that_a_split_lacks(folder):
    folder.add("train", "a.png", picture(1), "0 .5 .5 .1 .1\n")
    folder.add("val", "b.png", picture(2), "1 .5 .5 .1 .1\n")
    findings = found(folder.write(), "classes")
    lacking = {(f.split, f.value, f.severity) for f in findings if "no box" in f.message}
    assert lacking == {("train", "crack", "error"), ("val", "pit", "warning")}
    few = {(f.split, f.message) for f in findings if "has 1 box in" in f.message}
    assert few == {
        ("train", "class pit has 1 box in train"),
        ("val", "class crack has 1 box in val"),
    }


def test_a_class_that_nobody_has_used_is_one_warning(folder):
    for number, split in enumerate(("train", "val")):
        folder.add(split, f"{number}.png", picture(number), "0 .5 .5 .1 .1\n")
    findings = found(folder.write("[pit, dent]"), "classes")
    lacking = [(f.split, f.value, f.severity) for f in findings if "no box" in f.message]
    assert lacking == [(None, "dent", "warning")]
    assert {f.severity for f in findings if f.message.startswith("boxes: ")} == {"info"}


def test_classes_of_unlike_numbers_are_named_with_what_to_do(folder):
    """11 boxes for 1 in train; as far apart in val it is only told: nobody learns from it."""
    rows = "".join(f"0 .{number:02} .5 .1 .1\n" for number in range(10, 21))
    for number, split in enumerate(("train", "val")):
        folder.add(split, f"{number}.png", picture(number), rows + "1 .5 .2 .1 .1\n")
    train, val = (f for f in found(folder.write(), "classes") if "boxes: " in f.message)
    assert train.message == "pit has 11 times as many boxes as crack; boxes: pit 11, crack 1"
    assert train.fix == "collect more of crack, and read its own AP beside that of all classes"
    assert (val.message, val.fix) == ("boxes: pit 11, crack 1", "")
    assert (train.severity, val.severity) == ("warning", "info")


def test_classes_whose_names_differ_in_case_or_blanks_alone(folder):
    """They share the examples of one kind of defect, and nobody was told."""
    folder.add("train", "a.png", picture(1), "0 .5 .5 .1 .1\n")
    findings = found(folder.write('["Rolled in", dent, rolledIn, rolled_in]'), "classes")
    alike = [(f.message, f.value, f.severity) for f in findings if "alone" in f.message]
    message = "classes 'Rolled in', 'rolledIn' differ in case, blanks or Unicode form alone"
    assert alike == [(message, ["Rolled in", "rolledIn"], "warning")]


def test_a_dataset_without_val_is_told_the_command_that_makes_one(folder):
    folder.add("train", "a.png", picture(1))
    name = folder.write()
    (finding,) = found(name, "split")
    assert (finding.severity, finding.split) == ("warning", None)
    assert finding.fix == f"kdlnet data split {name} --out {folder.root}-split"
    (folder.root / "report.json").write_text('{"made_by": "kdlnet", "onto": "parts"}')
    (finding,) = found(name, "split")
    assert finding.severity == "info" and "drawn defects alone" in finding.message
    assert finding.fix.endswith(f"kdlnet train --data REAL --data {name}")
    folder.add("val", "b.png", picture(2))
    assert found(folder.write(), "split") == []


@pytest.mark.parametrize("others", [1, 3, 4])
def test_parts_that_are_most_of_a_set_may_lie_on_one_fixture(folder, others):
    base = picture(1, 200, 240)
    folder.add("train", "a.png", base)
    folder.add("train", "b.png", (base * 0.9).astype(np.uint8))
    folder.add("val", "c.png", (base * 0.8).astype(np.uint8))
    for number in range(others):
        folder.add("val", f"other{number}.png", picture(2 + number, 200, 240))
    spread, largest = found(folder.write(), "group")
    assert (spread.severity, largest.severity) == ("error", "info")
    assert [f.fix.count("--group-by copies") for f in (spread, largest)] == [others == 1] * 2


def test_leaks_between_splits(folder):
    base = picture(1, 200, 240)
    folder.add("train", "a.png", base)
    folder.add("train", "a2.png", base)
    folder.add("train", "b.png", picture(2, 200, 240))
    folder.add("val", "same.png", picture(2, 200, 240))
    folder.add("test", "darker.png", (base * 0.8).astype(np.uint8))
    name = folder.write()
    exact = {f.image.name: (f.severity, f.value) for f in found(name, "exact-duplicate")}
    assert exact == {
        "a2.png": ("warning", "images/a.png"),
        "same.png": ("error", "images/b.png"),
    }
    (near,) = found(name, "near-duplicate")
    assert (near.image.name, near.split, near.severity) == ("darker.png", "test", "error")
    spread = [f for f in found(name, "group") if f.severity == "error"]
    assert [sorted(f.value) for f in spread] == [
        ["images/a.png", "images/a2.png", "images/darker.png"],
        ["images/b.png", "images/same.png"],
    ]


def test_copies_whose_labels_disagree_come_first(folder):
    pit, crack = "0 .5 .5 .4 .4\n", "1 .5 .5 .4 .4\n"
    folder.add("train", "a.png", picture(1), pit)
    folder.add("val", "bad.png", b"no image")  # an error, too
    for name, rows in (("class", crack), ("empty", ""), ("none", None), ("two", pit + crack)):
        folder.add("train", f"copy-{name}.png", picture(1), rows)
    findings = found(folder.write())
    assert [f.check for f in findings[:4]] == ["conflicting-labels"] * 4
    assert {f.severity for f in findings[:5]} == {"error"}
    assert {f.image.name: f.message for f in findings[:4]} == {
        f"copy-{name}.png": f"{here} here, pit 1 in images/a.png: the pixels are the same"
        for name, here in (
            ("class", "crack 1"),
            ("empty", "a good part"),
            ("none", "a good part (no label file)"),
            ("two", "pit 1, crack 1"),
        )
    }
    assert findings[0].value == {
        "other": "images/a.png",
        "boxes": {"crack": 1},
        "boxes_of_other": {"pit": 1},
    }


def test_copies_with_boxes_of_the_same_classes_elsewhere_are_a_warning(folder):
    """Moved by x of its width a box has the IoU (1 - x) / (1 + x): 0.54 at 0.3, 0.48 at 0.35."""
    pit = "0 .5 .5 .4 .4\n"
    folder.add("train", "a.png", picture(1), pit)
    folder.add("train", "copy-near.png", picture(1), "0 .62 .5 .4 .4\n")
    folder.add("train", "copy-moved.png", picture(1), "0 .64 .5 .4 .4\n")
    folder.add("train", "copy-more.png", picture(1), pit + "0 .1 .1 .1 .1\n")
    more, moved = found(folder.write(), "conflicting-labels")
    assert (more.severity, more.image.name) == ("warning", "copy-more.png")
    assert more.message == "pit 2 here, pit 1 in images/a.png: the pixels are the same"
    assert (moved.severity, moved.image.name) == ("warning", "copy-moved.png")
    assert moved.message.startswith("pit 1 here, pit 1 at other places in images/a.png")


def test_copies_disagree_only_where_their_labels_are_known_and_their_pixels_the_same(folder):
    folder.add("train", "a.png", picture(1), "0 .5\n")  # left out: what was drawn is not known
    folder.add("train", "copy-good.png", picture(1), "")
    folder.add("train", "copy-elsewhere.png", picture(1), None)
    (folder.root / "images" / "copy-elsewhere.txt").write_text("0 .5 .5 .4 .4\n")
    base = picture(2, 200, 240)
    folder.add("train", "b.png", base)
    folder.add("train", "darker.png", (base * 0.8).astype(np.uint8), "")
    name = folder.write()
    assert len(found(name, "exact-duplicate")) == 2
    assert found(name, "conflicting-labels") == []
    folder.add("train", "copy-pit.png", picture(1))
    (between,) = found(folder.write(), "conflicting-labels")
    assert (between.image.name, between.value["other"]) == ("copy-pit.png", "images/copy-good.png")


def test_an_image_in_two_splits_and_a_split_that_is_gone(folder):
    folder.add("train", "a.png", picture(1))
    folder.add("train", "b.png", picture(2))
    folder.add("val", "b.png", picture(2))
    folder.add("test", "c.png", picture(3)).unlink()
    findings = found(folder.write(), "split")
    assert [(f.split, f.severity) for f in findings] == [("test", "error"), ("train", "error")]
    assert "train and val" in findings[1].message


def test_drift_between_splits(folder):
    for number in range(24):
        dark = number >= 12
        image = (picture(number) * (0.5 if dark else 1)).astype(np.uint8)
        folder.add("val" if dark else "train", f"{number}.png", image)
    findings = found(folder.write("[pit]"), "drift")
    assert [f.message.split()[0] for f in findings] == ["brightness", "contrast"]
    assert findings[0].split == "val"


def test_drift_is_told_where_splits_differ_most(folder):
    """Half of train is darker than all of val, and no image is brighter than that."""
    for number in range(80):
        level = 60 if number < 40 and number % 2 else 120
        image = np.full((64, 64, 3), level, np.uint8)
        image[:32] += 5  # 2.5 in the mean
        folder.add("train" if number < 40 else "val", f"{number}.png", image)
    (drift,) = found(folder.write("[pit]"), "drift")
    assert drift.message == "brightness differs: 62.5 or less in 0.0 % of val, 50.0 % of train"


def test_drift_is_told_with_the_digits_that_divide(folder):
    for number in range(24):
        size = (250, 334) if number < 12 else (500, 669)  # 1.336 and 1.338
        folder.add("train" if number < 12 else "val", f"{number}.png", np.full(size, 90, np.uint8))
    (drift,) = found(folder.write("[pit]"), "drift")
    assert drift.message == "aspect differs: 1.336 or less in 0.0 % of val, 100.0 % of train"


def test_a_plain_folder_is_looked_through_without_labels(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(min(number, 1), 200, 240))
    findings = found(str(tmp_path))
    assert "exact-duplicate" in {finding.check for finding in findings}
    assert not {"labels", "classes", "rows"} & {finding.check for finding in findings}


@pytest.mark.parametrize(
    ("home", "place"), [("images", "labels"), ("images", "images"), ("parts", "parts")]
)
def test_a_plain_folder_whose_labels_wait_for_a_data_yaml(tmp_path, home, place):
    """As Label Studio exports them: images, labels and classes.txt."""
    for number in range(3):
        file = tmp_path / home / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), picture(number))
        labels = tmp_path / place / f"{number}.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_text(("", "shift 2, camera 1\n", "1 .5 .5 .4 .4\n")[number])
    (told,) = found(str(tmp_path), "orphans")
    assert (told.severity, told.value, told.image.name) == ("warning", 1, "2.png")
    assert "have labels that are not read, first '2.txt'" in told.message
    assert "data.yaml" in told.fix


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("0 .5 .5 .4 .4 .3 .3 2", True),  # a keypoint
        ("0 .5 .5 .4 .4 .9", True),  # a score
        ("0 5 5 9 9", True),  # pixels
        ("deep pit .5 .5 .4 .4", True),
        ("0 .1 .1 .9 .1 .5 .9", True),
        ("0 .5 .5 .4", False),
        ("camera 1 at 20 degrees", False),
    ],
)
def test_labels_of_a_plain_folder_need_not_be_sound(tmp_path, row, told):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), picture(1))
    (tmp_path / "labels/a.txt").write_text(f"\n{row}\n")
    assert [one.value for one in found(str(tmp_path), "orphans")] == [1] * told


def test_a_plain_folder_with_labels_of_several_tools_names_each(tmp_path):
    """Conversions first: once the folder has a data.yaml, its own labels are read."""
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    for number in (0, 3, 5):
        (tmp_path / f"{number}.txt").write_text("0 .5 .5 .4 .4\n")
    shapes = [{"label": "pit", "points": [[1, 2], [3, 4]]}]
    for number in (1, 4):
        (tmp_path / f"{number}.json").write_text(json.dumps({"shapes": shapes}))
    (tmp_path / "2.xml").write_text("<annotation><object></object></annotation>")
    told = [(one.value, one.image.name, one.fix) for one in found(str(tmp_path), "orphans")]
    assert told == [
        (1, "2.png", "use kdlnet data convert voc"),
        (2, "1.png", "use kdlnet data convert labelme"),
        (3, "0.png", "give the folder a data.yaml (docs/files.md)"),
    ]


def test_a_plain_folder_with_labels_of_other_tools(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    shapes = [{"label": "pit", "points": [[1, 2], [3, 4]]}]
    (tmp_path / "0.json").write_text(json.dumps({"shapes": shapes}))
    coco = {"images": [{"file_name": "1.png"}], "categories": [], "annotations": [{"id": 1}]}
    (tmp_path / "instances_default.json").write_text(json.dumps(coco))
    one, several = found(str(tmp_path), "orphans")
    assert (one.severity, one.value, one.image.name) == ("warning", 1, "0.png")
    assert one.fix == "use kdlnet data convert labelme"
    assert (several.severity, several.value, several.image.name) == ("warning", 1, "1.png")
    assert "instances_default.json" in several.message and "data convert coco" in several.fix


def test_files_with_several_pages(folder):
    pages = [Image.fromarray(picture(number)) for number in range(3)]
    path = folder.add("train", "stack.tif", picture(0))
    pages[0].save(path, save_all=True, append_images=pages[1:])
    folder.add("train", "one.tif", picture(5))
    folder.add("train", "cut.tif", path.read_bytes()[:200])
    stack, cut = found(folder.write(), "pages", "unreadable")[::-1]
    assert (stack.check, stack.severity, stack.image, stack.value) == ("pages", "warning", path, 3)
    assert "3 pages" in stack.message
    assert (cut.check, cut.image.name) == ("unreadable", "cut.tif")


def test_nothing_is_written_into_the_dataset(folder):
    for number in range(4):
        folder.add("train", f"{number}.png", picture(number % 3), "0 .5 .5 .01 .01\n9 9\n")
    name = folder.write()
    before = tree(folder.root)
    found(name)
    assert tree(folder.root) == before


def test_unknown_names(folder, tmp_path):
    folder.add("train", "a.png", picture(1))
    with pytest.raises(DataError, match="did you mean 'rows'"):
        found(folder.write(), "row")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds neither"):
        list_dataset(str(tmp_path / "none"))


def test_every_check_is_tested():
    """A new check comes with its fault here."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in CHECKS)
