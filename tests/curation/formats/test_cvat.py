from __future__ import annotations

import math

import numpy as np
import pytest

from kdlnet.curation.formats.cvat import import_cvat
from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.errors import DataError

from ...support.layouts import save_image

META = (
    "<meta><task><labels><label><name>pit</name></label><label><name>dent</name></label>"
    "<label><name>knee</name><parent>body</parent></label></labels></task></meta>"
)


def save_cvat(file, shapes="", name="a.jpg", attributes="", after=""):
    image = f'<image id="0" name="{name}" width="60" height="40" {attributes}>{shapes}</image>'
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f"<annotations><version>1.1</version>{META}{image}{after}</annotations>"
    file.write_text(text, encoding="utf-8")


def box(x1, y1, x2, y2, more=""):
    return f'<box label="dent" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" {more}></box>'


def read(source, **options):
    result = import_cvat(source, ImportOptions(**options))
    return {image.path.name: image for image in result.images}, result


@pytest.fixture
def parts(tmp_path):
    save_image(tmp_path / "images/a.jpg")
    return tmp_path


def test_shapes_become_the_boxes_around_them(parts):
    shapes = [
        box(5.5, 6, 25, 30),
        # 20x10 around (30, 20), turned by 90 degrees, is 10x20.
        box(20, 15, 40, 25, 'rotation="90.0"'),
        '<polygon label="pit" points="5.0,6.0;10.5,6.0;7.0,30.0"/>',
        '<ellipse label="pit" cx="30" cy="20" rx="10" ry="5"/>',
        '<mask label="pit" rle="3, 1" left="4" top="5" width="10" height="8"/>',
        '<cuboid label="pit" xtl1="3" ytl1="4" xbl1="3" ybl1="9" xtr2="14" ytr2="2"/>',
    ]
    save_cvat(parts / "annotations.xml", "".join(shapes))
    images, result = read(parts)
    np.testing.assert_allclose(
        images["a.jpg"].boxes,
        [
            [5.5, 6, 25, 30],
            [25, 10, 35, 30],
            [5, 6, 10.5, 30],
            [20, 15, 40, 25],
            [4, 5, 14, 13],
            [3, 2, 14, 9],
        ],
    )
    kinds = ("rotated box", "polygon", "ellipse", "mask", "cuboid")
    assert images["a.jpg"].converted == kinds
    (outline,) = [outline for outline in images["a.jpg"].outlines if outline is not None]
    assert outline.tolist() == [[5, 6], [10.5, 6], [7, 30]]
    assert result.names == ("pit", "dent")  # in the task's order, without parts of skeletons


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 135, 200, 345])
def test_rotations_reach_as_far_as_their_outline(parts, degrees):
    turn = f'rotation="{degrees}"'
    ellipse = f'<ellipse label="pit" cx="30" cy="20" rx="9" ry="4" {turn}/>'
    save_cvat(parts / "annotations.xml", box(23, 18, 37, 22, turn) + ellipse)
    angle, ring = math.radians(degrees), np.linspace(0, 2 * math.pi, 20001)
    corners = np.array([[-7, -2], [7, -2], [7, 2], [-7, 2]])
    outlines = [corners, np.stack([9 * np.cos(ring), 4 * np.sin(ring)], axis=1)]
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for outline, found in zip(outlines, read(parts)[0]["a.jpg"].boxes, strict=True):
        points = outline @ matrix.T + [30, 20]
        expected = [*points.min(axis=0), *points.max(axis=0)]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_is_no_box_is_dropped_with_its_number(parts):
    shapes = [
        '<polyline label="pit" points="5,6;5,6"/>',
        '<points label="pit" points="5,6"/>',
        '<tag label="good"/>',
        '<skeleton label="body"><points label="knee" points="1,2"/></skeleton>',
        '<polygon label="pit" points="5,6;7"/>',
        '<box label="pit" xtl="5" ytl="6" xbr="9"/>',
        '<box xtl="5" ytl="6" xbr="9" ybr="9"/>',
        box(5, 6, 5, 9),
        box(25, 6, 5, 9),
        box(50, 6, 65, 9),
        "<strange/>",
    ]
    save_cvat(parts / "annotations.xml", "".join(shapes))
    image = read(parts)[0]["a.jpg"]
    assert {p.line: p.reason for p in image.problems} == {
        1: "point",
        2: "point",
        3: "tag",
        4: "point",
        5: "incomplete",
        6: "incomplete",
        7: "incomplete",
        8: "degenerate",
        9: "swapped corners",
        10: "clipped",
        11: "incomplete",
    }
    assert image.boxes.tolist() == [[5, 6, 25, 9], [50, 6, 60, 9]]


@pytest.mark.parametrize(
    ("subset", "split"), [("Train", "train"), ("Validation", "val"), ("default", None)]
)
def test_subsets_are_splits(parts, subset, split):
    save_cvat(parts / "annotations.xml", box(1, 1, 5, 5), attributes=f'subset="{subset}"')
    assert read(parts)[0]["a.jpg"].split == split


def test_a_frame_of_which_a_mask_has_the_name_too_is_told(parts):
    save_image(parts / "masks/a.png")
    save_cvat(parts / "images/annotations.xml", box(1, 2, 3, 4), name="a")
    images, result = read(parts)
    assert list(images) == ["a.jpg"] and "taken is 'images/a.jpg'; if" in result.warnings[0]


def test_frames_of_a_video_are_named_without_a_suffix(tmp_path):
    save_image(tmp_path / "images/frame_000000.PNG")
    save_cvat(tmp_path / "annotations.xml", box(1, 2, 9, 8), name="frame_000000")
    (image,) = import_cvat(tmp_path, ImportOptions()).images
    assert image.path.name == "frame_000000.PNG" and len(image.boxes) == 1


def test_xml_alone_with_the_images_elsewhere(tmp_path):
    save_image(tmp_path / "photos/Serie 1/ä b.PNG")
    save_image(tmp_path / "photos/other.png")
    file = tmp_path / "export/annotations.xml"
    save_cvat(file, box(1, 1, 5, 5), name="Serie 1/ä b.PNG")
    for source in (file, file.parent):
        images, result = read(source, images=tmp_path / "photos")
        assert set(images) == {"ä b.PNG"}
        assert [p.reason for p in result.left_out] == ["not listed"]
    assert [p.reason for p in read(file)[1].left_out] == ["no image"]


def test_videos_other_files_and_images_listed_twice_are_errors(parts):
    save_cvat(parts / "annotations.xml", after='<track id="0" label="pit"/>')
    with pytest.raises(DataError, match=r"tracks of a video.*CVAT for images 1\.1"):
        read(parts)
    (parts / "annotations.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="is not CVAT"):
        read(parts)
    (parts / "annotations.xml").write_text("<annotations>")
    with pytest.raises(DataError, match="is not XML"):
        read(parts)
    save_cvat(parts / "annotations.xml")
    save_cvat(parts / "more.xml")
    with pytest.raises(DataError, match=r"listed twice.*annotations\.xml.*more\.xml"):
        read(parts)


@pytest.mark.parametrize(
    ("good", "drawn"),
    [("a.jpg", "C:\\set\\a.jpg"), ("a.jpg", "set/a"), ("a", "set/a.jpg")],
)
def test_a_good_part_that_another_image_may_be_by_another_name_is_unsure(parts, good, drawn):
    other = f'<image id="1" name="{drawn}" width="60" height="40">{box(1, 2, 9, 8)}</image>'
    save_cvat(parts / "annotations.xml", name=good, after=other)
    images, result = read(parts)
    assert [p.reason for p in images["a.jpg"].problems] == ["unsure"]
    assert [(p.reason, p.value) for p in result.left_out] == [("no image", drawn)]
    save_cvat(parts / "annotations.xml", name=good, after=other.replace(drawn, "set/c.jpg"))
    assert not read(parts)[0]["a.jpg"].problems
