from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from kdlnet.curation.formats.imported import ImportOptions, leave_out_partial
from kdlnet.curation.formats.masks import import_masks
from kdlnet.errors import DataError

from ...support.layouts import save_image, save_mask


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
    return {r.path.relative_to(source).as_posix(): r for r in result.images}, result.left_out


def test_every_region_becomes_a_box_of_the_folders_class(tiles):
    images, left_out = read(tiles, good=("MT_Free",))
    assert len(images) == 3 and left_out == []
    crack = images["MT_Crack/Imgs/1.jpg"]
    assert sorted(crack.boxes.tolist()) == [[5, 6, 25, 8], [40, 10, 50, 30]]
    assert crack.names == ("MT_Crack", "MT_Crack")
    assert crack.outlines == (None, None)  # of a rectangle the box says all
    # A region that touches all borders covers the image exactly.
    assert images["MT_Fray/Imgs/1.jpg"].boxes.tolist() == [[0, 0, 60, 40]]
    assert images["MT_Free/Imgs/1.jpg"].boxes.shape == (0, 4)


def test_diagonal_neighbours_are_one_region(tiles):
    save_mask(tiles / "MT_Crack/Imgs/1.png", (5, 5, 15, 10), (15, 10, 25, 15))
    image = read(tiles)[0]["MT_Crack/Imgs/1.jpg"]
    assert image.boxes.tolist() == [[5, 5, 25, 15]]
    corners = {(5, 5), (15, 5), (15, 10), (25, 10), (25, 15), (15, 15), (5, 10)}
    assert set(map(tuple, image.outlines[0].tolist())) == corners


def test_small_regions_are_dropped_and_counted(tiles):
    save_mask(tiles / "MT_Crack/Imgs/1.png", (5, 5, 9, 9), (20, 20, 24, 23), (50, 30, 51, 31))
    image = read(tiles)[0]["MT_Crack/Imgs/1.jpg"]  # 16, 12 and 1 pixels
    assert image.boxes.tolist() == [[5, 5, 9, 9]]
    assert [problem.reason for problem in image.problems] == ["small region"] * 2
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


def save_pixels(file, pixels):
    file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.mark.parametrize(("strong", "weak"), [(200, 100), (255, 60), (40_000, 9000)])
def test_region_that_is_faint_beside_a_strong_one_makes_the_image_partial(tiles, strong, weak):
    mask = np.zeros((40, 60), np.uint16 if strong > 255 else np.uint8)
    mask[5:15, 5:25], mask[25:30, 40:50] = strong, weak
    save_pixels(tiles / "MT_Crack/Imgs/1.png", mask)
    result = import_masks(tiles, ImportOptions(good=("MT_Free",)))
    (image,) = [i for i in result.images if i.path.parts[-3] == "MT_Crack"]
    assert image.boxes.tolist() == [[5, 5, 25, 15]]
    found = [(problem.reason, problem.value) for problem in image.problems]
    assert found == [("faint region", "MT_Crack, area 50")]
    kept = leave_out_partial(result)
    assert [problem.reason for problem in kept.left_out] == ["partial"]
    mask[5:15, 5:25] = weak  # alone the two are as strong as each other
    save_pixels(tiles / "MT_Crack/Imgs/1.png", mask)
    assert len(read(tiles)[0]["MT_Crack/Imgs/1.jpg"].boxes) == 2


def test_soft_edges_specks_and_compression_are_no_faint_regions(tiles):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30], mask[9:21, 30:34], mask[21, 34:40] = 255, 100, 90  # a tail, by its corner
    mask[30:38, 2:40:2] = 20
    save_pixels(tiles / "MT_Crack/Imgs/1.png", mask)
    assert read(tiles)[0]["MT_Crack/Imgs/1.jpg"].problems == ()
    mask[35, 50:54] = 80
    save_pixels(tiles / "MT_Crack/Imgs/1.png", mask)
    (problem,) = read(tiles)[0]["MT_Crack/Imgs/1.jpg"].problems
    assert (problem.reason, problem.value) == ("small region", "MT_Crack, area 4")
    mask = np.zeros((40, 60), np.uint8)
    cv2.ellipse(mask, (22, 17), (11, 5), 30, 0, 360, 255, -1)
    for quality in (20, 50, 75, 95):
        data = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        save_pixels(tiles / "MT_Crack/Imgs/1.png", cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
        found = read(tiles)[0]["MT_Crack/Imgs/1.jpg"]
        assert len(found.boxes) == 1 and {p.reason for p in found.problems} <= {"small region"}


def test_defect_folder_with_an_empty_mask_is_not_a_good_part(tiles):
    save_mask(tiles / "MT_Fray/Imgs/1.png")
    images, left_out = read(tiles, good=("MT_Free",))
    assert "MT_Fray/Imgs/1.jpg" not in images
    assert [problem.reason for problem in left_out] == ["empty mask"]
    # Without a good folder an empty mask is all that can tell a good part.
    images, left_out = read(tiles)
    assert images["MT_Fray/Imgs/1.jpg"].names == () and left_out == []


def test_good_folder_with_a_mask_that_marks_something_is_no_good_part(tiles):
    save_mask(tiles / "MT_Free/Imgs/1.png", (5, 5, 9, 8), (20, 20, 21, 21))  # stray pixels
    images, left_out = read(tiles, good=("MT_Free",))
    assert images["MT_Free/Imgs/1.jpg"].names == () and left_out == []
    assert images["MT_Free/Imgs/1.jpg"].problems == ()
    save_mask(tiles / "MT_Free/Imgs/1.png", (5, 5, 9, 9), (20, 20, 21, 21))
    for options in ({}, {"class_from": "value"}):
        images, (problem,) = read(tiles, good=("MT_Free",), **options)
        assert set(images) == {"MT_Crack/Imgs/1.jpg", "MT_Fray/Imgs/1.jpg"}
        assert (problem.reason, problem.value) == ("marked good part", "1 region in its mask")
    images, left_out = read(tiles, good=("MT_Free",), class_from="value", values={"7": "pit"})
    assert images["MT_Free/Imgs/1.jpg"].names == ()  # 255 is no defect here
    assert {problem.reason for problem in left_out} == {"empty mask"}


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("colour", [0, 255])
def test_mask_that_is_in_its_alpha_alone_is_left_out(tiles, channels, colour):
    alpha = np.zeros((40, 60), np.uint8)
    alpha[5:15, 5:25] = 255
    for name in ("MT_Crack", "MT_Free"):
        pixels = np.dstack([np.full_like(alpha, colour)] * (channels - 1) + [alpha])
        Image.fromarray(pixels).save(tiles / f"{name}/Imgs/1.png")
    images, left_out = read(tiles, good=("MT_Free",))
    assert set(images) == {"MT_Fray/Imgs/1.jpg"}
    assert [problem.reason for problem in left_out] == ["mask in alpha"] * 2
    pixels = np.dstack([alpha] * 3 + [np.full_like(alpha, 9)])  # alpha of one value says nothing
    save_pixels(tiles / "MT_Crack/Imgs/1.png", pixels)
    assert read(tiles)[0]["MT_Crack/Imgs/1.jpg"].boxes.tolist() == [[5, 5, 25, 15]]


def test_good_folder_needs_no_masks_others_do(tiles):
    (tiles / "MT_Free/Imgs/1.png").unlink()
    (tiles / "MT_Fray/Imgs/1.png").unlink()
    images, left_out = read(tiles, good=("MT_Free",))
    assert set(images) == {"MT_Free/Imgs/1.jpg", "MT_Crack/Imgs/1.jpg"}
    assert [problem.reason for problem in left_out] == ["no mask"]


def test_masks_in_a_folder_of_their_own(tmp_path):
    # As MVTec AD: the same numbers in every class, PNG on both sides.
    save_image(tmp_path / "test/broken/000.png")
    save_image(tmp_path / "test/bent/000.png")
    save_image(tmp_path / "test/good/000.png")
    save_mask(tmp_path / "ground_truth/broken/000_mask.png", (1, 1, 9, 9))
    save_mask(tmp_path / "ground_truth/bent/000_mask.png", (20, 20, 40, 30))
    images, left_out = read(tmp_path, good=("good",))
    assert left_out == []
    assert {name: image.names for name, image in images.items()} == {
        "test/broken/000.png": ("broken",),
        "test/bent/000.png": ("bent",),
        "test/good/000.png": (),
    }
    assert images["test/bent/000.png"].boxes.tolist() == [[20, 20, 40, 30]]
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
    found = {image.path.relative_to(tmp_path).as_posix(): image for image in result.images}
    assert found["photos/pit/1.jpg"].names == ("pit",)
    assert found["photos/scratch/1.jpg"].boxes.tolist() == [[20, 20, 40, 30]]
    assert [(p.reason, p.file.parent.name) for p in result.left_out] == [("no mask", "free")]
    good = import_masks(tmp_path / "drawn", replace(options, good=("free",)))
    assert len(good.images) == 3 and good.left_out == []
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
    (found,) = import_masks(tmp_path / source, options).images
    assert found.path == image and found.boxes.tolist() == [[1, 1, 9, 9]]


def test_flat_folders_take_the_given_class(tmp_path):
    save_image(tmp_path / "images/a.b 1.png")
    save_mask(tmp_path / "masks/a.b 1.png", (1, 1, 9, 9))
    assert read(tmp_path)[0]["images/a.b 1.png"].names == ("defect",)
    assert read(tmp_path, class_name="dent")[0]["images/a.b 1.png"].names == ("dent",)


def test_mask_of_another_size_leaves_the_image_out(tiles):
    save_mask(tiles / "MT_Fray/Imgs/1.png", (1, 1, 9, 9), size=(20, 30))
    assert [problem.reason for problem in read(tiles)[1]] == ["size"]


def test_wrong_good_folder_and_no_masks_are_errors(tiles):
    with pytest.raises(DataError, match=r"'free' is not a folder.*MT_Free"):
        read(tiles, good=("free",))
    assert len(read(tiles, good=("mt_FREE",))[0]) == 3
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
    save_mask(tmp_path / "masks/good-004.png")
    images, left_out = read(tmp_path, class_from="name", good=("good",))
    assert {name: image.names for name, image in images.items()} == {
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
    image = read(folder, class_from="value")[0]["images/a.jpg"]
    boxes = [[5, 5, 15, 15], [5, 15, 15, 25], [30, 30, 35, 35]]
    assert image.boxes.tolist() == boxes
    assert image.names == ("1", "2", "255")
    named = {"1": "pit", "2": "crack"}  # 255 is the border that is left open
    image = read(folder, class_from="value", values=named)[0]["images/a.jpg"]
    assert (image.boxes.tolist(), image.names) == (boxes[:2], ("pit", "crack"))
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
    image = read(folder, class_from="value", values={"#ff0000": "pit", "#0080ff": "crack"})[0]
    assert sorted(image["images/a.jpg"].names) == ["crack", "pit"]


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
