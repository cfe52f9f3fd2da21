"""Outlines: along the edges of what is marked, kept by label files, and in the network's frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.data.labels import read_labels, write_rows
from kdlnet.data.outlines import Outline, cut, outline_around, rings_of, stretched, tells_more
from kdlnet.types import Preprocess, Tiling


def _inside(outline: Outline, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre is inside, by the parity of the edges to their right."""
    y, x = (np.indices(size) + 0.5).reshape(2, -1)
    within = np.zeros(len(x), bool)
    for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        crossed = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            within ^= crossed & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return within.reshape(size)


def _filled(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without holes: all that the outside does not reach, which passes no corner."""
    around = (~np.pad(marked, 1)).astype(np.uint8)
    regions = cv2.connectedComponents(around, connectivity=4)[1]
    return np.asarray((regions != regions[0, 0])[1:-1, 1:-1])


@settings(max_examples=150, deadline=None)
@given(st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size)))
def test_an_outline_goes_around_the_marked_pixels(marked: NDArray[np.bool_]) -> None:
    if not marked.any():
        return
    outline = outline_around(marked)
    np.testing.assert_array_equal(_inside(outline, marked.shape), _filled(marked))
    rows, columns = np.nonzero(marked)
    assert outline.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert outline.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]


def test_an_upright_rectangle_tells_no_more_than_its_box() -> None:
    rectangle = np.array([[1.0, 1], [5, 1], [5, 3], [1, 3]])
    assert not tells_more(rectangle) and not tells_more(rectangle[[2, 3, 0, 1, 2]])
    assert tells_more(rectangle[:3])  # a triangle
    assert tells_more(np.array([[3.0, 0], [5, 2], [3, 4], [1, 2]]))
    assert tells_more(np.insert(rectangle, 1, [3.0, 2], axis=0))  # a notch


def test_pieces_and_the_lines_between_them_come_apart() -> None:
    marked = np.zeros((20, 20), bool)
    marked[2:5, 2:5] = marked[10:12, 12:18] = marked[15:18, 3:5] = True
    rings = rings_of(outline_around(marked))
    hulls = {(*ring.min(axis=0), *ring.max(axis=0)) for ring in rings}
    assert hulls == {(2, 2, 5, 5), (12, 10, 18, 12), (3, 15, 5, 18)}
    many = np.zeros((90, 90), bool)
    many[::2, ::2] = True
    assert len(rings_of(outline_around(many))) == 45 * 45
    alone = np.array([[0.0, 0], [4, 1], [2, 5], [2, 5]])
    assert [ring.tolist() for ring in rings_of(alone)] == [alone[:3].tolist()]
    spur = np.array([[0.0, 0], [4, 1], [9, 9], [4, 1], [2, 5]])  # a corner too far and back
    assert [ring.tolist() for ring in rings_of(spur)] == [[[0, 0], [4, 1], [2, 5]]]
    line = np.array([[0.0, 0], [4, 1], [9, 9], [4, 1]])
    assert len(rings_of(line)) == 1


def test_what_a_border_cuts_off_is_gone() -> None:
    triangle = np.array([[60.0, 10], [90, 40], [60, 40]])
    left = cut(triangle, (0, 0, 70, 100))
    assert set(map(tuple, left.tolist())) == {(60, 10), (70, 20), (70, 40), (60, 40)}
    np.testing.assert_array_equal(cut(triangle, (0, 0, 100, 100)), triangle)
    assert len(cut(triangle, (0, 0, 50, 100))) == 0
    # A piece that has all of its corners outside.
    middle = cut(triangle, (62, 20, 66, 30))
    np.testing.assert_allclose([*middle.min(axis=0), *middle.max(axis=0)], [62, 20, 66, 30])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=8))
def test_a_cut_outline_holds_what_both_hold(corners: list[tuple[int, int]]) -> None:
    # No edge goes through the centre of a pixel, not along a diagonal either.
    shifts = np.arange(1, len(corners) + 1)[:, None] * (0.0137, 0.0291)
    outline, size = np.array(corners) + shifts, (10, 10)
    window = np.zeros(size, bool)
    window[2:7, 3:8] = True
    inside = cut(outline, (3, 2, 8, 7))
    found = _inside(inside, size) if len(inside) else np.zeros(size, bool)
    np.testing.assert_array_equal(found, _inside(outline, size) & window)


def test_stretching_fills_the_box_exactly() -> None:
    fitted = stretched(np.array([[1.0, 1], [4, 1], [2, 3]]), (0.7, 0.9, 4.1, 3.3))
    assert [*fitted.min(axis=0), *fitted.max(axis=0)] == [0.7, 0.9, 4.1, 3.3]


# A fifth of an image: many corners on the border, the numbers that visibilities have too.
corner = st.tuples(st.integers(0, 5), st.integers(0, 5))


@settings(max_examples=300, deadline=None)
@given(st.lists(corner, min_size=3, max_size=9, unique=True))
def test_a_written_polygon_comes_back_with_its_box(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[int, int]]
) -> None:
    outline = np.array(corners, np.float64) / 5
    box = np.concatenate((outline.min(axis=0), outline.max(axis=0)))
    if not (box[:2] < box[2:]).all():
        return
    file = tmp_path_factory.mktemp("rows") / "a.txt"
    write_rows(file, box[None], np.array([3]), [outline if tells_more(outline) else None])
    labels, problems = read_labels(file, 4)
    assert problems == []
    np.testing.assert_allclose(labels.boxes, box[None], atol=1e-7)
    drawn = labels.outlines[0]
    if tells_more(outline):
        assert drawn is not None and set(map(tuple, drawn.round(7))) == set(map(tuple, outline))
    else:
        assert drawn is None


def _dataset(folder: Path, row: str, preprocess: Preprocess) -> DetectionDataset:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((50, 100), np.uint8))
    (folder / "labels" / "a.txt").write_text(row)
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
    return DetectionDataset(load_split(find_dataset(str(folder)), "train"), preprocess)


def test_outlines_lie_where_the_letterbox_puts_the_image(tmp_path: Path) -> None:
    """100x50 in 64x64: scaled by 0.64, 16 pixels of padding above. A box has no outline."""
    rows = "0 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.4 0.2 0.4 0.6\n"
    dataset = _dataset(tmp_path, rows, Preprocess((64, 64), 1))
    assert dataset.outlines[0] == ()
    wanted = [[12.8, 22.4], [25.6, 22.4], [25.6, 35.2]]
    (ring,) = dataset.outlines[1]
    np.testing.assert_allclose(sorted(ring.tolist()), wanted, rtol=1e-6)
    np.testing.assert_allclose(dataset.boxes[1], [12.8, 22.4, 25.6, 35.2], rtol=1e-6)
    nothing, drawn = dataset.drawn(0)
    assert nothing is None and drawn is not None
    np.testing.assert_allclose(sorted(drawn.tolist()), [[20, 10], [40, 10], [40, 30]])


def test_outlines_are_cut_as_their_boxes_are(tmp_path: Path) -> None:
    """By the borders of tiles, 50x64 and 50x36, and of the image."""
    preprocess = Preprocess((64, 64), 1, tiling=Tiling((64, 64), 0.0))
    rows = "1 0.2 0.2 0.9 0.2 0.9 0.6\n0 0.5 0.7 1.5 0.7 1.0 0.9\n"
    dataset = _dataset(tmp_path, rows, preprocess)
    assert len(dataset.samples) == 2 and len(dataset.boxes) >= 3
    for box, rings in zip(dataset.boxes.tolist(), dataset.outlines, strict=True):
        (ring,) = rings
        assert (ring.min(axis=0) >= np.array(box[:2]) - 1e-5).all()
        assert (ring.max(axis=0) <= np.array(box[2:]) + 1e-5).all()
