from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.curation.formats.voc import import_voc
from kdlnet.errors import DataError
from kdlnet.verbs.convert import convert

from ...support.layouts import save_image, save_xml


def read(source, **options):
    result = import_voc(source, ImportOptions(**options))
    return {image.path.name: image for image in result.images}, result.left_out


def test_first_pixel_is_number_one(voc):
    images, left_out = read(voc)
    # 1..60 of 60 pixels is the whole image; 11..20 covers ten pixels from edge 10 to edge 20.
    np.testing.assert_array_equal(images["a.jpg"].boxes, [[0, 0, 60, 40], [10, 20, 20, 30]])
    assert images["a.jpg"].names == ("dent", "crack")
    assert images["a.jpg"].size == (40, 60)
    assert left_out == []


def test_a_zero_anywhere_means_edges_counted_from_zero(voc):
    save_xml(voc / "ANNOTATIONS/b.xml", [("crack", 0, 5, 8, 9)])
    images, _ = read(voc)
    np.testing.assert_array_equal(images["b.jpg"].boxes, [[0, 5, 8, 9]])
    np.testing.assert_array_equal(images["a.jpg"].boxes[1], [11, 21, 20, 30])
    assert images["a.jpg"].problems == ()


def test_which_origin_was_taken_is_told(voc, tmp_path):
    def told(name, **options):
        report = convert("voc", voc, tmp_path / name, options=ImportOptions(**options))
        origin = json.loads((tmp_path / name / "report.json").read_text())["origin"]
        return (*origin.values(),), report.warnings

    assert told("none") == ((1, "auto", 0, 2), ())
    save_xml(voc / "ANNOTATIONS/b.xml", [("crack", 0, 5, 8, 9)])
    found, (line,) = told("one")
    assert found == (0, "auto", 1, 2)
    assert "1 of 2 files with boxes hold a 0, first 'b.xml'" in line and "--origin 1" in line
    assert told("given", origin="1") == ((1, "option", 1, 2), ())
    save_xml(voc / "ANNOTATIONS/a.xml", [("crack", 5, 0, 8, 9)])
    assert told("most") == ((0, "auto", 2, 2), ())


def test_origin_can_be_given(voc):
    np.testing.assert_array_equal(read(voc, origin="0")[0]["b.jpg"].boxes, [[5, 5, 8, 9]])
    save_xml(voc / "ANNOTATIONS/b.xml", [("crack", 0, 5, 8, 9)])
    images, _ = read(voc, origin="1")
    np.testing.assert_array_equal(images["b.jpg"].boxes, [[0, 4, 8, 9]])
    assert [problem.reason for problem in images["b.jpg"].problems] == ["clipped"]


def test_image_without_annotation_is_a_good_part_and_the_reverse_is_told(voc):
    save_xml(voc / "ANNOTATIONS/lost.xml", [("dent", 1, 1, 5, 5)])
    images, left_out = read(voc)
    assert images["c.jpg"].boxes.shape == (0, 4)
    assert [(problem.reason, problem.file.name) for problem in left_out] == [
        ("no image", "lost.xml")
    ]


def test_faulty_objects_are_dropped_with_their_number(voc):
    rows = [
        ("dent", 5, 5, 9, 9),
        ("dent", 5, 5, 9, 9),
        ("dent", 20, 5, 9, 9),
        ("dent", 70, 5, 90, 9),
        ("dent", "nan", 5, 9, 9),
        ("", 5, 5, 9, 9),
        ("dent", "", 5, 9, 9),
        ("dent", 50, 30, 70, 45),
        ("dent", 10, 5, 9, 9),
    ]
    save_xml(voc / "ANNOTATIONS/a.xml", rows)
    image = read(voc)[0]["a.jpg"]
    found = {problem.line: problem.reason for problem in image.problems}
    assert found == {
        2: "duplicate",
        3: "swapped corners",
        4: "outside",
        5: "nan",
        6: "incomplete",
        7: "incomplete",
        8: "clipped",
        9: "degenerate",  # from edge 9 to edge 9
    }
    # 20 to 9 is 9 to 20: pixel 9 starts at edge 8.
    np.testing.assert_array_equal(image.boxes, [[4, 4, 9, 9], [8, 4, 20, 9], [49, 29, 60, 40]])


def test_same_stem_in_two_folders_goes_by_the_folder(tmp_path):
    for folder in ("short", "open"):
        save_image(tmp_path / f"images/{folder}/01.png")
        save_xml(tmp_path / f"Annotations/{folder}/01.xml", [(folder, 2, 2, 9, 9)])
    for image in import_voc(tmp_path, ImportOptions()).images:
        assert image.names == (image.path.parent.name,)


def test_one_annotation_serves_one_image(tmp_path):
    for name in ("a/1", "b/1", "a/2", "b/2", "a/3", "b/3", "a/4", "b/4"):
        save_image(tmp_path / f"images/{name}.png")
    save_xml(tmp_path / "xml/a/1.xml", [("dent", 1, 1, 9, 5)])
    for number, field in ((2, "<path>D:\\b\\2.png</path>"), (3, "<folder>a</folder>"), (4, "")):
        file = save_xml(tmp_path / f"xml/{number}.xml", [("dent", 1, 1, 9, 5)])
        text = f"<annotation>{field}<filename>{number}.png</filename>"
        file.write_text(file.read_text().replace("<annotation>", text))
    report = convert("voc", tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    assert report.splits["train"].classes == {"dent": 3}
    # b/1 is a good part: xml/a is the folder of images/a.
    assert report.splits["train"].images == 4 and report.splits["train"].good == 1
    assert report.left_out == {"ambiguous": 3, "not listed": 2}
    files = [Path(file).relative_to(tmp_path) for file in report.left_out_files["ambiguous"]]
    assert list(map(str, files)) == ["images/a/4.png", "images/b/4.png", "xml/4.xml"]


def test_nothing_but_doubt_says_so(tmp_path):
    for folder in ("a", "b"):
        save_image(tmp_path / f"set/images/{folder}/1.png")
    save_xml(tmp_path / "set/xml/1.xml", [("dent", 1, 1, 9, 5)])
    with pytest.raises(DataError, match=r"no boxes .*left out 3 files, first .*1\.png: ambiguous"):
        convert("voc", tmp_path / "set", tmp_path / "out")


def test_masks_of_the_challenge_are_no_images_of_their_own(tmp_path):
    save_image(tmp_path / "JPEGImages/1.jpg")
    save_image(tmp_path / "SegmentationClass/1.png")
    file = save_xml(tmp_path / "Annotations/1.xml", [("dent", 1, 1, 9, 5)])
    name = "<annotation><folder>VOC</folder><filename>1.jpg</filename>"
    file.write_text(file.read_text().replace("<annotation>", name))
    images, left_out = read(tmp_path)
    assert set(images) == {"1.jpg"}
    assert [(p.reason, p.file.name) for p in left_out] == [("not listed", "1.png")]


def test_names_may_differ_in_case_and_unicode_form(tmp_path):
    pairs = [("plain", "plain"), ("pru\u0308f", "pr\u00fcf"), ("IMG_1", "img_1")]
    for number, (image, annotation) in enumerate(pairs, start=5):
        save_image(tmp_path / f"images/{image}.png")
        save_xml(tmp_path / f"Annotations/{annotation}.xml", [("dent", 1, 1, 9, number)])
    images, left_out = read(tmp_path)
    found = {name: image.boxes[:, 3].tolist() for name, image in images.items()}
    assert found == {"plain.png": [5], "pru\u0308f.png": [6], "IMG_1.png": [7]}
    assert left_out == []


def test_the_exact_name_is_preferred_and_what_two_names_fit_is_left_out(tmp_path):
    for name in ("IMG_1.png", "img_1.png", "IMG_2.png", "img_2.png", "IMG_3.png", "Img_3.png"):
        save_image(tmp_path / name)
    for number, name in enumerate(("img_1", "IMG_2", "img_2", "img_3"), start=5):
        save_xml(tmp_path / f"{name}.xml", [("dent", 1, 1, 9, number)])
    images, left_out = read(tmp_path)
    found = {name: image.boxes[:, 3].tolist() for name, image in images.items()}
    assert found == {"img_1.png": [5], "IMG_1.png": [], "IMG_2.png": [6], "img_2.png": [7]}
    assert [(problem.reason, problem.file.name) for problem in left_out] == [
        ("ambiguous", "IMG_3.png"),
        ("ambiguous", "Img_3.png"),
        ("ambiguous", "img_3.xml"),
    ]


def test_undecidable_annotation_is_an_error(tmp_path):
    save_image(tmp_path / "images/01.png")
    for folder in ("first", "second"):
        save_xml(tmp_path / f"xml/{folder}/01.xml", [("dent", 2, 2, 9, 9)])
    with pytest.raises(DataError, match=r"fits two annotations.*01\.xml"):
        import_voc(tmp_path, ImportOptions())


def test_annotation_for_another_size_leaves_the_image_out(voc):
    # As after an EXIF rotation or a resize: the boxes would be misplaced.
    save_xml(voc / "ANNOTATIONS/a.xml", [("dent", 1, 1, 9, 9)], size=(60, 40))
    save_xml(voc / "ANNOTATIONS/b.xml", [("dent", 1, 1, 9, 9)], size=None)
    images, left_out = read(voc)
    assert set(images) == {"b.jpg", "c.jpg"}
    assert left_out[0].reason == "size" and "40x60" in left_out[0].value


def test_size_field_that_the_boxes_contradict_is_wrong_itself(voc):
    # Written as 40x60, but the box reaches 55 of 60 pixels to the right: the field is turned.
    save_xml(voc / "ANNOTATIONS/a.xml", [("dent", 1, 1, 55, 9)], size=(60, 40))
    image = read(voc)[0]["a.jpg"]
    assert image.boxes.tolist() == [[0, 0, 55, 9]]
    assert [(p.reason, p.action) for p in image.problems] == [("size field", "repaired")]
    # It fits neither size: nothing says which one is right.
    save_xml(voc / "ANNOTATIONS/a.xml", [("dent", 1, 1, 65, 9)], size=(60, 40))
    assert [problem.reason for problem in read(voc)[1]] == ["size"]


def test_fractions_of_pixels_are_kept(voc):
    save_xml(voc / "ANNOTATIONS/a.xml", [("dent", 1.25, 5, 9.5, 9)])
    assert read(voc)[0]["a.jpg"].boxes.tolist() == [[0.25, 4, 9.5, 9]]


def test_lists_give_the_splits_and_a_class_file_the_order(voc):
    lists = voc / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "dent_train.txt").write_text("a -1\n")  # the challenge's lists of one class
    (voc / "classes.txt").write_text("dent\ncrack\nhole\n")
    result = import_voc(voc, ImportOptions())
    assert {r.path.name: r.split for r in result.images} == {
        "a.jpg": "train",
        "b.jpg": "val",
        "c.jpg": "",
    }
    assert result.names == ("dent", "crack", "hole")
    (voc / "classes.txt").write_text("dent\n")  # not this set's
    assert import_voc(voc, ImportOptions()).names == ()


def test_unreadable_image_is_left_out(voc):
    (voc / "IMAGES/a.jpg").write_bytes(b"")
    images, left_out = read(voc)
    assert "a.jpg" not in images
    assert left_out[0].reason == "unreadable"


def test_broken_xml_leaves_its_image_out_and_no_xml_is_an_error(voc):
    (voc / "ANNOTATIONS/a.xml").write_text("<annotation>")
    images, left_out = read(voc)
    assert set(images) == {"b.jpg", "c.jpg"}  # not a good part: its boxes are not known
    assert (left_out[0].reason, left_out[0].file.name) == ("unreadable", "a.xml")
    with pytest.raises(DataError, match=r"no \.xml"):
        read(voc / "IMAGES")


def test_size_is_that_after_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    save_xml(tmp_path / "a.xml", [("dent", 1, 41, 40, 60)], size=(60, 40))
    (image,) = import_voc(tmp_path, ImportOptions()).images
    assert image.size == (60, 40)
    np.testing.assert_array_equal(image.boxes, [[0, 40, 40, 60]])
