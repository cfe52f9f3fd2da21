"""Whatever a tool drew: it becomes the box around it, or its image is left out by name."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.errors import DataError
from kdlnet.verbs.convert import convert
from kdlnet.verbs.convert import read_source as read

from ..support.layouts import save_image, save_mask, save_xml

H, W = 40, 60


@pytest.fixture
def source(tmp_path):
    """Images a, b; b has a sure box in every format below, so that a set can be written."""
    for name in ("a", "b"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    return tmp_path / "set"


def boxes_of(source, format, **options):
    """What convert writes: boxes in pixels (rounded) by image, and the report."""
    out = source.parent / "out"
    report = convert(format, source, out, overwrite=True, **options)
    found = {}
    for image in sorted((out / "images").rglob("*.png")):
        rows = (out / "labels" / f"{image.stem}.txt").read_text().split("\n")[:-1]
        found[image.stem] = [_pixels(row) for row in rows]
    return found, report


def _pixels(row):
    if len(numbers := list(map(float, row.split()[1:]))) > 4:  # a polygon
        xs, ys = [x * W for x in numbers[::2]], [y * H for y in numbers[1::2]]
        return tuple(round(side, 2) for side in (min(xs), min(ys), max(xs), max(ys)))
    cx, cy, w, h = numbers
    sides = ((cx - w / 2) * W, (cy - h / 2) * H, (cx + w / 2) * W, (cy + h / 2) * H)
    return tuple(round(side, 2) for side in sides)


def labelme(source, *shapes, name="a", **content):
    values = {"imagePath": f"{name}.png", "imageHeight": H, "imageWidth": W} | content
    file = source / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"shapes": list(shapes), **values}))
    return file


def shape(kind, points, label="dent", **more):
    return {"label": label, "shape_type": kind, "points": points, **more}


def coco(source, *annotations, images=None, categories=None):
    listed = images or [
        {"id": number, "file_name": f"{name}.png", "height": H, "width": W}
        for number, name in enumerate("ab", start=1)
    ]
    content = {
        "images": listed,
        "categories": categories or [{"id": 1, "name": "dent"}],
        "annotations": [{"image_id": 1, "category_id": 1, **one} for one in annotations],
    }
    (source / "instances.json").write_text(json.dumps(content))


def cvat(source, body, size=f'width="{W}" height="{H}"'):
    (source / "annotations.xml").write_text(
        f'<annotations><image name="a.png" {size}>{body}</image>'
        f'<image name="b.png" {size}>{BOX}</image></annotations>'
    )


def table(source, *rows, head="image,class,x1,y1,x2,y2"):
    (source / "labels.csv").write_text("\n".join((head, *rows)))


BOX = '<box label="dent" xtl="1" ytl="2" xbr="9" ybr="8"/>'
SURE = {"bbox": [1, 2, 8, 6], "image_id": 2}


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("linestrip", [[10, 10], [30, 20], [50, 15]], (10, 10, 50, 20)),
        ("line", [[50, 5], [10, 25]], (10, 5, 50, 25)),
        ("line", [[10, 20], [50, 20]], (10, 19.5, 50, 20.5)),  # flat: the pixel it covers
        ("linestrip", [[30, 5], [30, 25]], (29.5, 5, 30.5, 25)),
        ("points", [[10, 10], [14, 18]], (10, 10, 14, 18)),
    ],
)
def test_lines_of_labelme_are_boxed(source, kind, points, box):
    labelme(source, shape(kind, points))
    assert boxes_of(source, "labelme")[0]["a"] == [box]


@pytest.mark.parametrize(
    "lost",
    [
        shape("point", [[10, 10]]),
        shape("line", [[10, 10], [10, 10]]),
        shape("rectangle", [[70, 5], [90, 9]]),  # outside
        shape("rectangle", [[5, 5], [5, 9]]),  # no area
        shape("rectangle", [[5, 5], [9, 9]], label=None),
        {"label": "dent"},
        shape("circle", [[5, 5]]),
        "dent",
    ],
)
def test_an_image_whose_shape_is_lost_is_no_good_part(source, lost):
    labelme(source, lost)
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="b")
    found, report = boxes_of(source, "labelme")
    assert set(found) == {"b"} and report.good == 0
    assert report.left_out == {"partial": 1} and sum(report.dropped.values()) == 1
    assert "--keep-partial" in report.examples[-1]
    found, report = boxes_of(source, "labelme", keep_partial=True)
    assert found["a"] == [] and report.good == 1


def test_one_lost_defect_is_enough_but_a_slip_of_the_hand_is_not(source):
    box = shape("rectangle", [[1, 2], [9, 8]])
    labelme(source, box, shape("point", [[20, 20]]))
    labelme(source, box, box, shape("rectangle", [[5, 5], [5, 5]]), name="b")
    found, report = boxes_of(source, "labelme")
    assert found == {"b": [(1, 2, 9, 8)]}
    assert report.left_out_files["partial"] == [str(source / "a.png")]
    assert boxes_of(source, "labelme", keep_partial=True)[0]["a"] == [(1, 2, 9, 8)]


@pytest.mark.parametrize(
    ("body", "box"),
    [
        ('<polyline label="dent" points="5,5;50,30"/>', (5, 5, 50, 30)),
        ('<points label="dent" points="5,5;9,12"/>', (5, 5, 9, 12)),
        (
            '<skeleton label="dent"><points label="1" points="5,5"/>'
            '<points label="2" points="9,12"/><points label="3" points="50,3" outside="1"/>'
            "</skeleton>",
            (5, 5, 9, 12),
        ),
        ('<box label="dent" xtl="20" ytl="10" xbr="40" ybr="20" rotation="90"/>', (25, 5, 35, 25)),
    ],
)
def test_shapes_of_cvat_are_boxed(source, body, box):
    cvat(source, body)
    assert boxes_of(source, "cvat")[0]["a"] == [box]


@pytest.mark.parametrize(
    "body",
    [
        '<points label="dent" points="5,5"/>',
        '<tag label="dent"/>',
        '<box label="dent" xtl="1" ytl="2" xbr="9" ybr="8" outside="1"/>',
        '<rectangle label="dent" x="1" y="2" w="9" h="8"/>',
        '<box xtl="1" ytl="2" xbr="9" ybr="8"/>',
        '<polygon label="dent"/>',
    ],
)
def test_what_cvat_cannot_box_leaves_the_image_out(source, body):
    cvat(source, body)
    found, report = boxes_of(source, "cvat")
    assert set(found) == {"b"} and report.left_out == {"partial": 1}


def test_a_tag_beside_boxes_loses_nothing(source):
    cvat(source, BOX + '<tag label="seen"/>')
    assert boxes_of(source, "cvat")[0]["a"] == [(1, 2, 9, 8)]


@pytest.mark.parametrize(
    ("inner", "box"),
    [
        # 20 x 10 turned by 90 degrees about (30, 20): 10 wide, 20 high.
        (
            "<robndbox><cx>30</cx><cy>20</cy><w>20</w><h>10</h><angle>1.5707963</angle></robndbox>",
            (25, 10, 35, 30),
        ),
        ("<polygon><pt><x>5</x><y>6</y></pt><pt><x>9</x><y>12</y></pt></polygon>", (5, 6, 9, 12)),
        (
            "<polygon><x1>5</x1><y1>6</y1><x2>9</x2><y2>8</y2><x3>7</x3><y3>12</y3></polygon>",
            (5, 6, 9, 12),
        ),
    ],
)
def test_objects_of_voc_without_a_bndbox_are_boxed(source, inner, box):
    (source / "a.xml").write_text(
        f"<annotation><object><name>dent</name>{inner}</object></annotation>"
    )
    assert boxes_of(source, "voc")[0]["a"] == [box]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation><object><name>dent</name></object></annotation>", "partial"),
        ("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>", "partial"),
        (
            "<annotation><item><n>dent</n><a>1</a><b>2</b><c>9</c><d>8</d></item></annotation>",
            "another form",
        ),
        ('<annotation><box x="1" y="2" w="9" h="8"/></annotation>', "another form"),
        ("<doc><object/></doc>", "another form"),
    ],
)
def test_xml_that_is_not_understood_leaves_its_image_out(source, text, reason):
    (source / "a.xml").write_text(text)
    save_xml(source / "b.xml", [("dent", 2, 3, 9, 8)])
    found, report = boxes_of(source, "voc")
    assert set(found) == {"b"} and report.left_out == {reason: 1}


def test_xml_of_another_tool_alone_is_refused(source):
    cvat(source, BOX)
    with pytest.raises(DataError, match=r"no VOC file .*another form: '<annotations>'"):
        convert("voc", source, source.parent / "out")


@pytest.mark.parametrize("format", ["coco", "labelme", "voc", "yolo"])
def test_an_image_that_was_renamed_without_its_annotation_is_no_good_part(source, format):
    """b is labelled, a may be the image of a third annotation; others/c is not in doubt."""
    save_image(source / "others/c.png", H, W)
    if format == "coco":
        coco(source, {"bbox": [1, 2, 8, 6], "image_id": 99}, SURE)
    elif format == "labelme":
        labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="b")
        labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="before", imageData="x")
    elif format == "voc":
        for name in ("b", "before"):
            save_xml(source / f"xml/{name}.xml", [("dent", 2, 3, 9, 8)])
    else:
        (source / "classes.txt").write_text("dent\n")
        for name in ("b", "before"):
            (source / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    report = convert(format, source, source.parent / "out")
    good = 0 if format == "coco" else 1  # what COCO does not list is left out
    assert (report.good, report.boxes, report.left_out["unsure"]) == (good, 1, 1)
    assert "unsure" not in report.dropped
    (line,) = [line for line in report.warnings if "belong to no image" in line]
    assert line.startswith(f"1 of {good + 2} images have no label and are left out, first 'a.png'")
    assert line.endswith("give them the name of their image, or delete them if it is gone")
    kept = convert(format, source, source.parent / "kept", keep_partial=True)
    assert kept.good == good + 1 and "unsure" not in kept.dropped
    (line,) = [line for line in kept.warnings if "belong to no image" in line]
    assert line.startswith(f"1 of {good + 2} images have no label and are taken as good")


def test_an_annotation_that_stays_behind_does_not_find_a_namesake_in_another_lot(tmp_path):
    """a/1 was renamed; b/1 is a good part of a lot that numbers alike."""
    for name in ("a/1_new", "a/2", "b/1", "b/2"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for name in ("1", "2"):
        labelme(tmp_path / "set/a", shape("rectangle", [[1, 2], [9, 8]]), name=name)
    report = convert("labelme", tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (1, 2)  # b/1 and b/2
    assert report.left_out == {"no image": 1, "unsure": 1}


@pytest.mark.parametrize(("format", "good"), [("labelme", 2), ("voc", 1)])
def test_the_only_annotation_of_a_lot_does_not_find_a_namesake_either(tmp_path, format, good):
    """a/1 was renamed; b/1 and c/1_good are good parts, b has labels of its own."""
    for name in ("a/1_new", "b/1", "b/2", "c/1_good"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for lot, name in (("a", "1"), ("b", "2")):
        if format == "voc":
            save_xml(tmp_path / f"set/{lot}/{name}.xml", [("dent", 2, 3, 9, 8)])
        else:
            labelme(tmp_path / "set" / lot, shape("rectangle", [[1, 2], [9, 8]]), name=name)
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (1, good)
    assert report.left_out_files["unsure"] == [str(tmp_path / "set/a/1_new.png")]


@pytest.mark.parametrize("lots", ["b", "bc"])
def test_beside_an_xml_that_stays_behind_no_image_is_good(tmp_path, lots):
    """a/1 was renamed; in other lots, which number alike, 1 is a good part or the moved image."""
    for name in ("a/1_new", "a/2", *(f"{lot}/{number}" for lot in lots for number in "12")):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for number in "12":
        save_xml(tmp_path / f"set/a/{number}.xml", [("dent", 2, 3, 9, 8)])
    report = convert("voc", tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (1, len(lots))  # a/2; 2 of the other lots
    assert report.left_out == {"ambiguous": len(lots), "no image": 1, "unsure": 1}
    assert report.left_out_files["unsure"] == [str(tmp_path / "set/a/1_new.png")]


def annotate(format, folder, name, image=""):
    """One dent, in a file that calls its image ``image``."""
    if format == "labelme":
        named = {"imagePath": image} if image else {}
        labelme(folder, shape("rectangle", [[1, 2], [9, 8]]), name=name, **named)
        return
    file = save_xml(folder / f"{name}.xml", [("dent", 2, 3, 9, 8)])
    tag = f"<annotation><filename>{image or name + '.png'}</filename>"
    file.write_text(file.read_text().replace("<annotation>", tag))


FORMATS = pytest.mark.parametrize("format", ["labelme", "voc"])


@FORMATS
def test_a_stray_picture_beside_the_annotations_changes_nothing(tmp_path, format):
    for name in ("json/thumb", "images/1", "images/2", "images/3", "images/9"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for name in "123":
        annotate(format, tmp_path / "set/json", name)
    annotate(format, tmp_path / "set/images", "9")
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good, report.left_out) == (4, 1, {})


@FORMATS
@pytest.mark.parametrize("size", [(H, W), (H // 2, W // 2)])
def test_a_renamed_lot_gives_its_labels_to_no_other(tmp_path, format, size):
    """All of a were renamed, or made smaller besides; b are good parts that have the old names."""
    for name in "123":
        save_image(tmp_path / f"set/a/lot_{name}.png", *size)
        save_image(tmp_path / f"set/b/{name}.png", H, W)
        annotate(format, tmp_path / "set/a", name)
    save_image(tmp_path / "set/c/1.png", H, W)
    annotate(format, tmp_path / "set/c", "1")
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert report.boxes == 1
    assert set(report.left_out_files["unsure"]) == {
        str(tmp_path / f"set/a/lot_{name}.png") for name in "123"
    }


LAYOUTS = pytest.mark.parametrize(
    ("images", "files"), [("{}/img", "{}/ann"), ("images/{}", "ann/{}"), ("{}/img", "{}")]
)


@FORMATS
@LAYOUTS
@pytest.mark.parametrize("others", [True, False])
def test_so_does_one_with_its_annotations_in_a_folder_apart(
    tmp_path, format, images, files, others
):
    """All of a were renamed; b are good parts that have the old names, c, if any, as it was."""
    lots = {lot: tmp_path / "set" / images.format(lot) for lot in "abc"}
    for name in "123":
        save_image(lots["a"] / f"lot_{name}.png", H, W)
        save_image(lots["b"] / f"{name}.png", H, W)
        annotate(format, tmp_path / "set" / files.format("a"), name)
    save_image(lots["c"] / "0.png", H, W)
    folder = tmp_path / "set" / files.format("c") if others else lots["c"]
    annotate(format, folder, "0", str(lots["c"] / "0.png") if format == "labelme" else "")
    report = convert(format, tmp_path / "set", tmp_path / "out")
    good = 3 if format == "labelme" else 0  # VOC: which of two images of one name is not known
    assert (report.boxes, report.good) == (1, good)
    assert report.left_out_files["unsure"] == [str(lots["a"] / f"lot_{n}.png") for n in "123"]


@FORMATS
@pytest.mark.parametrize(("images", "files"), [("{}/img", "{}/ann"), ("images/{}", "ann/{}")])
def test_lots_that_number_alike_need_no_folder_in_the_names(tmp_path, format, images, files):
    """Most names of b lead to a, where nothing was renamed, too."""
    for lot in "abc":
        for name in "123":
            new = "_new" if (lot, name) == ("b", "3") else ""
            save_image(tmp_path / "set" / images.format(lot) / f"{name}{new}.png", H, W)
            annotate(format, tmp_path / "set" / files.format(lot), name)
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.left_out) == (8, {"no image": 1, "unsure": 1})


@FORMATS
def test_nor_does_an_image_at_the_root_get_the_box(tmp_path, format):
    """a/1 was renamed; 1 at the root is a good part, or a lot of its own."""
    for name in ("1", "a/1_new", "a/2"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for name in "12":
        annotate(format, tmp_path / "set/a", name)
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert report.boxes == 1
    assert str(tmp_path / "set/a/1_new.png") in report.left_out_files["unsure"]


@pytest.mark.parametrize("gone", ["", "1"])
@pytest.mark.parametrize("thumbs", ["thumbs", "json/thumbs"])
def test_pictures_of_the_same_names_near_it_change_nothing(tmp_path, gone, thumbs):
    for name in "12345":
        for folder in (".", thumbs) if name != gone else (thumbs,):
            save_image(tmp_path / f"set/{folder}/{name}.png", H, W)
        annotate("labelme", tmp_path / "set/json", name)
    report = convert("labelme", tmp_path / "set", tmp_path / "out")
    boxes = [file.stem for file in (tmp_path / "out/labels").glob("*.txt") if file.read_text()]
    assert sorted(boxes) == [name for name in "12345" if name != gone]
    assert report.boxes == len(boxes)


def test_an_image_that_was_renamed_gives_its_box_to_no_thumbnail(tmp_path):
    for name in "123":
        save_image(tmp_path / f"set/a/{name.replace('1', 'new')}.png", H, W)
        save_image(tmp_path / f"set/a/thumbs/{name}.png", H, W)
        annotate("labelme", tmp_path / "set/a/json", name, f"../{name}.png")
    report = convert("labelme", tmp_path / "set", tmp_path / "out")
    assert report.boxes == 2
    assert str(tmp_path / "set/a/new.png") in report.left_out_files["unsure"]


@FORMATS
@pytest.mark.parametrize(("images", "files"), [("{}/img", "{}/ann"), ("images/{}", "ann/{}")])
def test_a_lot_without_its_images_gives_its_boxes_to_no_other(tmp_path, format, images, files):
    """The images of a were not copied; d are good parts."""
    for name in "123":
        for lot in "bcd":
            save_image(tmp_path / "set" / images.format(lot) / f"{name}.png", H, W)
        for lot in "abc":
            annotate(format, tmp_path / "set" / files.format(lot), name)
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.left_out["no image"]) == (6, 3)


@FORMATS
@pytest.mark.parametrize("layout", ["a/xml", "Annotations"])
def test_a_renamed_lot_near_its_annotations_is_no_good_one(tmp_path, format, layout):
    """Below the renamed images or beside them, there with a picture of its own; b is labelled."""
    lot = {"a/xml": "a", "Annotations": "JPEGImages"}[layout]
    if layout == "Annotations":
        save_image(tmp_path / "set/Annotations/legend.png", H, W)
    for name in "123":
        save_image(tmp_path / f"set/{lot}/new_{name}.png", H, W)
        annotate(format, tmp_path / "set" / layout, f"x{name}")
    save_image(tmp_path / "set/b/9.png", H, W)
    annotate(format, tmp_path / "set/b", "9")
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (1, 0)


@FORMATS
def test_one_folder_of_annotations_serves_every_lot(tmp_path, format):
    """Only d has a file that says no more than a name; e was renamed."""
    for lot in "acde":
        name = "new" if lot == "e" else f"{lot}1"
        save_image(tmp_path / f"set/images/{lot}/{name}.png", H, W)
        path = "" if lot == "d" else f"../images/{lot}/{lot}1.png"
        annotate(format, tmp_path / "set/ann", f"{lot}1", path if format == "labelme" else "")
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (3, 0)
    assert report.left_out_files["unsure"] == [str(tmp_path / "set/images/e/new.png")]


@FORMATS
def test_of_namesakes_in_other_lots_none_gets_the_box(tmp_path, format):
    """a/1 was renamed; what its file calls it is the name of one of two images elsewhere."""
    for name in ("a/1_new.png", "a/2.png", "b/1.png", "b/3.png", "c/1.jpg", "c/3.png"):
        save_image(tmp_path / f"set/{name}", H, W)
    for lot, name in (("a", "1"), ("a", "2"), ("b", "3"), ("c", "3")):
        annotate(format, tmp_path / f"set/{lot}", name)
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert report.boxes == 3
    assert report.left_out_files["unsure"] == [str(tmp_path / "set/a/1_new.png")]


@FORMATS
def test_a_name_that_leads_to_another_lot_settles_nothing(tmp_path, format):
    """a/1 was renamed, its file names an image of b by chance."""
    for name in ("a/1_new", "a/2", "b/0001", "b/0002"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for lot, name in (("a", "1"), ("a", "2"), ("b", "0002")):
        annotate(format, tmp_path / f"set/{lot}", name, image=f"{int(name):04}.png")
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert report.boxes == 2
    assert str(tmp_path / "set/a/1_new.png") in report.left_out_files["unsure"]


@FORMATS
def test_a_broken_annotation_without_its_image_makes_a_doubt(tmp_path, format):
    for name in ("a", "new"):
        save_image(tmp_path / f"set/{name}.png", H, W)
    annotate(format, tmp_path / "set", "a")
    suffix, text = ("json", '{"shapes": [') if format == "labelme" else ("xml", "<annotation><ob")
    (tmp_path / f"set/old.{suffix}").write_text(text)
    report = convert(format, tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (1, 0)
    assert report.left_out_files["unsure"] == [str(tmp_path / "set/new.png")]


def test_where_more_files_than_images_are_lost_their_namesakes_are_in_doubt(tmp_path):
    """Two of a were removed, or moved into b, which has no labels."""
    for name in ("a/3", *(f"b/{number}" for number in "123")):
        save_image(tmp_path / f"set/{name}.png", H, W)
    for name in "123":
        annotate("labelme", tmp_path / "set/a", name)
    report = convert("labelme", tmp_path / "set", tmp_path / "out")
    assert (report.boxes, report.good) == (1, 1)  # a/3, b/3
    assert set(report.left_out_files["unsure"]) == {
        str(tmp_path / f"set/b/{name}.png") for name in "12"
    }


def test_a_lost_annotation_without_a_box_makes_no_doubt(source):
    for name in ("b", "before"):
        save_xml(source / f"{name}.xml", [("dent", 2, 3, 9, 8)] if name == "b" else [])
    assert boxes_of(source, "voc")[1].good == 1


def test_a_file_that_no_image_lies_near_makes_no_doubt(source):
    save_xml(source / "b.xml", [("dent", 2, 3, 9, 8)])
    save_xml(source / "xml/before.xml", [("dent", 2, 3, 9, 8)])
    report = boxes_of(source, "voc")[1]
    assert (report.left_out, report.good) == ({"no image": 1}, 1)


def test_an_image_that_a_differently_named_xml_names_is_not_taken_as_good(source):
    save_xml(source / "b.xml", [("dent", 2, 3, 9, 8)])
    file = save_xml(source / "0001.xml", [("dent", 2, 3, 9, 8)])
    file.write_text(
        file.read_text().replace("<annotation>", "<annotation><filename>a.png</filename>")
    )
    found, report = boxes_of(source, "voc")
    assert set(found) == {"b"} and report.left_out == {"unsure": 1, "no image": 1}


@pytest.mark.parametrize("place", ["a.json", "json/a.json"])
@pytest.mark.parametrize("text", ["{", '{"objects": [{"bbox": [1, 2, 3, 4]}]}'])
def test_json_that_is_not_labelmes_leaves_its_image_out(source, place, text):
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="b")
    (source / place).parent.mkdir(exist_ok=True)
    (source / place).write_text(text)
    found, report = boxes_of(source, "labelme")
    assert set(found) == {"b"} and sum(report.left_out.values()) == 1


@pytest.mark.parametrize(
    "lost",
    [
        {"category_id": 7, "bbox": [1, 2, 8, 6]},
        {"category_id": None, "bbox": [1, 2, 8, 6]},
        {"bbox": []},
        {"bbox": [0, 0, 0, 0]},
        {"bbox": None},
        {"keypoints": [1, 2, 2]},
        {"bbox": [1, 2, 8, 6], "iscrowd": 1},
    ],
)
def test_what_coco_cannot_box_leaves_the_image_out(source, lost):
    coco(source, lost, SURE)
    found, report = boxes_of(source, "coco")
    assert found == {"b": [(1, 2, 9, 8)]}
    assert report.left_out == {"partial": 1}


def test_only_small_regions_of_a_mask_are_no_good_part(source):
    save_image(source / "images/d.png", H, W)
    save_image(source / "images/c.png", H, W)
    save_mask(source / "masks/d.png", (5, 5, 7, 7))
    save_mask(source / "masks/c.png", (5, 5, 7, 7), (20, 20, 40, 30))
    imported, _ = read("masks", source, source.parent / "out", ImportOptions())
    assert len(imported.images) == 2
    found, report = boxes_of(source, "masks")
    assert found == {"c": [(20, 20, 40, 30)]}
    assert report.left_out["partial"] == 1


def test_rows_of_yolo_that_are_dropped_leave_the_image_out(source):
    (source / "classes.txt").write_text("dent\n")
    (source / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n3 0.2 0.2 0.1 0.1\n")
    (source / "b.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    found, report = boxes_of(source, "yolo")
    assert set(found) == {"b"} and report.left_out == {"partial": 1}


@pytest.mark.parametrize(("image", "category"), [(1.0, 1.0), ("1", "1"), (" 1 ", "1.0"), (1, "1")])
def test_ids_are_equal_however_they_are_written(source, image, category):
    coco(source, {"bbox": [1, 2, 8, 6], "image_id": image, "category_id": category}, SURE)
    found, report = boxes_of(source, "coco")
    assert found["a"] == found["b"] == [(1, 2, 9, 8)] and report.good == 0


def test_a_crowd_of_text_zero_is_none_and_numbers_as_text_are_numbers(source):
    coco(source, {"bbox": ["1", "2", "8.0", "6"], "iscrowd": "0"}, SURE)
    assert boxes_of(source, "coco")[0]["a"] == [(1, 2, 9, 8)]


# A quarter to a half of 60 x 40 pixels.
SHARE = (15, 10, 30, 20)


@pytest.mark.parametrize("format", ["coco", "labelme", "cvat", "csv", "voc"])
def test_shares_throughout_a_source_become_pixels(source, format):
    if format == "coco":
        coco(source, *({"bbox": [0.25, 0.25, 0.25, 0.25], "image_id": n} for n in (1, 2)))
    elif format == "labelme":
        labelme(source, shape("rectangle", [[0.25, 0.25], [0.5, 0.5]]))
        labelme(source, shape("polygon", [[0.25, 0.25], [0.5, 0.25], [0.3, 0.5]]), name="b")
    elif format == "cvat":
        cvat(source, '<box label="dent" xtl="0.25" ytl="0.25" xbr="0.5" ybr="0.5"/>')
        file = source / "annotations.xml"
        file.write_text(file.read_text().replace(BOX, ""))
    elif format == "csv":
        table(source, *(f"{name}.png,dent,0.25,0.25,0.5,0.5" for name in "ab"))
    else:
        save_xml(source / "a.xml", [("dent", 0.25, 0.25, 0.5, 0.5)])
        save_xml(source / "b.xml", [("dent", 0.25, 0.25, 0.5, 0.5)])
    found, report = boxes_of(source, format)
    assert found["a"] == [SHARE] and report.repaired == {"shares": report.boxes}


@pytest.mark.parametrize("kind", ["rectangle", "circle"])
def test_shares_among_pixels_are_no_boxes(source, kind):
    labelme(source, shape(kind, [[0.25, 0.25], [0.5, 0.5]]))
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="b")
    found, report = boxes_of(source, "labelme")
    assert set(found) == {"b"} and report.dropped == {"shares": 1}


def large(source, format, *sides):
    """Two images of 640 x 480 with one box, x1 y1 x2 y2."""
    for name in "ab":
        save_image(source / f"{name}.png", 480, 640)
    x1, y1, x2, y2 = sides
    size = {"imageHeight": 480, "imageWidth": 640}
    if format == "coco":
        images = [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate("ab", start=1)]
        box = [x1, y1, x2 - x1, y2 - y1]
        coco(source, *({"bbox": box, "image_id": n} for n in (1, 2)), images=images)
    elif format == "labelme":
        for name in "ab":
            labelme(source, shape("rectangle", [[x1, y1], [x2, y2]]), name=name, **size)
    elif format == "cvat":
        box = f'<box label="dent" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
        images = "".join(f'<image name="{name}.png">{box}</image>' for name in "ab")
        (source / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    elif format == "csv":
        table(source, *(f"{name}.png,dent,{x1},{y1},{x2},{y2}" for name in "ab"))
    else:
        for name in "ab":
            save_xml(source / f"{name}.xml", [("dent", x1, y1, x2, y2)], (480, 640))


@pytest.mark.parametrize("format", ["coco", "labelme", "cvat", "csv", "voc"])
def test_percents_throughout_a_source_are_refused(source, format):
    large(source, format, 12.5, 20.25, 62.5, 100.0)
    with pytest.raises(DataError, match=r"640 x 480.*look like percents.*round them to whole ones"):
        boxes_of(source, format)


@pytest.mark.parametrize(
    "sides", [(12, 20, 62, 100), (12.5, 20.25, 62.5, 140.0)], ids=["whole", "past 100"]
)
def test_pixels_in_a_corner_are_pixels(source, sides):
    large(source, "labelme", *sides)
    assert boxes_of(source, "labelme")[1].boxes == 2


def test_boxes_in_the_middle_of_small_images_are_pixels(source):
    """Of 200 images all within 0 to 100, as the boxes of small parts in their middle are."""
    for n in range(200):
        save_image(source / f"{n}.png", 128, 128)
        content = {"imageHeight": 128, "imageWidth": 128}
        labelme(source, shape("rectangle", [[40.5, 50], [90, 99.5]]), name=str(n), **content)
    assert boxes_of(source, "labelme")[1].boxes == 200


def test_annotations_that_are_not_read_are_counted(source):
    for name in ("a.xml", "b.XML", "all.csv", "a.txt", "notes.txt", "c.md"):
        (source / name).write_text("x")
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]))
    (line,) = boxes_of(source, "labelme")[1].warnings
    assert line.endswith("of labelme does not read: 1 .csv, 1 .txt, 2 .xml, first 'a.txt'")


def test_the_first_pixel_alone_is_a_box_and_no_share(source):
    labelme(source, shape("rectangle", [[0, 0], [1, 1]]))
    assert boxes_of(source, "labelme")[0]["a"] == [(0, 0, 1, 1)]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('b.png,dent,"1,5",2,9,8', r"labels\.csv:2: decimal comma: .*write numbers with"),
        (",dent,1,2,9,8", r"labels\.csv:2: no image named"),
    ],
)
def test_a_source_without_boxes_says_first_why_those_that_are_there_are_none(source, row, told):
    table(source, row)
    with pytest.raises(
        DataError, match=f"no boxes at all: .*; dropped 1 annotation, first .*{told}"
    ):
        convert("csv", source, source.parent / "out")


def test_nobody_is_told_to_delete_a_table_for_one_row_without_an_image(source):
    table(source, "a.png,,,,,", "b.png,dent,1,2,9,8", ",dent,1,2,9,8")
    (line,) = convert("csv", source, source.parent / "out").warnings
    assert line.endswith("give them the name of their image, or delete them if it is gone")


def test_an_image_that_is_listed_twice_with_two_sizes_keeps_the_boxes_of_one(source):
    sizes = ((1, "a.png", H), (2, "./a.png", 2 * H))
    listed = [{"id": n, "file_name": name, "height": h, "width": W} for n, name, h in sizes]
    coco(source, {"bbox": [1, 2, 8, 6]}, {"bbox": [2, 4, 8, 12], "image_id": 2}, images=listed)
    report = convert("coco", source, source.parent / "out", keep_partial=True)
    assert report.boxes == 1 and report.dropped == {"two sizes": 1}


@pytest.mark.parametrize("size", ["120", 120.0, "120.0", 120])
@pytest.mark.parametrize("format", ["coco", "labelme", "cvat", "csv", "voc"])
def test_a_size_is_checked_however_it_is_written(source, format, size):
    if format == "coco":
        listed = [{"id": 1, "file_name": "a.png", "height": size, "width": size}]
        listed.append({"id": 2, "file_name": "b.png"})
        coco(source, {"bbox": [1, 2, 8, 6]}, SURE, images=listed)
    elif format == "labelme":
        labelme(source, shape("rectangle", [[1, 2], [9, 8]]), imageHeight=size, imageWidth=size)
        labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="b")
    elif format == "cvat":
        cvat(source, BOX)
        file = source / "annotations.xml"
        wrong = f'name="a.png" width="{size}" height="{size}"'
        file.write_text(file.read_text().replace(f'name="a.png" width="{W}" height="{H}"', wrong))
    elif format == "csv":
        rows = (f"a.png,{size},{size},dent,1,2,9,8", f"b.png,{W},{H},dent,1,2,9,8")
        table(source, *rows, head="filename,width,height,class,xmin,ymin,xmax,ymax")
    else:
        save_xml(source / "a.xml", [("dent", 2, 3, 9, 8)], size=(size, size))
        save_xml(source / "b.xml", [("dent", 2, 3, 9, 8)])
    found, report = boxes_of(source, format)
    assert set(found) == {"b"} and report.left_out == {"size": 1}
    assert "annotated as 120x120" in report.examples[0]


def test_shapes_of_one_label_and_group_are_one_object(source):
    first = shape("polygon", [[5, 5], [9, 5], [7, 9]], group_id=1)
    second = shape("rectangle", [[30, 20], [20, 12]], group_id=1)
    other = shape("rectangle", [[30, 20], [20, 12]], label="pit", group_id=1)
    alone = shape("rectangle", [[50, 30], [55, 35]], group_id=None)
    labelme(source, first, second, other, alone)
    found, report = boxes_of(source, "labelme")
    assert found["a"] == [(5, 5, 30, 20), (20, 12, 30, 20), (50, 30, 55, 35)]
    assert report.converted["group"] == 1


def test_groups_of_cvat_are_one_object_and_group_0_is_none(source):
    part = '<polygon label="dent" points="{}" group_id="{}"/>'
    parts = [
        part.format("5,5;9,5;7,9", 3),
        part.format("30,20;20,12;25,30", 3),
        part.format("50,30;55,30;55,35", 0),
        part.format("40,30;45,30;45,35", 0),
    ]
    cvat(source, "".join(parts))
    assert boxes_of(source, "cvat")[0]["a"] == [
        (5, 5, 30, 30),
        (50, 30, 55, 35),
        (40, 30, 45, 35),
    ]


def test_a_heading_without_boxes_is_no_class(source):
    categories = [
        {"id": 0, "name": "defects", "supercategory": "none"},
        {"id": 1, "name": "dent", "supercategory": "defects"},
        {"id": 2, "name": "pit", "supercategory": "defects"},
        {"id": 3, "name": "person", "supercategory": "person"},  # its own heading: a class
    ]
    coco(source, {"bbox": [1, 2, 8, 6]}, SURE, categories=categories)
    report = boxes_of(source, "coco")[1]
    assert report.names == ("dent", "pit", "person")
    assert "category 'defects' has no box" in report.warnings[0]
    coco(source, {"bbox": [1, 2, 8, 6], "category_id": 0}, SURE, categories=categories)
    assert boxes_of(source, "coco")[1].names[0] == "defects"


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "utf-16"])
def test_class_names_in_another_encoding_are_refused_by_name(source, encoding):
    text = "Kratzer\nrißé\n" if encoding == "latin-1" else "裂纹\n凹坑\n"
    (source / "classes.txt").write_bytes(text.encode(encoding))
    (source / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"classes\.txt'.* save it as UTF-8"):
        convert("yolo", source, source.parent / "out")


def test_pictures_that_are_not_read_are_counted(source):
    for name in ("c.jfif", "d.JFIF", "e.heic", "notes.md"):
        (source / name).write_bytes(b"x")
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]))
    (line,) = boxes_of(source, "labelme")[1].warnings
    assert "1 .heic, 2 .jfif" in line and ".png" in line


@pytest.mark.parametrize("suffix", [".tif", ".webp"])
def test_files_of_several_pictures_are_left_out(source, suffix):
    pages = [Image.new("L", (W, H), value) for value in (10, 200)]
    pages[0].save(source / f"c{suffix}", save_all=True, append_images=pages[1:])
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]))
    labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="c", imagePath=f"c{suffix}")
    report = boxes_of(source, "labelme")[1]
    assert report.left_out == {"unreadable": 1} and "holds 2 pictures" in report.examples[0]


@pytest.mark.parametrize("format", ["coco", "labelme", "cvat", "csv"])
@pytest.mark.parametrize("absolute", [False, True])
def test_names_that_lead_out_of_the_source_are_not_followed(source, format, absolute):
    secret = save_image(source.parent / "private/secret.png", H, W)
    name = str(secret) if absolute else "../private/secret.png"
    if format == "coco":
        listed = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "b.png"}]
        coco(source, {"bbox": [1, 2, 8, 6]}, SURE, images=listed)
    elif format == "labelme":
        labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="x", imagePath=name)
        labelme(source, shape("rectangle", [[1, 2], [9, 8]]), name="b")
    elif format == "csv":
        table(source, f"{name},dent,1,2,9,8", "b.png,dent,1,2,9,8")
    else:
        cvat(source, BOX)
        file = source / "annotations.xml"
        file.write_text(file.read_text().replace("a.png", name))
    found, report = boxes_of(source, format)
    assert "secret" not in found and report.left_out["elsewhere"] == 1
    assert any("--images" in line for line in report.examples)


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "inner",
    [
        f"<!DOCTYPE annotation [{ENTITIES}]>"
        "<annotation><object><name>&e8;</name></object></annotation>",
        '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        "<annotation><object><name>&x;</name></object></annotation>",
        "<annotation>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>",
    ],
)
def test_xml_bombs_are_refused_at_once(source, inner):
    (source / "a.xml").write_text(inner)
    save_xml(source / "b.xml", [("dent", 2, 3, 9, 8)])
    found, report = boxes_of(source, "voc")
    assert set(found) == {"b"} and report.left_out == {"unreadable": 1}


def test_xml_in_a_declared_encoding_is_read(source):
    text = '<?xml version="1.0" encoding="gb2312"?>' + save_xml(
        source / "b.xml", [("裂纹", 2, 3, 9, 8)]
    ).read_text("utf-8")
    (source / "a.xml").write_bytes(text.encode("gb2312"))
    assert boxes_of(source, "voc")[1].splits["train"].classes == {"裂纹": 2}
