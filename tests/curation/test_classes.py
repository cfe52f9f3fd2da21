from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdlnet.curation.classes import class_order, taken_as
from kdlnet.curation.formats.imported import ImportedImage, ImportResult
from kdlnet.errors import DataError


def image(name, *classes, outlined=False):
    boxes = np.array([[n, n, n + 5.0, n + 5.0] for n, _ in enumerate(classes)]).reshape(-1, 4)
    outlines = tuple(box.reshape(2, 2) for box in boxes) if outlined else ()
    return ImportedImage(Path(name), (20, 30), boxes, classes, outlines=outlines)


def imported(*images, names=()):
    return ImportResult(list(images), [], names)


def mapped(found, **classes):
    return taken_as(found, class_order(found, None), classes)


def test_classes_of_one_name_are_one_where_the_first_of_them_stood():
    found = imported(image("a", "pit", "scuff", "scratch"), names=("scuff", "pit", "scratch"))
    now = mapped(found, scuff="scratch")
    assert now.names == ("scratch", "pit")
    assert now.images[0].names == ("pit", "scratch", "scratch")
    np.testing.assert_array_equal(now.images[0].boxes, found.images[0].boxes)
    assert now.images[0].converted == ("scuff taken as scratch",)
    assert now.facts["classes"] == {"scuff": "scratch"}


def test_classes_change_places():
    now = mapped(imported(image("a", "dent", "pit")), dent="pit", pit="dent")
    assert now.images[0].names == ("pit", "dent")
    assert now.names == ("pit", "dent")


def test_boxes_of_what_is_no_defect_are_left_out_with_their_outlines():
    found = imported(image("a", "dust", "pit", "dust", outlined=True), image("b", "dust"))
    now = mapped(found, dust="")
    first, second = now.images
    assert now.names == ("pit",)
    assert first.names == ("pit",)
    np.testing.assert_array_equal(first.boxes, [[1, 1, 6, 6]])
    np.testing.assert_array_equal(first.outlines, [[[1, 1], [6, 6]]])
    assert first.converted == ("dust left out",) * 2
    assert (second.names, second.boxes.shape) == ((), (0, 4))
    assert second.converted == ("dust left out", "image without another box: good part")


def test_equal_boxes_that_become_one_class_are_one_box():
    found = imported(image("a", "scuff", "scratch", "pit", outlined=True))
    found.images[0].boxes[1] = found.images[0].boxes[0]
    now = mapped(found, scuff="scratch").images[0]
    assert now.names == ("scratch", "pit")
    np.testing.assert_array_equal(now.boxes, [[0, 0, 5, 5], [2, 2, 7, 7]])
    assert len(now.outlines) == 2
    assert [(p.reason, p.action) for p in now.problems] == [("duplicate", "dropped")]
    assert mapped(found, pit="dent").images[0].names == ("scuff", "scratch", "dent")


def test_an_image_without_a_box_stays_as_it_was():
    now = mapped(imported(image("a"), image("b", "pit")), pit="dent")
    assert now.images[0].converted == ()


def test_a_star_is_every_class_that_is_not_named():
    found = imported(image("a", "dust", "pit", "dent"))
    assert mapped(found, **{"*": "defect"}).images[0].names == ("defect",) * 3
    both = mapped(found, **{"*": "", "pit": "pit"})
    assert (both.names, both.images[0].names) == (("pit",), ("pit",))


def test_a_class_that_nobody_drew_is_refused_and_so_is_leaving_none():
    found = imported(image("a", "scratch"))
    with pytest.raises(DataError, match=r"'scrach'; did you mean 'scratch'"):
        mapped(found, scrach="pit")
    with pytest.raises(DataError, match=r"leaves none of scratch.*--names"):
        mapped(found, scratch="")
    assert taken_as(found, class_order(found, ["scratch", "pit"]), {"scratch": ""}).names == (
        "pit",
    )


def test_a_name_is_known_in_either_unicode_form():
    found = imported(image("a", "Fra\u0308sung"))
    assert taken_as(found, ("Fra\u0308sung",), {"Fr\u00e4sung": "cut"}).names == ("cut",)
