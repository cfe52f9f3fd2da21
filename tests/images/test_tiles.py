"""Tiles of large images: the grid, targets cut to it, and detections merged into whole objects."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlnet.images.letterbox import letterbox
from kdlnet.images.tiles import cut_boxes, least_visible, merge_tiles, tile_grid
from kdlnet.ops.limits import VOTERS
from kdlnet.types import DetectionArrays, Preprocess, Tiling

overlaps = st.sampled_from([0.0, 0.1, 0.2, 0.35, 0.5])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900), st.integers(1, 900), st.integers(32, 300), st.integers(32, 300), overlaps
)
def test_tiles_cover_without_slivers_and_overlap_enough(height, width, rows, columns, overlap):
    tiles = tile_grid((height, width), Tiling((rows, columns), overlap))
    seen = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in tiles:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert (y2 - y1, x2 - x1) == (min(rows, height), min(columns, width))
        seen[y1:y2, x1:x2] = True
    assert seen.all() and len(set(tiles)) == len(tiles)
    for axis, side in ((0, columns), (1, rows)):
        starts = sorted({tile[axis] for tile in tiles})
        assert all(a + side - b >= overlap * side for a, b in pairwise(starts))


def test_no_more_tiles_than_it_takes():
    # 1000 - 320 = 680 pixels to go in steps of at most 256: three of them.
    assert [tile[0] for tile in tile_grid((320, 1000), Tiling((320, 320)))] == [0, 227, 453, 680]
    assert tile_grid((200, 320), Tiling((320, 320))) == [(0, 0, 320, 200)]
    assert len(tile_grid((10_000, 10_000), Tiling((640, 640)))) == 20 * 20


def test_an_object_is_a_target_where_enough_of_it_is_visible():
    boxes = np.array(
        [[90.0, 10, 110, 20], [97, 10, 117, 20], [120, 10, 130, 20], [-500, 40, 900, 44]]
    )
    inside, rows = cut_boxes(boxes, (0, 0, 100, 100), 0.3)
    # Half of the first, 3 of 20 pixels of the second, nothing of the third. Of the scratch across
    # many tiles all that a tile can show.
    assert rows.tolist() == [0, 3]
    assert inside.tolist() == [[90, 10, 100, 20], [0, 40, 100, 44]]
    assert cut_boxes(boxes[:0], (0, 0, 100, 100), 0.3)[0].shape == (0, 4)


def test_a_box_on_a_crossing_is_a_target_where_most_of_it_is_seen():
    """A quarter is in each of four tiles, or a little more in the last: none reaches 0.3."""
    tiles = tile_grid((200, 200), Tiling((100, 100), 0.0))
    boxes = np.array([[90.0, 90, 110, 110], [91, 91, 111, 111], [10, 10, 30, 30]])
    least = least_visible(boxes, tiles, 0.3)
    np.testing.assert_allclose(least, [0.25, 0.3, 0.3])
    kept = [cut_boxes(boxes, tile, least)[1].tolist() for tile in tiles]
    assert kept == [[0, 2], [0], [0], [0, 1]]
    assert least_visible(boxes[:0], tiles, 0.3).shape == (0,)


def test_a_scratch_is_a_target_in_the_tiles_it_crosses():
    scratch = np.array([[20.0, 30, 980, 34]])
    kept = [
        len(cut_boxes(scratch, tile, 0.3)[1])
        for tile in tile_grid((100, 1000), Tiling((100, 100), 0.0))
    ]
    assert kept == [1] * 10


def found(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray | None = None
) -> DetectionArrays:
    scores = np.full(len(boxes), 0.5) if scores is None else scores
    return DetectionArrays(boxes.reshape(-1, 4), scores, labels)


def oracle(boxes, labels, scores, tiles) -> list[DetectionArrays]:
    """A detector that sees in each tile exactly the parts of the true boxes inside."""
    parts = []
    for tile in tiles:
        inside, rows = cut_boxes(boxes, tile, 1e-9)
        order = np.argsort(-scores[rows])
        parts.append(found(inside[order], labels[rows][order], scores[rows][order]))
    return parts


@st.composite
def scenes(draw):
    """An image size, tiles, and boxes: those of a class are apart, classes overlap freely."""
    size = draw(st.integers(40, 700)), draw(st.integers(40, 700))
    tiling = Tiling((draw(st.integers(64, 200)), draw(st.integers(64, 200))), draw(overlaps))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    boxes, labels = [], []
    for _ in range(draw(st.integers(0, 30))):
        label = random.integers(2)
        wide, high = np.exp(random.uniform(np.log(3), np.log(400), 2))
        x, y = random.uniform(0, size[1]), random.uniform(0, size[0])
        box = np.array([x, y, min(x + wide, size[1]), min(y + high, size[0])])
        grown = box + np.array([-8, -8, 8, 8])
        apart = all(
            (grown[2:] <= other[:2]).any() or (grown[:2] >= other[2:]).any()
            for other, kind in zip(boxes, labels, strict=True)
            if kind == label
        )
        if apart and (box[2:] - box[:2] >= 2).all():
            boxes.append(box)
            labels.append(label)
    scores = random.uniform(0.1, 1, len(boxes))
    return size, tiling, np.array(boxes).reshape(-1, 4), np.array(labels, np.int64), scores


@settings(max_examples=120, deadline=None)
@given(scenes())
def test_true_boxes_cut_to_tiles_come_back_as_the_truth(scene):
    size, tiling, boxes, labels, scores = scene
    tiles = tile_grid(size, tiling)
    merged = merge_tiles(oracle(boxes, labels, scores, tiles), tiles)
    order = np.argsort(-scores)
    assert merged.scores == pytest.approx(scores[order])
    assert merged.labels.tolist() == labels[order].tolist()
    np.testing.assert_allclose(merged.boxes, boxes[order], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(0, 99))
def test_boxes_that_are_a_little_off_are_neither_doubled_nor_lost(scene, seed):
    """Objects that some tile shows whole; each view has its own error of up to 2 pixels."""
    size, _, boxes, labels, scores = scene
    tiling, random = Tiling((200, 200), 0.5), np.random.default_rng(seed)
    small = (boxes[:, 2:] - boxes[:, :2] < 90).all(axis=1) & (boxes[:, 2:] - boxes[:, :2] > 20).all(
        axis=1
    )
    boxes, labels, scores = boxes[small], labels[small], scores[small]
    tiles = tile_grid(size, tiling)
    parts = oracle(boxes, labels, scores, tiles)
    noisy = []
    for part, (x1, y1, x2, y2) in zip(parts, tiles, strict=True):
        moved = part.boxes + random.uniform(-2, 2, part.boxes.shape)
        keep = (part.boxes[:, 2:] - part.boxes[:, :2] > 8).all(axis=1)
        moved = np.clip(moved, (x1, y1, x1, y1), (x2, y2, x2, y2))[keep]
        noisy.append(found(moved, part.labels[keep], part.scores[keep]))
    merged = merge_tiles(noisy, tiles)
    assert len(merged) == len(boxes)
    order = np.argsort(-scores)
    np.testing.assert_allclose(merged.boxes, boxes[order], atol=2.1)


def test_neighbours_of_one_class_stay_two():
    """Both lie in what two tiles share, 3 pixels apart; one of them is cut in each tile."""
    tiling = Tiling((100, 100), 0.2)
    tiles = tile_grid((100, 180), tiling)
    boxes = np.array([[60.0, 10, 89, 40], [92, 10, 130, 40]])
    labels, scores = np.array([0, 0]), np.array([0.9, 0.8])
    merged = merge_tiles(oracle(boxes, labels, scores, tiles), tiles)
    np.testing.assert_allclose(merged.boxes, boxes)


def test_a_piece_inside_a_better_box_is_left_out_and_a_small_whole_one_stays():
    tiles = [(0, 0, 100, 100), (80, 0, 180, 100)]
    whole = found(np.array([[40.0, 20, 95, 80]]), np.array([0]), np.array([0.9]))
    piece = found(np.array([[80.0, 40, 92, 60]]), np.array([0]), np.array([0.3]))
    assert len(merge_tiles([whole, piece], tiles)) == 1
    assert len(merge_tiles([piece, whole], [tiles[1], tiles[0]])) == 1
    inner = found(np.array([[84.0, 40, 92, 60]]), np.array([0]), np.array([0.3]))
    assert len(merge_tiles([whole, inner], tiles)) == 2  # not cut: an object of its own


def test_empty_tiles_and_a_single_one():
    none = found(np.zeros((0, 4)), np.zeros(0, np.int64))
    one = found(np.array([[1.0, 2, 3, 4]]), np.array([1]))
    assert merge_tiles([one], [(0, 0, 9, 9)]) is one and merge_tiles([one], [None]) is one
    assert len(merge_tiles([none, none], [(0, 0, 9, 9), (5, 0, 14, 9)])) == 0
    merged = merge_tiles([none, one], [(0, 0, 9, 9), (0, 5, 9, 14)])
    assert len(merged) == 0  # it lies outside of its tile


def test_the_best_boxes_are_kept():
    boxes = np.array([[10.0 * n, 0, 10 * n + 5, 9] for n in range(8)])
    parts = [found(boxes, np.zeros(8, np.int64), np.linspace(0.1, 0.8, 8))] * 2
    tiles = [(0, 0, 90, 9), (0, 0, 90, 9)]
    merged = merge_tiles(parts, tiles, max_detections=3)
    assert merged.scores.tolist() == pytest.approx([0.8, 0.7, 0.6])


@pytest.mark.parametrize("size", [(320, 320), (96, 200), (700, 500)])
def test_a_tile_is_the_crop_at_one_scale_and_boxes_come_back(size):
    random = np.random.default_rng(0)
    image = random.integers(0, 65535, (*size, 1), np.uint16)
    contract = Preprocess((64, 64), 1, (0.0, 65535.0), depth=16, tiling=Tiling((128, 128)))
    for tile in tile_grid(size, contract.tiling):
        x1, y1, x2, y2 = tile
        pixels, geometry = letterbox(image, contract, tile)
        assert pixels.shape == (64, 64, 1) and geometry.original_size == size
        assert geometry.scale == pytest.approx((0.5, 0.5), rel=0.02)  # also where the image ends
        box = np.array([[x1 + 1.0, y1 + 2, x2 - 3, y2 - 4]])
        inside = geometry.to_input(box)
        assert inside.min() >= 0 and inside.max() <= 64
        assert np.allclose(geometry.to_original(inside), box)
    exact = Preprocess((128, 128), 1, (0.0, 65535.0), depth=16, tiling=Tiling((128, 128)))
    tile = tile_grid((700, 500), Tiling((128, 128)))[7]
    if size == (700, 500):
        pixels, _ = letterbox(image, exact, tile)
        assert np.array_equal(pixels, image[tile[1] : tile[3], tile[0] : tile[2]])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.25, 0.5]))
def test_what_scores_too_little_to_have_a_say_moves_nothing(seed, threshold):
    """Val sees all boxes and predict those from VOTERS of its threshold on: the same above it."""
    random = np.random.default_rng(seed)
    tiles = tile_grid((160, 160), Tiling((100, 100), 0.4))
    objects = random.uniform(0, 110, (4, 2))
    objects = np.column_stack((objects, objects + random.uniform(20, 50, (4, 2))))
    everything = []
    for x1, y1, x2, y2 in tiles:
        boxes = objects[random.integers(0, 4, 8)] + random.normal(0, 6, (8, 4))
        boxes = np.clip(boxes, (x1, y1, x1, y1), (x2, y2, x2, y2))
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        scores = random.uniform(0, 1, len(boxes)) ** 2
        everything.append(found(boxes, random.integers(0, 2, len(boxes)), scores))
    whole = merge_tiles(everything, tiles)
    few = merge_tiles([part[part.scores >= VOTERS * threshold] for part in everything], tiles)
    assert_same_boxes(whole[whole.scores >= threshold], few[few.scores >= threshold])


def assert_same_boxes(one: DetectionArrays, other: DetectionArrays) -> None:
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.labels, other.labels)
