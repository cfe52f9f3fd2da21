from __future__ import annotations

import json
import os
from collections import Counter

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


def test_an_image_whose_label_file_has_rows_is_no_good_part(tmp_path):
    for name in ("a", "b", "c"):
        save_image(tmp_path / f"set/images/{name}.jpg")
    (tmp_path / "set/labels").mkdir()
    (tmp_path / "set/labels/b.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "set/labels/c.txt").write_text("")
    save_labelme(tmp_path / "mended/a.json", [("dent", "rectangle", [[5, 6], [8, 9]])])
    images, left_out = read(tmp_path / "mended", images=tmp_path / "set/images")
    assert sorted(images) == ["a.jpg", "c.jpg"]
    assert [(one.file.name, one.reason) for one in left_out] == [("b.jpg", "labelled in .txt")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("__ignore__\n_background_\npit\ndent\na crack\n", ("pit", "dent", "a crack")),
        ("\ufeffpit\r\n\r\n dent \r\na crack", ("pit", "dent", "a crack")),
        ("labels/a.json\nlabels/b.json\n", ()),  # another one's text
        ("Our classes\ndent\n- a crack\n", ()),
    ],
)
def test_classes_come_in_the_order_of_labels_txt(parts, text, names):
    box = "rectangle", [[5, 6], [8, 9]]
    save_labelme(parts / "a.json", [("dent", *box), ("a crack", *box)])
    (parts / "labels.txt").write_text(text, encoding="utf-8", newline="")
    assert import_labelme(parts, ImportOptions()).names == names


def test_a_suggestion_is_no_label(parts):
    shapes = [("? dent", "rectangle", [[5, 6], [8, 9]]), ("pit", "rectangle", [[1, 1], [4, 4]])]
    save_labelme(parts / "a.json", shapes)
    images, _ = read(parts)
    assert images["a.jpg"].names == ("pit",)
    assert [one.reason for one in images["a.jpg"].problems] == ["suggestion not decided"]


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


def save_renumbered(images, files):
    """Three files with the names their images had before all were renumbered; the last is good."""
    for number in range(1, 5):
        save_image(images / f"{number}.jpg")
    for number in range(1, 4):
        box = ("dent", "rectangle", [[10 * number, 6], [10 * number + 5, 9]])
        path = os.path.relpath(images / f"{number + 1}.jpg", files)
        save_labelme(files / f"{number}.json", [box], imagePath=path)


def test_a_file_beside_the_image_of_its_name_belongs_to_it_whatever_it_names(tmp_path):
    save_renumbered(tmp_path, tmp_path)
    result = import_labelme(tmp_path, ImportOptions())
    lefts = {image.path.name: image.boxes[:, 0].tolist() for image in result.images}
    assert lefts == {"1.jpg": [10], "2.jpg": [20], "3.jpg": [30]}
    # 4.jpg is named in 3.json: with the boxes of another it is no good part.
    assert [(p.file.name, p.reason) for p in result.left_out] == [("4.jpg", "unsure")]
    (line,) = result.warnings
    assert "3 of 3 LabelMe files" in line and "first '1.json' with '2.jpg'" in line


def test_a_file_in_another_folder_than_its_images_that_fits_two_leaves_both_out(tmp_path):
    save_renumbered(tmp_path / "images", tmp_path / "json")
    images, left_out = read(tmp_path)
    assert images == {}
    found = Counter((p.reason, p.file.suffix) for p in left_out)
    assert found == {("ambiguous", ".json"): 3, ("unsure", ".jpg"): 4}


def test_a_mask_beside_a_file_is_not_its_image_where_that_is_named(tmp_path):
    save_image(tmp_path / "images/a.jpg")
    save_image(tmp_path / "json/a.png")
    box = ("dent", "rectangle", [[5, 6], [8, 9]])
    save_labelme(tmp_path / "json/a.json", [box], imagePath="..\\images\\a.jpg")
    result = import_labelme(tmp_path, ImportOptions())
    assert {image.path.name: len(image.boxes) for image in result.images} == {"a.jpg": 1}
    assert [(p.file.name, p.reason) for p in result.left_out] == [("a.png", "unsure")]
    assert result.warnings == ()


def test_of_two_images_of_one_name_the_file_has_the_one_it_names(parts):
    save_image(parts / "a.png")
    save_labelme(parts / "a.json", [("dent", "rectangle", [[5, 6], [8, 9]])], imagePath="a.png")
    images, left_out = read(parts)
    assert len(images["a.png"].boxes) == 1
    # The same photograph as another kind of file, most likely: no good part.
    assert [(p.file.name, p.reason) for p in left_out] == [("a.jpg", "unsure")]
    save_labelme(parts / "a.json", [], imagePath="b.jpg")
    images, left_out = read(parts)
    assert images == {}
    assert [(p.file.name, p.reason) for p in left_out] == [
        ("a.json", "ambiguous"),
        ("a.jpg", "unsure"),
        ("a.png", "unsure"),
        ("b.jpg", "unsure"),
    ]


def test_images_that_an_ambiguous_file_may_speak_of_are_no_good_parts(tmp_path):
    for folder in ("1", "2"):
        save_image(tmp_path / "images" / folder / "a.jpg")
    save_image(tmp_path / "images/b.jpg")
    box = ("dent", "rectangle", [[5, 6], [8, 9]])
    save_labelme(tmp_path / "json/a.json", [box], imagePath="D:\\x\\a.jpg")
    images, left_out = read(tmp_path)
    assert set(images) == {"b.jpg"}
    assert [p.reason for p in left_out] == ["ambiguous", "unsure", "unsure"]


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


def test_files_in_another_encoding_are_told_as_such(parts):
    save_labelme(parts / "a.json", [("dent", "rectangle", [[5, 6], [8, 9]])])
    text = (parts / "a.json").read_text().replace("dent", "\u88c2\u7eb9")
    (parts / "a.json").write_bytes(text.encode("gbk"))
    words = r"1 file left out, first .*a\.json: unreadable: 'it is not UTF-8 .*: save it as UTF-8"
    with pytest.raises(DataError, match=words):
        read(parts)
    (parts / "a.json").write_bytes(text.encode("utf-16"))  # JSON tells it from UTF-8 by itself
    assert read(parts)[0]["a.jpg"].names == ("\u88c2\u7eb9",)
