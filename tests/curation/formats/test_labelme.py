from __future__ import annotations

import json

import pytest

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.labelme import import_labelme
from kdlnet.errors import DataError

from ...support.layouts import save_image


def save_labelme(file, shapes, **content):
    """``shapes`` are (label, type, points) or whole dicts."""
    found = [
        shape
        if isinstance(shape, dict)
        else dict(zip(("label", "shape_type", "points"), shape, strict=True))
        for shape in shapes
    ]
    values = {"imagePath": f"{file.stem}.jpg", "imageHeight": 40, "imageWidth": 60} | content
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"version": "5.4", "shapes": found, **values}), encoding="utf-8")


def read(source, **options):
    result = import_labelme(source, ImportOptions(**options))
    return {image.path.name: image for image in result.images}, result.left_out


@pytest.fixture
def parts(tmp_path):
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.jpg")
    return tmp_path


def test_shapes_become_the_boxes_around_them(parts):
    shapes = [
        ("dent", "rectangle", [[25, 30], [5, 6]]),  # drawn from the lower right
        ("dent", "polygon", [[5, 6], [10.5, 6], [7, 30]]),
        ("dent", "circle", [[20, 20], [23, 24]]),  # radius 5
        ("dent", "mask", [[2, 3], [4, 5]]),  # first and last pixel
        ("dent", "rotation", [[10, 5], [15, 10], [10, 15], [5, 10]]),
        {"label": "old", "points": [[1, 1], [3, 1], [3, 4]]},  # before shape_type: a polygon
    ]
    save_labelme(parts / "a.json", shapes, imageData="aGVsbG8=")
    image = read(parts)[0]["a.jpg"]
    assert image.boxes.tolist() == [
        [5, 6, 25, 30],
        [5, 6, 10.5, 30],
        [15, 15, 25, 25],
        [2, 3, 5, 6],
        [5, 5, 15, 15],
        [1, 1, 3, 4],
    ]
    assert image.converted == ("polygon", "circle", "mask", "rotated box", "polygon")
    assert image.problems == ()
    drawn = [outline is not None for outline in image.outlines]
    assert drawn == [False, True, False, False, False, True]
    assert image.outlines[1].tolist() == [[5, 6], [10.5, 6], [7, 30]]


def test_an_outline_outside_of_the_image_leaves_the_box_alone(parts):
    bend = [[-9, -9], [20, -9], [20, -4], [-4, -4], [-4, 20], [-9, 20]]
    save_labelme(parts / "a.json", [("dent", "polygon", bend)])
    image = read(parts)[0]["a.jpg"]
    assert image.boxes.tolist() == [[0, 0, 20, 20]] and image.outlines == (None,)


def test_what_is_no_box_is_dropped_with_its_number(parts):
    shapes = [
        ("dent", "point", [[5, 6]]),
        ("dent", "line", [[5, 6], [5, 6]]),
        ("dent", "linestrip", [[5, 6]]),
        ("dent", "rectangle", [[5, 6], [5, 9]]),
        ("dent", "rectangle", [[65, 6], [70, 9]]),
        ("", "rectangle", [[5, 6], [8, 9]]),
        ("dent", "rectangle", [[5], [8, 9]]),
        ("dent", "rectangle", None),
        ("dent", "circle", [[5, 6]]),
        ("dent", "rectangle", [[-5, 6], [8, 9]]),
        {},
        ("dent", "polygon", [[1, 6], [8, float("nan")], [5, 9]]),
    ]
    save_labelme(parts / "a.json", [*shapes, {"label": "dent"}, {"label": "x", "points": []}])
    image = read(parts)[0]["a.jpg"]
    found = {p.line: p.reason for p in image.problems}
    assert found == {
        1: "point",
        2: "point",
        3: "point",
        4: "degenerate",
        5: "outside",
        10: "clipped",
        12: "nan",
        **dict.fromkeys((6, 7, 8, 9, 11, 13, 14), "incomplete"),
    }
    assert image.boxes.tolist() == [[0, 6, 8, 9]]


def test_image_without_a_file_is_a_good_part_and_told(parts):
    save_labelme(parts / "a.json", [("dent", "rectangle", [[5, 6], [8, 9]])])
    images, left_out = read(parts)
    assert images["b.jpg"].names == () and left_out == []
    assert images["b.jpg"].converted == ("no annotation: good part",)
    save_labelme(parts / "b.json", [])
    assert read(parts)[0]["b.jpg"].converted == ()


def test_images_are_found_by_path_or_beside_the_file(tmp_path):
    save_image(tmp_path / "images/a.jpg")
    save_image(tmp_path / "both/c.JPG")
    box = ("dent", "rectangle", [[5, 6], [8, 9]])
    save_labelme(tmp_path / "json/1.json", [box], imagePath="..\\images\\a.jpg")
    save_labelme(tmp_path / "both/c.json", [box], imagePath="D:\\x\\y.jpg")
    save_labelme(tmp_path / "lost.json", [box], imageData="aGVsbG8=")
    images, left_out = read(tmp_path)
    assert {name: len(image.boxes) for name, image in images.items()} == {"a.jpg": 1, "c.JPG": 1}
    assert [(p.reason, p.file.name) for p in left_out] == [("only embedded", "lost.json")]


def test_broken_file_leaves_its_image_out(parts):
    save_labelme(parts / "a.json", [("dent", "rectangle", [[5, 6], [8, 9]])])
    (parts / "b.json").write_text('{"shapes": [')
    images, left_out = read(parts)
    assert set(images) == {"a.jpg"}  # whether b is good is not known
    assert [(p.reason, p.file.name) for p in left_out] == [("unreadable", "b.json")]


def test_no_labelme_file_and_two_for_an_image_are_errors(parts):
    (parts / "coco.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="no LabelMe file"):
        read(parts)
    save_labelme(parts / "a.json", [])
    save_labelme(parts / "again.json", [], imagePath="a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg' is annotated in .*a\.json' and .*again\.json"):
        read(parts)
