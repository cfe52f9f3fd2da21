from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdlnet.data.labels import parse_rows, read_labels, refuse_problems, summarize, write_rows
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
        ("0 0.5 0.5 0.2 0.2 0.9", "columns"),  # a score: predictions are no labels
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
