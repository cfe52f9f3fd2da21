from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdlnet.data.labels import (
    parse_rows,
    read_labels,
    reason_to_leave_out,
    refuse_problems,
    summarize,
    write_rows,
)
from kdlnet.data.rows import RowForm
from kdlnet.errors import DataError

FILE = Path("a.txt")


def parse(text, classes=3):
    return parse_rows(text, FILE, classes)


def test_box_row():
    # Centre (0.5, 0.4), 0.2 wide, 0.4 high.
    labels, problems = parse("2 0.5 0.4 0.2 0.4\n")
    np.testing.assert_allclose(labels.boxes, [[0.4, 0.2, 0.6, 0.6]])
    assert labels.labels.tolist() == [2]
    assert labels.boxes.dtype == np.float64 and labels.labels.dtype == np.int64
    assert problems == []


def test_polygon_row_gives_its_box():
    labels, problems = parse("1 0.1 0.2 0.5 0.1 0.3 0.7")
    np.testing.assert_allclose(labels.boxes, [[0.1, 0.1, 0.5, 0.7]])
    assert problems == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0 0.5 0.5 0.2", "columns"),
        ("0 0.5 0.5 0.2 0.2 0.9", "score"),  # a score: predictions are no labels
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "columns"),
        ("0 0.5 x 0.2 0.2", "number"),
        ("0 0.5 nan 0.2 0.2", "nan"),
        ("0 0.5 0.5 inf 0.2", "nan"),
        ("nan 0.5 0.5 0.2 0.2", "nan"),
        ("3 0.5 0.5 0.2 0.2", "class"),
        ("-1 0.5 0.5 0.2 0.2", "class"),
        ("0.5 0.5 0.5 0.2 0.2", "class"),
        ("0 1.5 0.5 0.2 0.2", "outside"),
        ("0 120 80 30 40", "outside"),  # pixels instead of shares
        ("0 48 48 200 300", "outside"),  # pixels whose box would cover the image
        ("0 50 50 20 30", "outside"),  # percent
        ("0 0.1 0.1 0.2 0.1 0.3 40", "track id"),
        ("0 10 10 20.5 10 30 40.5", "outside"),  # a polygon in pixels
        ("0 0.5 0.5 0.2 0.2 17", "score"),  # an object's number
        ("0 0.5 0.5 0.2 0.2 -1.57", "score"),  # an angle
        ("0 0.5 0.5 0.2 0.2 0.83 1", "track id"),
        ("0,0.5,0.5,0.2,0.2", "number"),
        ("0 0,5 0,5 0,2 0,2", "number"),
        ("0;0.5;0.5;0.2;0.2", "number"),
        ("0 0.5 0.5 0 0.2", "degenerate"),
        ("0 0.5 0.5 -0.1 0.2", "degenerate"),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", "degenerate"),  # a flat polygon
    ],
)
def test_faulty_row_is_dropped_with_its_reason_and_line(row, reason):
    labels, problems = parse(f"0 0.5 0.5 0.2 0.2\n\n{row}\n")
    assert len(labels.boxes) == 1
    (problem,) = problems
    assert (problem.reason, problem.line, problem.action) == (reason, 3, "dropped")
    assert problem.value == row
    with pytest.raises(DataError, match=r"a\.txt:3"):
        refuse_problems(problems)


def test_box_past_the_border_is_clipped_and_reported():
    labels, problems = parse("0 0.1 0.5 0.4 0.2")
    np.testing.assert_allclose(labels.boxes, [[0.0, 0.4, 0.3, 0.6]])
    assert [(p.reason, p.action) for p in problems] == [("clipped", "clipped")]


@pytest.mark.parametrize(
    ("row", "box"),
    [
        # At x = 0 the edges from (-.3, .9) have come to y = .675 and y = .75, not to .9.
        ("0 -.3 .9 .5 .3 .5 .5", [0, 0.3, 0.5, 0.75]),
        # Two triangles and the way between them, there and back: one lies outside.
        ("0 .2 .2 .4 .2 .4 .4 .9 .9 1.1 .9 1.1 1.1 .9 .9 .4 .4", [0.2, 0.2, 1, 1]),
        ("0 .2 .2 .4 .2 .4 .4 .9 1.1 1.1 1.2 1.1 1.3 .9 1.1 .4 .4", [0.2, 0.2, 0.4, 0.4]),
        ("0 -.1 .2 .3 .2 .3 .4 -.1 .4", [0, 0.2, 0.3, 0.4]),  # a rectangle, as a box is
    ],
)
def test_a_polygon_past_the_border_has_the_box_of_what_is_inside(row, box):
    labels, problems = parse(row)
    np.testing.assert_allclose(labels.boxes, [box], atol=1e-12)
    assert labels.boxes.min() >= 0 and labels.boxes.max() <= 1
    assert [(p.reason, p.action) for p in problems] == [("clipped", "clipped")]


def test_a_polygon_around_a_corner_of_the_image_is_outside():
    labels, problems = parse("0 -.3 .2 .2 -.3 -.3 -.3\n0 -.2 .1 .1 -.2 -.2 -.2 -.2 .1")
    assert len(labels.boxes) == 0
    assert [(p.reason, p.action) for p in problems] == [("outside", "dropped")] * 2


def test_a_polygon_past_the_border_by_rounding_keeps_its_corners_to_the_bit():
    labels, problems = parse("0 -.000001 .9 .5 .3 .5 .5")
    assert problems == [] and labels.boxes.tolist() == [[0.0, 0.3, 0.5, 0.9]]


def test_rounding_past_the_border_is_clipped_in_silence():
    labels, problems = parse("0 0.500001 0.5 0.999999 1.000001")
    assert problems == []
    assert labels.boxes.min() >= 0 and labels.boxes.max() <= 1


def test_exact_duplicate_is_dropped_but_not_across_classes():
    labels, problems = parse("0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n")
    assert labels.labels.tolist() == [0, 1]
    assert [(p.reason, p.line) for p in problems] == [("duplicate", 3)]


def test_whole_number_written_as_float_is_a_class():
    assert parse("1.0 0.5 0.5 0.2 0.2")[0].labels.tolist() == [1]


KEYPOINTS = "0 0.5 0.5 0.2 0.3 0.45 0.40 0.50 0.50 0.55 0.60"
SEEN = "0 0.7 0.6 0.1 0.1 0.68 0.58 2 0.72 0.62 1"
TRIANGLE = "0 0.4 0.35 0.6 0.35 0.5 0.65"


def test_keypoints_that_the_dataset_announces_leave_the_box():
    form = RowForm(keypoints=6)
    labels, problems = parse_rows(f"{KEYPOINTS}\n1 0.5 0.5 0.2 0.4\n", FILE, 2, form)
    np.testing.assert_allclose(labels.boxes, [[0.4, 0.35, 0.6, 0.65], [0.4, 0.3, 0.6, 0.7]])
    assert (problems, labels.polygons) == ([], 0)
    _, problems = parse_rows(TRIANGLE, FILE, 2, form)
    assert [problem.reason for problem in problems] == ["keypoints"]


@pytest.mark.parametrize("row", [KEYPOINTS, SEEN])
def test_keypoints_that_nothing_announces_are_no_polygon(row):
    labels, problems = parse(f"{row}\n1 0.5 0.5 0.2 0.4\n")
    assert labels.labels.tolist() == [1]
    assert [problem.reason for problem in problems] == ["keypoints"]


def test_one_row_with_a_number_of_an_object_decides_for_all():
    """A last column of 0.5 could be a corner; 17 cannot."""
    _, problems = parse(f"{TRIANGLE}\n0 0.5 0.5 0.2 0.2 0.9 17\n")
    assert [problem.reason for problem in problems] == ["track id", "track id"]


@pytest.mark.parametrize(
    ("rows", "outlines"),
    [
        ([TRIANGLE], [True]),
        (["0 0.4 0.35 0.6 0.35 0.65 0.65 0.4 0.65"], [True]),
        (["0 0.4 0.35 0.6 0.35 0.6 0.65 0.4 0.65"], [False]),  # no more than its box
        (
            # Keypoints come in one number: among polygons of others this is a spike.
            [KEYPOINTS, TRIANGLE, "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "0 0 0 1 0 1 1 0 1 0 0"],
            [True, True, False, False],
        ),
    ],
)
def test_polygons_stay_polygons(rows, outlines):
    labels, problems = parse("\n".join(rows))
    assert (len(labels.boxes), problems) == (len(rows), [])
    assert [outline is not None for outline in labels.outlines] == outlines
    assert labels.polygons == sum(outlines)


def test_comments_tabs_and_exponents_are_read():
    labels, problems = parse("# by hand\r\n1\t5e-1\t.5\t2E-1\t0.4 # a scratch\r\n")
    np.testing.assert_allclose(labels.boxes, [[0.4, 0.3, 0.6, 0.7]])
    assert (labels.labels.tolist(), problems) == ([1], [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-16-be"])
def test_labels_in_another_encoding_are_said_as_such(tmp_path, encoding):
    file = tmp_path / "a.txt"
    file.write_bytes("0 0.5 0.5 0.2 0.2\n".encode(encoding))
    labels, (problem,) = read_labels(file, 1)
    assert len(labels.boxes) == 0 and problem.action == "dropped"
    assert encoding[:6].upper() in str(problem) and "save it as UTF-8" in str(problem)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.1 0.1 0.9", "score"),  # one row not understood
        ("0 0.5 0.5 0.2 0.2\n9 0.1 0.1 0.1 0.1", "class"),
        ("0 0.5 0.5 0 0.2", "degenerate"),  # all there was
        ("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0 0.2", None),  # a slip of the hand
        ("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2", None),  # nothing is lost
        ("0 0.1 0.5 0.4 0.2", None),  # clipped
        ("", None),
    ],
)
def test_an_image_is_left_out_rather_than_learned_without_what_was_drawn(text, reason):
    labels, problems = parse(text)
    found = reason_to_leave_out(len(labels.boxes), problems)
    assert (found.reason if found else None) == reason


@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n"])
def test_empty_file_is_a_good_part(text):
    labels, problems = parse(text)
    assert labels.boxes.shape == (0, 4) and labels.labels.shape == (0,)
    assert problems == []


def test_missing_file_is_a_good_part_and_a_folder_an_error(tmp_path):
    labels, problems = read_labels(tmp_path / "none.txt", 1)
    assert labels.boxes.shape == (0, 4) and problems == []
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(DataError, match=r"folder\.txt"):
        read_labels(tmp_path / "folder.txt", 1)


def test_byte_order_mark_and_binary_rubbish(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\r\n")
    assert len(read_labels(file, 1)[0].boxes) == 1
    file.write_bytes(b"\xff\xfe\x00\x89PNG\n")
    assert read_labels(file, 1)[1][0].action == "dropped"


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int64, (5, 4), elements=st.integers(0, 99_800_000)),
    st.lists(st.integers(0, 8), min_size=5, max_size=5),
)
def test_written_rows_come_back(tmp_path_factory, corners, classes):
    corners = corners / 1e8
    boxes = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )
    boxes[:, 2:] += 0.001
    labels = np.array(classes, np.int64)
    file = tmp_path_factory.mktemp("rows") / "a.txt"
    write_rows(file, boxes, labels)
    found, problems = read_labels(file, 9)
    repeated = [problem.line - 1 for problem in problems]
    assert all(problem.reason == "duplicate" for problem in problems)
    assert np.abs(found.boxes - np.delete(boxes, repeated, axis=0)).max() < 1e-7
    assert found.labels.tolist() == np.delete(labels, repeated).tolist()


def test_summary_counts_reasons_and_is_one_line():
    _, problems = parse("9 0.5 0.5 0.1 0.1\n0 0 0 0.5 0.5\n0 nan 0 0 0\n8 0.5 0.5 0.1 0.1\n")
    text = summarize(problems)
    assert "3 dropped" in text and "1 clipped" in text and "class 2" in text and "nan 1" in text
    assert "a.txt:1" in text and "\n" not in text
    assert summarize([]) == ""
    refuse_problems([])
