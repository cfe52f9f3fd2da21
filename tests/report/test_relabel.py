"""Suspicious labels for LabelMe: the importer reads them back, and no suggestion is a class."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.labelme import import_labelme
from kdlnet.metrics.suspects import Suspect, Suspects
from kdlnet.report.relabel import write_relabel
from kdlnet.verbs.val import validate

from ..support.layouts import save_image
from ..support.weights_file import make_file
from .pages.made import NAMES, made_images, made_subject


def test_labels_come_back_and_suggestions_wait_for_a_person(tmp_path):
    images = made_images(tmp_path / "images", 40)
    suspects = made_subject(images).result.analysis.suspects
    files = write_relabel(tmp_path / "out" / "suspicious", suspects, images, NAMES)
    assert len(files) == len({suspect.image for suspect in suspects.boxes})
    found = import_labelme(
        tmp_path / "out" / "suspicious", ImportOptions(images=tmp_path / "images")
    )
    by_name = {str(image.path): image for image in found.images}
    asked = dict.fromkeys(("unlabelled", "class", "unfound"), 0)
    for image in images:
        mine = [suspect for suspect in suspects.boxes if suspect.image == image.name]
        if not mine:
            continue
        for suspect in mine:
            asked[suspect.kind] += 1
        read = by_name[image.name]
        assert sorted(read.names) == sorted(NAMES[label] for label in image.truth_labels)
        undecided = [one.value for one in read.problems if one.reason == "suggestion not decided"]
        wanted = [f"? {suspect.found}" for suspect in mine if suspect.kind != "unfound"]
        assert sorted(value.partition(" rectangle")[0] for value in undecided) == sorted(wanted)
    assert asked["unlabelled"] and asked["unfound"]


def test_a_label_that_nothing_finds_is_marked_in_place(tmp_path):
    (image,) = made_images(tmp_path, 1, good=0)
    box = tuple(round(value, 2) for value in image.truth_boxes[0].tolist())
    suspect = Suspect("unfound", image.name, box, 0.01, NAMES[image.truth_labels[0]], None)
    (file,) = write_relabel(tmp_path / "s", Suspects({"unfound": 1}, (suspect,)), [image], NAMES)
    shapes = json.loads(file.read_text(encoding="utf-8"))["shapes"]
    assert len(shapes) == len(image.truth_boxes)
    assert [bool(shape["flags"]) for shape in shapes] == [True] + [False] * (len(shapes) - 1)
    assert "no model finds this label" in shapes[0]["description"]


def test_outlines_stay_polygons(tmp_path):
    (image,) = made_images(tmp_path, 1, good=0)
    x1, y1, x2, y2 = image.truth_boxes[0]
    corners = np.array([[x1, y1], [x2, y1], [x1, y2]])
    drawn = [corners, *[None] * (len(image.truth_boxes) - 1)]
    image = replace(image, truth_outlines=drawn)
    box = tuple(round(value, 2) for value in image.truth_boxes[0].tolist())
    suspect = Suspect("unfound", image.name, box, 0.01, NAMES[image.truth_labels[0]], None)
    write_relabel(tmp_path / "s", Suspects({"unfound": 1}, (suspect,)), [image], NAMES)
    (read,) = import_labelme(tmp_path / "s", ImportOptions(images=tmp_path)).images
    np.testing.assert_allclose(read.outlines[0], corners)
    assert list(read.outlines[1:]) == drawn[1:]
    np.testing.assert_allclose(read.boxes, image.truth_boxes)


def test_val_writes_the_outlines_of_the_dataset(tmp_path):
    save_image(tmp_path / "parts/images/a.png", 50, 100)
    (tmp_path / "parts/labels").mkdir()
    (tmp_path / "parts/labels/a.txt").write_text("0 0.1 0.1 0.3 0.1 0.1 0.5\n")
    (tmp_path / "parts/data.yaml").write_text("val: images\nnames: [square, disc]\n")
    weights, out = make_file(tmp_path / "busy.pt"), tmp_path / "val"
    validate(weights, data=str(tmp_path / "parts/data.yaml"), out=out, pictures=False)
    (file,) = (out / "suspicious").iterdir()
    label, *suggested = json.loads(file.read_text())["shapes"]
    assert label["shape_type"] == "polygon" and suggested
    np.testing.assert_allclose(sorted(label["points"]), [[10, 5], [10, 25], [30, 5]])


def test_one_name_in_two_folders(tmp_path):
    images = [*made_images(tmp_path / "a", 2, good=0), *made_images(tmp_path / "b", 2, good=0)]
    boxes = [
        Suspect("unlabelled", image.name, (1.0, 1.0, 5.0, 5.0), 0.9, None, "dent")
        for image in images
    ]
    files = write_relabel(tmp_path / "s", Suspects({"unlabelled": 4}, tuple(boxes)), images, NAMES)
    assert len(set(files)) == 4
    places = [json.loads(file.read_text(encoding="utf-8"))["imagePath"] for file in files]
    real = [(tmp_path / "s" / place).resolve() for place in places]
    assert real == [tmp_path.resolve() / image.name for image in images]
    assert np.all([file.is_file() for file in real])
