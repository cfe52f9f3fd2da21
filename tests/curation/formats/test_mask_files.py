"""Which mask belongs to which image."""

from __future__ import annotations

import pytest

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.masks import import_masks

from ...support.layouts import save_image, save_mask


def read(source):
    result = import_masks(source, ImportOptions())
    return {r.path.relative_to(source).as_posix(): r for r in result.images}, result.left_out


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("x.jpg", "x_mask.png"),
        ("x.jpg", "x_gt.png"),
        ("x.jpg", "x_label.png"),
        ("x.png", "x-mask.png"),
        ("X.JPG", "x.png"),
        ("Part_1.png", "part_1_MASK.png"),
        ("pru\u0308f.jpg", "pr\u00fcf_gt.png"),
        ("images/a/x.jpg", "masks/a/x.png"),
        ("images/a/x.png", "masks/a/X_mask.tif"),
        ("A/images/x.jpg", "a/GT/x.png"),
        ("images/pru\u0308f/x.jpg", "masks/pr\u00fcf/x.png"),
    ],
)
def test_usual_names_of_masks(tmp_path, image, mask):
    save_image(tmp_path / image)
    save_mask(tmp_path / mask, (1, 1, 9, 9))
    save_image(tmp_path / "other.jpg")
    found, left_out = read(tmp_path)
    assert {name: len(one.boxes) for name, one in found.items()} == {image: 1}
    assert [(p.reason, p.file.name) for p in left_out] == [("no mask", "other.jpg")]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("x.jpg", "x_mask.png x_gt.png"),
        ("x.jpg", "x.png masks/x.png"),
        ("images/x.jpg", "masks/x.png gt/x.png"),
        ("images/train/x.jpg images/test/x.jpg", "masks/x.png"),
        ("x.jpg x.bmp", "x_mask.png"),
        ("Img_1.jpg IMG_1.jpg", "img_1.png"),
    ],
)
def test_masks_that_fit_several_images_and_the_reverse_are_told(tmp_path, images, masks):
    for name in images.split():
        save_image(tmp_path / name)
    for name in masks.split():
        save_mask(tmp_path / name, (1, 1, 9, 9))
    save_image(tmp_path / "sure.jpg")
    save_mask(tmp_path / "sure.png", (1, 1, 9, 9))
    found, left_out = read(tmp_path)
    assert set(found) == {"sure.jpg"}
    assert {p.reason for p in left_out} == {"ambiguous"}
    told = sorted(p.file.relative_to(tmp_path).as_posix() for p in left_out)
    assert told == sorted([*images.split(), *masks.split()])


def test_mirrored_and_equal_names_come_first(tmp_path):
    for name in ("images/x.jpg", "images/train/x.jpg", "Y.jpg", "y.jpg", "images/test/z.jpg"):
        save_image(tmp_path / name)
    for number, name in enumerate(("masks/x.png", "masks/train/x.png", "y.png", "Y.png"), start=5):
        save_mask(tmp_path / name, (1, 1, 9, number))
    save_mask(tmp_path / "masks/train/z.png", (1, 1, 9, 9))
    images, left_out = read(tmp_path)
    heights = {name: image.boxes[0, 3] for name, image in images.items()}
    assert heights == {"images/x.jpg": 5, "images/train/x.jpg": 6, "y.jpg": 7, "Y.jpg": 8}
    # The mask of another split's z is not this one's, and it is no image itself.
    reasons = [(p.reason, p.file.parent.name) for p in left_out]
    assert reasons == [("no mask", "test"), ("no image", "train")]


def test_masks_elsewhere_in_another_case(tmp_path):
    for name in ("a/X.jpg", "b/x.jpg"):
        save_image(tmp_path / "photos" / name)
    for name in ("A/x_gt.png", "b/x.png", "b/x_gt.png"):
        save_mask(tmp_path / "drawn" / name, (1, 1, 9, 9))
    result = import_masks(tmp_path / "drawn", ImportOptions(images=tmp_path / "photos"))
    assert [image.path.name for image in result.images] == ["X.jpg"]
    told = [f"{p.reason} {p.file.relative_to(tmp_path).as_posix()}" for p in result.left_out]
    where = ("photos/b/x.jpg", "drawn/b/x.png", "drawn/b/x_gt.png")
    assert told == [f"ambiguous {name}" for name in where]
