from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from kdlnet.curation.formats.coco import import_coco
from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.errors import DataError

from ...support.layouts import save_image

CATEGORIES = [{"id": 7, "name": "dent"}, {"id": 3, "name": "crack"}, {"id": 90, "name": "hole"}]


def save_coco(file, annotations, images=("a.jpg",), categories=CATEGORIES):
    """Images of 40x60 (H, W) with ids from 1; annotations are dicts, by default of image 1."""
    entries = [
        {"id": number, "file_name": name, "height": 40, "width": 60}
        for number, name in enumerate(images, start=1)
    ]
    annotations = [
        {"id": number, "image_id": 1, "category_id": 7, **annotation}
        for number, annotation in enumerate(annotations, start=1)
    ]
    content = {"images": entries, "categories": categories, "annotations": annotations}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def read(source, **options):
    result = import_coco(source, ImportOptions(**options))
    return {image.path.name: image for image in result.images}, result


@pytest.fixture
def parts(tmp_path):
    save_image(tmp_path / "images/a.jpg")
    return tmp_path


def test_boxes_are_corner_and_size_and_ids_may_have_gaps(parts):
    save_coco(
        parts / "ann.json", [{"bbox": [5, 6, 10, 20]}, {"bbox": [0, 0, 60, 40], "category_id": 3}]
    )
    images, result = read(parts)
    assert images["a.jpg"].boxes.tolist() == [[5, 6, 15, 26], [0, 0, 60, 40]]
    assert images["a.jpg"].names == ("dent", "crack")
    assert result.names == ("crack", "dent", "hole")  # by id; a class without boxes stays
    assert images["a.jpg"].problems == () and result.left_out == []


def test_faulty_annotations_are_dropped_or_repaired_with_their_number(parts):
    rows = [
        {"bbox": [5, 6, 10, 20], "iscrowd": 1},
        {"bbox": [5, 6, 10, 20], "category_id": 8},
        {"bbox": [5, 6, 0, 20]},
        {"bbox": [70, 6, 10, 20]},
        {"bbox": [55, 6, 10, 20]},
        {"bbox": [15, 6, -10, 20]},
        {"bbox": [15, 6, float("nan"), 20]},
        {},
        {"bbox": "5 6 10 20"},
        {"bbox": [1, 1, 5, 5]},
        {"bbox": [1, 1, 5, 5]},
        {"bbox": [1, 1, 5, 5], "image_id": 99},
        {"bbox": [1, 1, 5, 5], "image_id": [1]},
    ]
    save_coco(parts / "ann.json", rows)
    images, result = read(parts)
    assert sorted((p.line, p.reason, p.action) for p in images["a.jpg"].problems) == [
        (1, "crowd", "dropped"),
        (2, "category", "dropped"),
        (3, "degenerate", "dropped"),
        (4, "outside", "dropped"),
        (5, "clipped", "clipped"),
        (6, "swapped corners", "repaired"),
        (7, "incomplete", "dropped"),
        (8, "incomplete", "dropped"),
        (9, "incomplete", "dropped"),
        (11, "duplicate", "dropped"),
    ]
    expected = [[55, 6, 60, 26], [5, 6, 15, 26], [1, 1, 6, 6]]
    assert images["a.jpg"].boxes.tolist() == expected
    assert [(p.line, p.reason) for p in result.lost] == [
        (12, "no such image"),
        (13, "no such image"),
    ]


def test_an_outline_is_kept_where_the_box_goes_around_it(parts):
    triangle = [5, 6, 10, 6, 10.5, 30]
    rows = [
        {"bbox": [5, 6, 5.5, 24], "segmentation": [triangle]},
        {"bbox": [5, 6, 6, 25], "segmentation": [triangle]},  # a pixel more, as from centres
        {"bbox": [5, 6, 8, 24], "segmentation": [triangle]},  # the box is something else's
        {"bbox": [5, 6, 20, 24], "segmentation": [triangle, [20, 8, 25, 8, 22, 9]]},  # two pieces
        {"bbox": [50, 30, 11, 11], "segmentation": [[50, 30, 61, 30, 55, 41]]},
        {"bbox": [1, 1, 5, 5], "segmentation": [[1, 2, 3]]},
        {"bbox": [1, 1, 5, 6], "segmentation": [[1, 1, 6, 1, float("inf"), 7]]},
        {"bbox": [30, 10, 1, 20], "segmentation": [[30, 10, 30, 30, 30, 20]]},  # no area
        {"bbox": [50, 29, 10.8, 11], "segmentation": [[60.8, 29, 50, 34, 50, 40]]},  # a corner less
    ]
    save_coco(parts / "ann.json", rows)
    image = read(parts)[0]["a.jpg"]
    drawn = [outline is not None for outline in image.outlines]
    assert drawn == [True, True, False, False, True, False, False, False, True]
    # What is drawn as a box stays as it is, cut at the border; the outline fills it.
    wanted = [[5, 6, 10.5, 30], [5, 6, 11, 31], [5, 6, 13, 30], [5, 6, 25, 30], [50, 30, 60, 40]]
    assert image.boxes[:5].tolist() == wanted
    assert image.boxes[7].tolist() == [30, 10, 31, 30]
    for box, outline in zip(image.boxes, image.outlines, strict=True):
        if outline is not None:
            assert [*outline.min(axis=0), *outline.max(axis=0)] == box.tolist()


def test_box_comes_from_the_polygons_where_there_is_none(parts):
    polygons = [[5, 6, 10, 6, 10.5, 30], [20, 8, 22, 8, 22, 9]]
    rows = [
        {"segmentation": polygons},
        {"segmentation": polygons, "bbox": [0, 0, 0, 0], "category_id": 3},
        {"segmentation": [[1, 2, 3]]},
        {"segmentation": [[]]},
    ]
    save_coco(parts / "ann.json", rows)
    image = read(parts)[0]["a.jpg"]
    assert image.boxes.tolist() == [[5, 6, 22, 30]] * 2
    assert image.converted == ("polygon", "polygon")
    assert [p.reason for p in image.problems] == ["incomplete"] * 2


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_give_the_box_that_pycocotools_gives(parts, seed, compressed):
    generator = np.random.default_rng(seed)
    mask = np.zeros((40, 60), np.uint8, order="F")
    for _ in range(generator.integers(1, 4)):
        y, x = generator.integers(0, 40), generator.integers(0, 60)
        mask[y : y + generator.integers(1, 30), x : x + generator.integers(1, 30)] = 1
    if seed == 0:
        mask[:] = 1  # one run over all columns
    rle = coco_mask.encode(mask)
    x, y, width, height = coco_mask.toBbox(rle).tolist()
    counts = rle["counts"].decode()
    if not compressed:
        flat = np.flatnonzero(np.diff(np.concatenate(([0], mask.ravel("F"), [0]))))
        counts = np.diff(np.concatenate(([0], flat, [2400]))).tolist()
    save_coco(parts / "ann.json", [{"segmentation": {"size": [40, 60], "counts": counts}}])
    image = read(parts)[0]["a.jpg"]
    assert image.boxes.tolist() == [[x, y, x + width, y + height]]
    assert image.converted == ("mask",)


@pytest.mark.parametrize(
    "counts", ["", "~~~~", "o" * 40, [10, 99999], [-1, 5], [1e30, 5], "PPYo", None, [2400]]
)
def test_damaged_run_lengths_are_dropped(parts, counts):
    save_coco(parts / "ann.json", [{"segmentation": {"size": [40, 60], "counts": counts}}])
    image = read(parts)[0]["a.jpg"]
    assert image.names == () and image.problems[0].reason in {"incomplete", "degenerate"}


def test_a_name_that_a_mask_has_too_is_told(parts):
    save_image(parts / "masks/a.png")
    save_coco(parts / "images/ann.json", [{"bbox": [5, 6, 10, 20]}], images=("a",))
    images, result = read(parts)
    assert list(images) == ["a.jpg"] and "taken is 'images/a.jpg'; if" in result.warnings[0]


def test_file_names_of_another_machine_and_missing_images(parts):
    for name in ("left/b.png", "right/b.png", "Prüfung 1.JPG", "never.png"):
        save_image(parts / "images" / name)
    names = (
        "/home/anna/set/images/a.jpg",
        "C:\\one\\right\\b.png",
        "D:\\two\\right\\b.png",
        "Pru\u0308fung 1.jpg",  # as macOS writes it, and in another case
        "gone/a.png",
    )
    save_coco(parts / "annotations/ann.json", [{"bbox": [1, 1, 5, 5], "image_id": 4}], names)
    images, result = read(parts)
    assert set(images) == {"a.jpg", "Prüfung 1.JPG"}
    assert len(images["Prüfung 1.JPG"].boxes) == 1
    reasons = sorted((p.reason, p.value) for p in result.left_out)
    # Two names lead to right/b.png, so neither is taken on trust; left/b.png is nobody's.
    assert reasons == [
        ("ambiguous", "C:\\one\\right\\b.png"),
        ("ambiguous", "D:\\two\\right\\b.png"),
        ("no image", "gone/a.png"),
        ("not listed", "b.png"),
        ("not listed", "b.png"),
        ("not listed", "never.png"),
    ]


def test_names_are_read_from_the_folder_from_which_most_lead_somewhere(tmp_path):
    for name in ("a.png", "left/a.png", "left/deep/a.png", "A.png"):
        save_image(tmp_path / "export/images" / name)
    names = ("a.png", "left/a.png", "A.png")
    rows = [{"bbox": [1, 1, 5, number], "image_id": number} for number in (1, 2, 3)]
    save_coco(tmp_path / "annotations/ann.json", rows, names)
    images = import_coco(tmp_path, ImportOptions()).images
    found = {r.path.relative_to(tmp_path / "export/images").as_posix(): r for r in images}
    assert {name: image.boxes[0, 3] - 1 for name, image in found.items()} == {
        "a.png": 1,
        "left/a.png": 2,
        "A.png": 3,
    }


def test_missing_image_is_not_taken_for_its_namesake(tmp_path):
    save_image(tmp_path / "images/left/a.jpg")
    rows = [{"bbox": [1, 1, 5, 5]}, {"bbox": [9, 9, 5, 5], "image_id": 2}]
    save_coco(tmp_path / "ann.json", rows, ("images/left/a.jpg", "images/right/a.jpg"))
    images, result = read(tmp_path)
    assert images["a.jpg"].boxes.tolist() == [[1, 1, 6, 6]]
    assert [(p.reason, p.value) for p in result.left_out] == [("no image", "images/right/a.jpg")]


def test_splits_come_from_file_or_folder_names(tmp_path):
    for split, file in (
        ("train", "annotations/instances_train2017.json"),
        ("val", "valid/_annotations.coco.json"),
        (None, "other/result.json"),
    ):
        name = f"{split}.jpg"
        save_image(tmp_path / "images" / name)
        save_coco(tmp_path / file, [{"bbox": [1, 1, 5, 5]}], [name])
    (tmp_path / "notes.json").write_text("[]")  # another tool's
    images, result = read(tmp_path)
    assert {name: image.split for name, image in images.items()} == {
        "train.jpg": "train",
        "val.jpg": "val",
        "None.jpg": None,
    }
    assert result.left_out == []


def test_one_file_may_be_named_and_the_images_lie_elsewhere(tmp_path):
    save_image(tmp_path / "photos/deep/a.jpg")
    file = save_coco(tmp_path / "labels/ann.json", [{"bbox": [1, 1, 5, 5]}])
    save_coco(tmp_path / "labels/more.json", [])
    assert len(read(file, images=tmp_path / "photos")[0]["a.jpg"].boxes) == 1
    with pytest.raises(
        DataError,
        match=r"'.*a\.jpg' is listed in .*ann\.json' and .*more\.json', which say different things",
    ):
        read(tmp_path)


def test_a_list_that_is_there_twice_counts_once(tmp_path):
    for split in ("train", "val"):
        save_image(tmp_path / split / f"{split}.jpg")
        rows = [{"bbox": [1, 1, 5, 5 + len(split)], "segmentation": [[1, 1, 6, 1, 6, 4]]}]
        save_coco(tmp_path / split / "_annotations.coco.json", rows, [f"{split}.jpg"])
        save_coco(tmp_path / f"annotations/{split}.json", rows, [f"{split}.jpg"])
    result = import_coco(tmp_path, ImportOptions())
    boxes = {image.split: image.boxes.tolist() for image in result.images}
    assert boxes == {"train": [[1, 1, 6, 11]], "val": [[1, 1, 6, 9]]}
    assert result.left_out == []
    first, second = result.warnings
    assert "annotations/train.json' says of 1 image what '" in first
    assert "val/_annotations.coco.json' says: it counts once" in second


def test_a_list_that_has_an_image_of_its_own_is_no_copy(tmp_path):
    save_image(tmp_path / "lot/a.jpg")
    save_image(tmp_path / "others/b.jpg")
    save_coco(tmp_path / "lot/ann.json", [], ["a.jpg"])
    save_coco(tmp_path / "annotations/all.json", [], ["a.jpg", "b.jpg"])
    images, result = read(tmp_path)
    assert sorted(images) == ["a.jpg", "b.jpg"] and result.warnings == ()
    assert [(each.file.name, each.reason) for each in result.left_out] == [("all.json", "no image")]


@pytest.mark.parametrize("place", ["annotations", "tables"])  # before and after images
def test_one_of_two_lists_may_alone_know_the_split(tmp_path, place):
    for name in "ab":
        save_image(tmp_path / f"images/{name}.jpg")
    save_coco(tmp_path / "images/labels.json", [], ["a.jpg"])
    save_coco(tmp_path / f"{place}/instances_test.json", [], ["a.jpg"])
    save_coco(tmp_path / f"{place}/instances_train.json", [], ["b.jpg"])
    images, _ = read(tmp_path)
    assert {name: image.split for name, image in images.items()} == {
        "a.jpg": "test",
        "b.jpg": "train",
    }


def test_lists_that_contradict_each_other_are_named_with_what_they_say(tmp_path):
    save_image(tmp_path / "images/a.jpg")
    for name in ("all", "test", "train"):
        save_coco(tmp_path / f"{name}.json", [])
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    words = str(caught.value)
    assert "test.json" in words and "train.json" in words and "all.json" not in words
    assert "(splits 'test' and 'train')" in words


@pytest.mark.parametrize(
    ("file", "box"),
    [("annotations/train.json", [1, 1, 5, 6]), ("annotations/val.json", [1, 1, 5, 5])],
)
def test_lists_that_say_different_things_of_an_image_are_refused(tmp_path, file, box):
    save_image(tmp_path / "train/a.jpg")
    save_coco(tmp_path / "train/ann.json", [{"bbox": [1, 1, 5, 5]}], ["a.jpg"])
    save_coco(tmp_path / file, [{"bbox": box}], ["a.jpg"])
    with pytest.raises(DataError, match="which say different things of it"):
        read(tmp_path)


def test_images_of_equal_lists_stay_those_of_their_folders(tmp_path):
    save_image(tmp_path / "lot-1/a.jpg")
    save_image(tmp_path / "lot-2/images/a.jpg")
    for lot in ("lot-1", "lot-2"):
        save_coco(tmp_path / lot / "ann.json", [], ["a.jpg"])
    assert len(import_coco(tmp_path, ImportOptions()).images) == 2


def test_lists_that_are_equal_of_two_folders_of_images_are_both_read(tmp_path):
    for lot in ("lot-1", "lot-2"):
        save_image(tmp_path / lot / "a.jpg")
        save_coco(tmp_path / lot / "ann.json", [], ["a.jpg"])
    assert len(import_coco(tmp_path, ImportOptions()).images) == 2


def test_size_that_is_not_the_images_leaves_it_out(parts):
    save_image(parts / "images/a.jpg", height=20, width=30)  # made smaller after annotation
    save_coco(parts / "ann.json", [{"bbox": [1, 1, 5, 5]}])
    assert [p.reason for p in read(parts)[1].left_out] == ["size"]


@pytest.mark.parametrize(("key", "kind"), [("images", "image"), ("categories", "category")])
def test_ids_that_are_missing_or_given_twice_are_errors(parts, key, kind):
    file = save_coco(parts / "ann.json", [{"bbox": [1, 1, 5, 5]}], ("a.jpg", "b.jpg"))
    whole = json.loads(file.read_text())

    def attempt(identity):
        content = json.loads(json.dumps(whole))
        content[key][1]["id"] = identity
        file.write_text(json.dumps(content))
        read(parts)

    first, second = (entry.get("file_name") or entry["name"] for entry in whole[key][:2])
    identity = whole[key][0]["id"]
    message = rf"id {identity} in .*ann\.json' is that of {kind} '{first}' and of '{second}'"
    with pytest.raises(DataError, match=message):
        attempt(identity)
    with pytest.raises(DataError, match=rf"{kind} '{second}' in .*ann\.json' has no id"):
        attempt(None)


def test_the_same_entry_twice_is_no_fault(parts):
    file = save_coco(parts / "ann.json", [{"bbox": [1, 1, 5, 5]}])
    content = json.loads(file.read_text())
    content["images"] *= 2
    file.write_text(json.dumps(content))
    assert read(parts)[0]["a.jpg"].boxes.tolist() == [[1, 1, 6, 6]]


def test_no_coco_file_and_a_broken_one_are_errors(parts):
    with pytest.raises(DataError, match=r"no \.json"):
        read(parts)
    (parts / "a.json").write_text('{"shapes": []}')
    with pytest.raises(DataError, match=r"a\.json' is not COCO.*annotations"):
        read(parts)
    (parts / "a.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"a\.json' is not JSON"):
        read(parts)
