"""Defects drawn on photographs: they darken what they cover and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.curation.synth.onto import SHAPES, draw_onto

SIZE = (120, 160)


def photo(channels: int = 1, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(0)
    level = 0.5 * np.iinfo(dtype).max
    return rng.normal(level, level / 25, (*SIZE, channels)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_changes_its_box_alone(shape: str) -> None:
    part = photo()
    drawn = [draw_onto(part, 3, index, [shape]) for index in range(20)]
    assert sum(len(each.boxes) for each in drawn) >= 20
    for each in drawn:
        outside, inside = np.ones(SIZE, bool), []
        for x1, y1, x2, y2 in each.boxes.astype(int):
            assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
            assert max(x2 - x1, y2 - y1) >= 6 and min(x2 - x1, y2 - y1) >= 2
            inside.append(each.image[y1:y2, x1:x2] != part[y1:y2, x1:x2])
            # Soft edges reach a little over the box, which goes around what can be seen.
            outside[max(y1 - 6, 0) : y2 + 6, max(x1 - 6, 0) : x2 + 6] = False
        assert all(changed.any() for changed in inside)
        np.testing.assert_array_equal(each.image[outside], part[outside])
        for box, outline in zip(each.boxes, each.outlines, strict=True):
            assert [*outline.min(axis=0), *outline.max(axis=0)] == box.tolist()
    assert {label for each in drawn for label in each.labels.tolist()} == {0}


def test_the_same_key_draws_the_same_and_leaves_the_photograph() -> None:
    part = photo(3)
    before = part.copy()
    first, again = (draw_onto(part, 5, 7, list(SHAPES)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    np.testing.assert_array_equal(part, before)
    assert not np.array_equal(draw_onto(part, 5, 8, list(SHAPES)).image, first.image)
    assert not np.array_equal(draw_onto(part, 6, 7, list(SHAPES)).image, first.image)


def test_depth_and_colours_of_the_photograph_stay() -> None:
    for channels, dtype in ((1, np.uint8), (3, np.uint8), (1, np.uint16)):
        part = photo(channels, dtype)
        drawn = draw_onto(part, 0, 1, ["hole"]).image
        assert drawn.shape == part.shape and drawn.dtype == part.dtype
        darkest = np.unravel_index(drawn.astype(int).sum(2).argmin(), SIZE)
        # Light is taken: all channels fall by the same share.
        share = drawn[darkest] / part[darkest]
        assert share.max() < 0.8 and np.ptp(share) < 0.02


def test_defects_grow_with_the_photograph() -> None:
    def side(scale: int) -> float:
        part = np.full((256 * scale, 256 * scale, 1), 128, np.uint8)
        boxes = np.concatenate([draw_onto(part, 0, i, ["hole"]).boxes for i in range(40)])
        return float(np.median(boxes[:, 2:] - boxes[:, :2]))

    assert side(3) == pytest.approx(3 * side(1), rel=0.35)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_photograph_smaller_than_a_defect_is_no_error(shape: str) -> None:
    part = np.full((12, 12, 1), 128, np.uint8)
    for index in range(10):
        boxes = draw_onto(part, 0, index, [shape]).boxes
        assert boxes.size == 0 or (boxes.min() >= 0 and boxes.max() <= 12)
