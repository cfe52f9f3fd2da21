from __future__ import annotations

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest

from kdlnet.curation.synth.image import CLASSES, draw_image
from kdlnet.curation.synth.onto import SHAPES
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import load_split
from kdlnet.data.joined import find_datasets
from kdlnet.data.labels import read_labels
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.events import Message
from kdlnet.images.read import read_image
from kdlnet.verbs.synth import synthesize, synthesize_onto

from ..support.layouts import save_image, save_mask


def digest(folder):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(f.relative_to(folder)): hashlib.sha1(f.read_bytes()).digest() for f in files}


@pytest.mark.parametrize("train", ["images", "images/**/*.png"])
@pytest.mark.parametrize("out", ["images", "images/line/drawn"])
def test_nothing_is_drawn_among_the_images_of_another_dataset(tmp_path, train, out):
    """Beside them it is: only what the dataset reads is its own."""
    (tmp_path / "data.yaml").write_text(f"train: {train}\nnames: [scratch]\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "images")
    save_image(tmp_path / "good/a.png", 110, 130)
    for folder in (tmp_path / out, tmp_path / out.replace("images", "other") / "x"):
        with pytest.raises(DataError, match=r"is among the images of '.*data\.yaml'"):
            synthesize(folder, count=2, image_size=(96, 96))
        with pytest.raises(DataError, match=r"is among the images of '.*data\.yaml'"):
            synthesize_onto(str(tmp_path / "good"), folder)
    assert not any((tmp_path / "images").iterdir())
    assert synthesize(tmp_path / "drawn", count=2, image_size=(96, 96)).images == 2


def test_folder_is_the_same_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        synthesize(tmp_path / name, count=6, image_size=(96, 128), seed=5)
    first, second = digest(tmp_path / "a"), digest(tmp_path / "b")
    # The report names its folder, and the list of files holds its digest; all else is equal.
    for name in ("report.json", ".kdlnet-dataset"):
        assert first.pop(name) != second.pop(name)
    assert first == second
    synthesize(tmp_path / "c", count=6, image_size=(96, 128), seed=6)
    assert digest(tmp_path / "c")["images/000000.png"] != first["images/000000.png"]


def test_folder_is_a_dataset(tmp_path):
    report = synthesize(tmp_path / "synth", count=10, image_size=(96, 160), val_share=0.3)
    info = find_dataset("synth", tmp_path)
    assert info.names == CLASSES
    images = list_images(info, "train")
    assert (len(images), len(list_images(info, "val"))) == (7, 3)
    assert read_image(images[2]).shape == (96, 160, 1)
    expected = draw_image(0, 2, (96, 160))
    labels, problems = read_labels(label_path(images[2]), 4)
    assert problems == []
    np.testing.assert_allclose(labels.boxes * [160, 96, 160, 96], expected.boxes, atol=1e-4)
    assert report.images == 10 and set(report.splits) == {"train", "val"}
    assert report.boxes == sum(len(draw_image(0, i, (96, 160)).boxes) for i in range(10))
    with pytest.raises(DataError, match="not empty"):
        synthesize(tmp_path / "synth", count=10)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": ["pits"]}, "did you mean 'pit'"),
        ({"classes": []}, "once"),
        ({"classes": ["pit", "pit"]}, "once"),
        ({"count": 0}, "count 0"),
        ({"count": 1}, "none to train on"),
        ({"seed": -1}, "seed -1"),
        ({"image_size": (64, 256)}, "at least 96"),
        ({"val_share": 1.0}, "below 1"),
        ({"good_share": 1.5}, "from 0 to 1"),
    ],
)
def test_wrong_values_get_one_line(tmp_path, values, words):
    with pytest.raises(DataError, match=words):
        synthesize(tmp_path / "out", **values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("contrast", [0.0, -1.0, 11.0, float("nan")])
def test_contrast_out_of_range(tmp_path, contrast):
    with pytest.raises(DataError, match=r"contrast .*: above 0 and at most 10"):
        synthesize(tmp_path / "set", count=4, contrast=contrast)


@pytest.fixture
def good_parts(tmp_path):
    """A dataset of six colour images, every second of which shows a defect."""
    folder = tmp_path / "parts"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for n in range(6):
        cv2.imwrite(str(folder / "images" / f"{n}.png"), np.full((110, 130, 3), 40 * n, np.uint8))
        if n % 2:
            (folder / "labels" / f"{n}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [tear]\n")
    return folder


def test_drawn_on_the_good_parts_of_a_dataset_and_trained_with_it(good_parts, tmp_path):
    before = digest(good_parts)
    out = tmp_path / "drawn"
    shapes = {"crack": "tear", "hole": "pore"}
    report = synthesize_onto(str(good_parts), out, shapes=shapes, count=5)
    assert (
        report.names == ("tear", "pore") and report.images == 5 and set(report.splits) == {"train"}
    )
    images = list_images(find_dataset(str(out)), "train")
    # Parts 0, 2 and 4 in turn: the level of the background tells which it was.
    assert [int(np.median(read_image(image))) for image in images] == [0, 80, 160, 0, 80]
    assert {read_image(image).shape for image in images} == {(110, 130, 3)}
    rows = [read_labels(label_path(image), 2)[0] for image in images]
    assert sum(len(row.labels) for row in rows) == report.boxes >= 5
    joined = find_datasets([str(good_parts), str(out)])
    assert joined.names == ("tear", "pore")
    assert len(list_images(joined, "train")) == 11 and len(list_images(joined, "val")) == 6
    assert len(load_split(joined, "val").paths) == 6
    assert digest(good_parts) == before


def test_drawn_on_a_folder_of_images_by_the_names_of_the_shapes(good_parts, tmp_path):
    """Those with defects in the label files beside them are no good parts here, either."""
    told = []
    (good_parts / "images" / "phone.heic").touch()
    report = synthesize_onto(str(good_parts / "images"), tmp_path / "drawn", on_event=told.append)
    assert report.names == tuple(SHAPES) and report.images == 3
    unread, marked = [event.text for event in told if isinstance(event, Message)]
    assert "1 .heic" in unread
    assert marked == "not drawn on 3 of 6 images: rows in their label files"
    (good_parts / "labels").rename(good_parts / "elsewhere")
    assert synthesize_onto(str(good_parts / "images"), tmp_path / "moved").images == 3
    shutil.rmtree(good_parts / "elsewhere")
    assert synthesize_onto(str(good_parts / "images"), tmp_path / "all").images == 6


def test_not_drawn_on_images_that_another_tool_labelled(good_parts, tmp_path):
    labelme = {"shapes": [{"label": "tear", "points": [[1, 2], [3, 4]]}]}
    (good_parts / "images" / "0.json").write_text(json.dumps(labelme))
    told = []
    report = synthesize_onto(str(good_parts / "images"), tmp_path / "drawn", on_event=told.append)
    assert report.images == 2
    _, line = [event.text for event in told if isinstance(event, Message)]
    assert line.startswith("not drawn on 1 of 6 images") and "kdlnet data convert labelme" in line


@pytest.mark.parametrize("place", ["images/coco.json", "annotations/instances_default.json"])
def test_not_drawn_on_images_that_a_file_of_a_whole_set_names(good_parts, tmp_path, place):
    shutil.rmtree(good_parts / "labels")
    images = [{"id": n, "file_name": f"default/{n}.png"} for n in range(4)]
    coco = {"images": images, "categories": [], "annotations": [{"image_id": 1}]}
    file = good_parts / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(coco))
    told = []
    report = synthesize_onto(str(good_parts / "images"), tmp_path / "drawn", on_event=told.append)
    assert report.images == 2
    (line,) = [event.text for event in told if isinstance(event, Message)]
    assert line.startswith("not drawn on 4 of 6 images") and "kdlnet data convert coco" in line
    for image in ("4.png", "5.png"):
        (good_parts / "images" / image).unlink()
    with pytest.raises(DataError, match=r"no good part to draw on: not drawn on 4 of 4 .*coco"):
        synthesize_onto(str(good_parts / "images"), tmp_path / "none")


@pytest.fixture
def tiles(tmp_path):
    """As magnetic tile is published: a mask beside each of six images, of which two mark."""
    for n in range(6):
        image = tmp_path / f"tiles/{'MT_Crack' if n < 2 else 'MT_Free'}/Imgs/{n}.jpg"
        save_image(image, 110, 130, 40 * n + 20)
        save_mask(image.with_suffix(".png"), *[(5, 5, 9, 7)] * (n < 2), size=(110, 130))
    return tmp_path / "tiles"


def test_not_drawn_on_masks_and_what_they_mark(tiles, tmp_path):
    told = []
    report = synthesize_onto(str(tiles), tmp_path / "drawn", on_event=told.append)
    assert report.images == 4
    masks, marked = [event.text for event in told if isinstance(event, Message)]
    assert masks == "not drawn on 6 masks of images: kdlnet data convert masks reads them"
    assert marked.startswith("not drawn on 2 of 6 images: their masks mark something: ")
    assert "kdlnet data convert masks" in marked
    images = list_images(find_dataset(str(tmp_path / "drawn")), "train")
    levels = [int(np.median(read_image(image))) for image in images]
    assert levels == pytest.approx([100, 140, 180, 220], abs=2)
    with pytest.raises(DataError, match=r"no good part to draw on: not drawn on 2 of 2 .*masks"):
        synthesize_onto(str(tiles / "MT_Crack"), tmp_path / "none")


@pytest.mark.parametrize("below", ["", "lot 1"])
def test_not_drawn_on_what_masks_beside_the_images_mark(tmp_path, below):
    for n in range(4):
        save_image(tmp_path / "set/images" / below / f"{n}.png", 110, 130)
    save_mask(tmp_path / "set/Masks" / below / "1_mask.png", (5, 5, 9, 7), size=(110, 130))
    save_mask(tmp_path / "set/Masks" / below / "2.png", size=(110, 130))
    (tmp_path / "set/Masks" / below / "3.png").write_bytes(b"no picture")
    alpha = np.zeros((110, 130, 4), np.uint8)
    alpha[5:20, 5:20, 3] = 255
    save_image(tmp_path / "set/images" / below / "4.png", 110, 130)
    cv2.imwrite(str(tmp_path / "set/Masks" / below / "4.png"), alpha)
    save_image(tmp_path / "set/images" / below / "5.png", 110, 130)  # two masks, both empty
    for name in ("5.png", "5_mask.png"):
        save_mask(tmp_path / "set/Masks" / below / name, size=(110, 130))
    told = []
    parts = str(tmp_path / "set/images" / below)
    report = synthesize_onto(parts, tmp_path / "drawn", on_event=told.append)
    assert report.images == 2
    (line,) = [event.text for event in told if isinstance(event, Message)]
    assert line.startswith("not drawn on 4 of 6 images: their masks mark something")


@pytest.mark.parametrize("place", ["set", "set/images"])
def test_masks_in_jpeg_mark_too(tmp_path, place):
    for n in range(3):
        save_image(tmp_path / f"set/images/{n}.jpg", 110, 130)
        save_image(tmp_path / f"set/masks/{n}.jpg", 110, 130, value=255 * (n == 1))
    told = []
    report = synthesize_onto(str(tmp_path / place), tmp_path / "drawn", on_event=told.append)
    assert report.images == 2
    lines = [event.text for event in told if isinstance(event, Message)]
    of = "3 images: their masks mark something"
    assert any(line.startswith(f"not drawn on 1 of {of}") for line in lines)


def test_parts_that_are_only_called_like_masks_are_drawn_on(tmp_path):
    for name in ("label/1.png", "label/2.png", "cap/1.png", "face_mask.png", "gt.png", "a.jpg"):
        save_image(tmp_path / "parts" / name, 110, 130)
    told = []
    report = synthesize_onto(str(tmp_path / "parts"), tmp_path / "drawn", on_event=told.append)
    assert report.images == 6
    assert not [event for event in told if isinstance(event, Message)]


def test_nothing_to_draw_on_or_with_is_one_line(good_parts, tmp_path):
    with pytest.raises(DataError, match="unknown shape 'crak'; did you mean 'crack'"):
        synthesize_onto(str(good_parts), tmp_path / "out", shapes={"crak": "tear"})
    with pytest.raises(DataError, match="seed -1: count is 1 or more, seed 0 or more"):
        synthesize_onto(str(good_parts), tmp_path / "out", seed=-1)
    for n in range(6):
        (good_parts / "labels" / f"{n}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match="no good part to draw on"):
        synthesize_onto(str(good_parts), tmp_path / "out")
    (good_parts / "labels" / "0.txt").unlink()
    with pytest.raises(DataError, match="lie inside each other"):
        synthesize_onto(str(good_parts / "images"), good_parts / "images" / "out")
    assert not (tmp_path / "out").exists()
