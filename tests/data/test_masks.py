from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from kdlnet.data.formats.masks import import_masks
from kdlnet.data.formats.record import ImportOptions
from kdlnet.errors import DataError

from .conftest import save_image


def save_mask(file, *boxes, value=255, size=(40, 60), dtype=np.uint8):
    mask = np.zeros(size, dtype)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


@pytest.fixture
def tiles(tmp_path):
    """The layout of the magnetic-tile set: folder = class, mask beside the image."""
    for name in ("MT_Crack/Imgs/1", "MT_Free/Imgs/1", "MT_Fray/Imgs/1"):
        save_image(tmp_path / f"{name}.jpg")
    save_mask(tmp_path / "MT_Crack/Imgs/1.png", (5, 6, 25, 8), (40, 10, 50, 30))
    save_mask(tmp_path / "MT_Free/Imgs/1.png")
    save_mask(tmp_path / "MT_Fray/Imgs/1.png", (0, 0, 60, 40))
    return tmp_path


def read(source, **options):
    result = import_masks(source, ImportOptions(**options))
    return {r.image.relative_to(source).as_posix(): r for r in result.records}, result.left_out


def test_every_region_becomes_a_box_of_the_folders_class(tiles):
    records, left_out = read(tiles, good=("MT_Free",))
    assert len(records) == 3 and left_out == []
    crack = records["MT_Crack/Imgs/1.jpg"]
    assert sorted(crack.boxes.tolist()) == [[5, 6, 25, 8], [40, 10, 50, 30]]
    assert crack.names == ("MT_Crack", "MT_Crack")
    # A region that touches all borders covers the image exactly.
    assert records["MT_Fray/Imgs/1.jpg"].boxes.tolist() == [[0, 0, 60, 40]]
    assert records["MT_Free/Imgs/1.jpg"].boxes.shape == (0, 4)


def test_diagonal_neighbours_are_one_region(tiles):
    save_mask(tiles / "MT_Crack/Imgs/1.png", (5, 5, 15, 10), (15, 10, 25, 15))
    assert read(tiles)[0]["MT_Crack/Imgs/1.jpg"].boxes.tolist() == [[5, 5, 25, 15]]


def test_small_regions_are_dropped_and_counted(tiles):
    save_mask(tiles / "MT_Crack/Imgs/1.png", (5, 5, 9, 9), (20, 20, 24, 23), (50, 30, 51, 31))
    record = read(tiles)[0]["MT_Crack/Imgs/1.jpg"]  # 16, 12 and 1 pixels
    assert record.boxes.tolist() == [[5, 5, 9, 9]]
    assert [problem.reason for problem in record.problems] == ["small region"] * 2
    assert len(read(tiles, min_area=1)[0]["MT_Crack/Imgs/1.jpg"].boxes) == 3
    assert len(read(tiles, min_area=12)[0]["MT_Crack/Imgs/1.jpg"].boxes) == 2


def test_soft_edges_do_not_grow_the_box_and_small_numbers_count(tiles):
    mask = np.zeros((40, 60), np.uint8)
    mask[9:21, 9:31] = 100
    mask[10:20, 10:30] = 255
    (tiles / "MT_Crack/Imgs/1.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    assert read(tiles)[0]["MT_Crack/Imgs/1.jpg"].boxes.tolist() == [[10, 10, 30, 20]]
    save_mask(tiles / "MT_Crack/Imgs/1.png", (10, 10, 30, 20), value=1)
    assert read(tiles)[0]["MT_Crack/Imgs/1.jpg"].boxes.tolist() == [[10, 10, 30, 20]]
    save_mask(tiles / "MT_Crack/Imgs/1.png", (10, 10, 30, 20), value=65535, dtype=np.uint16)
    assert read(tiles)[0]["MT_Crack/Imgs/1.jpg"].boxes.tolist() == [[10, 10, 30, 20]]


def test_defect_folder_with_an_empty_mask_is_not_a_good_part(tiles):
    save_mask(tiles / "MT_Fray/Imgs/1.png")
    records, left_out = read(tiles, good=("MT_Free",))
    assert "MT_Fray/Imgs/1.jpg" not in records
    assert [problem.reason for problem in left_out] == ["empty mask"]
    # Without a good folder an empty mask is all that can tell a good part.
    records, left_out = read(tiles)
    assert records["MT_Fray/Imgs/1.jpg"].names == () and left_out == []


def test_good_folder_needs_no_masks_others_do(tiles):
    (tiles / "MT_Free/Imgs/1.png").unlink()
    (tiles / "MT_Fray/Imgs/1.png").unlink()
    records, left_out = read(tiles, good=("MT_Free",))
    assert set(records) == {"MT_Free/Imgs/1.jpg", "MT_Crack/Imgs/1.jpg"}
    assert [problem.reason for problem in left_out] == ["no mask"]


def test_masks_in_a_folder_of_their_own(tmp_path):
    # As MVTec AD: the same numbers in every class, PNG on both sides.
    save_image(tmp_path / "test/broken/000.png")
    save_image(tmp_path / "test/bent/000.png")
    save_image(tmp_path / "test/good/000.png")
    save_mask(tmp_path / "ground_truth/broken/000_mask.png", (1, 1, 9, 9))
    save_mask(tmp_path / "ground_truth/bent/000_mask.png", (20, 20, 40, 30))
    records, left_out = read(tmp_path, good=("good",))
    assert left_out == []
    assert {name: record.names for name, record in records.items()} == {
        "test/broken/000.png": ("broken",),
        "test/bent/000.png": ("bent",),
        "test/good/000.png": (),
    }
    assert records["test/bent/000.png"].boxes.tolist() == [[20, 20, 40, 30]]
    # Another class's mask of the same number is not the mask of this image.
    _, left_out = read(tmp_path)
    assert [(p.reason, p.file.parent.name) for p in left_out] == [("no mask", "good")]


def test_images_elsewhere(tmp_path):
    for folder in ("pit", "scratch", "free"):
        save_image(tmp_path / f"photos/{folder}/1.jpg")
    save_mask(tmp_path / "drawn/pit/1.png", (1, 1, 9, 9))
    save_mask(tmp_path / "drawn/scratch/1_mask.png", (20, 20, 40, 30))
    options = ImportOptions(images=tmp_path / "photos")
    result = import_masks(tmp_path / "drawn", options)
    found = {record.image.relative_to(tmp_path).as_posix(): record for record in result.records}
    assert found["photos/pit/1.jpg"].names == ("pit",)
    assert found["photos/scratch/1.jpg"].boxes.tolist() == [[20, 20, 40, 30]]
    assert [(p.reason, p.file.parent.name) for p in result.left_out] == [("no mask", "free")]
    good = import_masks(tmp_path / "drawn", replace(options, good=("free",)))
    assert len(good.records) == 3 and good.left_out == []
    with pytest.raises(DataError, match=r"no masks below .*drawn/pit.*photos.*the same"):
        import_masks(tmp_path / "drawn/pit", options)


@pytest.mark.parametrize(("source", "images"), [(".", "photos"), ("drawn", ".")])
def test_images_elsewhere_in_the_same_tree(tmp_path, source, images):
    # PNG on both sides and of one name: the folders alone tell which is which.
    image = tmp_path / ("photos/1.png" if source == "." else "images/1.png")
    mask = tmp_path / ("masks/1.png" if source == "." else "drawn/1.png")
    save_image(image)
    save_mask(mask, (1, 1, 9, 9))
    options = ImportOptions(images=tmp_path / images)
    (record,) = import_masks(tmp_path / source, options).records
    assert record.image == image and record.boxes.tolist() == [[1, 1, 9, 9]]


def test_flat_folders_take_the_given_class(tmp_path):
    save_image(tmp_path / "images/a.b 1.png")
    save_mask(tmp_path / "masks/a.b 1.png", (1, 1, 9, 9))
    assert read(tmp_path)[0]["images/a.b 1.png"].names == ("defect",)
    assert read(tmp_path, class_name="dent")[0]["images/a.b 1.png"].names == ("dent",)


def test_mask_of_another_size_leaves_the_image_out(tiles):
    save_mask(tiles / "MT_Fray/Imgs/1.png", (1, 1, 9, 9), size=(20, 30))
    assert [problem.reason for problem in read(tiles)[1]] == ["size"]


def test_wrong_good_folder_and_no_masks_are_errors(tiles):
    with pytest.raises(DataError, match=r"'MT_free' is not a folder.*MT_Free"):
        read(tiles, good=("MT_free",))
    for file in tiles.rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match="no masks"):
        read(tiles)


def test_class_from_the_file_name(tmp_path):
    names = ("crazing_12", "rolled-in_scale_1", "pit (3)", "good-004")
    for name in names:
        save_image(tmp_path / f"images/{name}.jpg")
        save_mask(tmp_path / f"masks/{name}.png", (1, 1, 9, 9))
    save_image(tmp_path / "images/123.jpg")
    save_mask(tmp_path / "masks/123.png", (1, 1, 9, 9))
    records, left_out = read(tmp_path, class_from="name", good=("good",))
    assert {name: record.names for name, record in records.items()} == {
        "images/crazing_12.jpg": ("crazing",),
        "images/rolled-in_scale_1.jpg": ("rolled-in_scale",),
        "images/pit (3).jpg": ("pit",),
        "images/good-004.jpg": (),
    }
    assert [problem.reason for problem in left_out] == ["no class in the name"]


@pytest.fixture
def valued(tmp_path):
    """Pixels of 1, 2 and 255; the region of 2 touches that of 1."""
    save_image(tmp_path / "images/a.jpg")
    mask = np.zeros((40, 60), np.uint8)
    mask[5:15, 5:15], mask[15:25, 5:15], mask[30:35, 30:35] = 1, 2, 255
    (tmp_path / "masks").mkdir()
    return tmp_path, mask


def test_class_from_the_pixel_value(valued):
    folder, mask = valued
    cv2.imwrite(str(folder / "masks/a.png"), mask)
    record = read(folder, class_from="value")[0]["images/a.jpg"]
    boxes = [[5, 5, 15, 15], [5, 15, 15, 25], [30, 30, 35, 35]]
    assert record.boxes.tolist() == boxes
    assert record.names == ("1", "2", "255")
    named = {"1": "pit", "2": "crack"}  # 255 is the border that is left open
    record = read(folder, class_from="value", values=named)[0]["images/a.jpg"]
    assert (record.boxes.tolist(), record.names) == (boxes[:2], ("pit", "crack"))
    # By folder all of it is one class; only what is above half counts in a mask that has 255.
    assert read(folder)[0]["images/a.jpg"].boxes.tolist() == [boxes[2]]


def test_values_are_never_passed_over(valued):
    folder, mask = valued
    cv2.imwrite(str(folder / "masks/a.png"), mask)
    with pytest.raises(DataError, match=r"class_from is 'folder'.*class_from='value'"):
        read(folder, values={"1": "pit"})


def test_class_from_palette_index_and_colour(valued):
    folder, mask = valued
    picture = Image.frombytes("P", (60, 40), mask.tobytes())
    picture.putpalette([value * 37 % 256 for value in range(768)])
    picture.save(folder / "masks/a.png")
    assert read(folder, class_from="value")[0]["images/a.jpg"].names == ("1", "2", "255")
    colours = np.zeros((*mask.shape, 3), np.uint8)
    colours[mask == 1], colours[mask == 2] = (255, 0, 0), (0, 128, 255)
    Image.fromarray(colours).save(folder / "masks/a.png")
    record = read(folder, class_from="value", values={"#ff0000": "pit", "#0080ff": "crack"})[0]
    assert sorted(record["images/a.jpg"].names) == ["crack", "pit"]


def test_palette_of_any_size_and_one_cut_off(valued, monkeypatch):
    folder, mask = valued
    picture = Image.frombytes("P", (60, 40), mask.tobytes())
    picture.putpalette([value * 37 % 256 for value in range(768)])
    picture.save(folder / "masks/a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses more than twice that
    assert read(folder, class_from="value")[0]["images/a.jpg"].names == ("1", "2", "255")
    assert Image.MAX_IMAGE_PIXELS == 100
    whole = (folder / "masks/a.png").read_bytes()
    (folder / "masks/a.png").write_bytes(whole[:-60])
    assert [p.reason for p in read(folder, class_from="value")[1]] == ["unreadable"]


def test_photograph_in_place_of_a_class_mask_is_left_out(valued):
    folder, _ = valued
    cv2.imwrite(str(folder / "masks/a.png"), np.arange(2400, dtype=np.uint16).reshape(40, 60))
    assert [p.reason for p in read(folder, class_from="value")[1]] == ["too many values"]


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
    records, left_out = read(tmp_path)
    assert {name: len(record.boxes) for name, record in records.items()} == {image: 1}
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
    records, left_out = read(tmp_path)
    assert set(records) == {"sure.jpg"}
    assert {p.reason for p in left_out} == {"ambiguous"}
    told = sorted(p.file.relative_to(tmp_path).as_posix() for p in left_out)
    assert told == sorted([*images.split(), *masks.split()])


def test_mirrored_and_equal_names_come_first(tmp_path):
    for name in ("images/x.jpg", "images/train/x.jpg", "Y.jpg", "y.jpg", "images/test/z.jpg"):
        save_image(tmp_path / name)
    for number, name in enumerate(("masks/x.png", "masks/train/x.png", "y.png", "Y.png"), start=5):
        save_mask(tmp_path / name, (1, 1, 9, number))
    save_mask(tmp_path / "masks/train/z.png", (1, 1, 9, 9))
    records, left_out = read(tmp_path)
    heights = {name: record.boxes[0, 3] for name, record in records.items()}
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
    assert [record.image.name for record in result.records] == ["X.jpg"]
    told = [f"{p.reason} {p.file.relative_to(tmp_path).as_posix()}" for p in result.left_out]
    where = ("photos/b/x.jpg", "drawn/b/x.png", "drawn/b/x_gt.png")
    assert told == [f"ambiguous {name}" for name in where]
