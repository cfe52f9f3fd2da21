"""Contact sheets: every picture whole, in its place."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.report.sheet import contact_sheet

SHAPES = [(200, 200), (50, 300), (300, 40), (1, 1), (640, 480)]
COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]


def pictures():
    return [np.full((*s, 3), c, dtype=np.uint8) for s, c in zip(SHAPES, COLORS, strict=True)]


def test_every_picture_keeps_its_shape_and_its_column():
    cell, gap = 100, 10
    page = contact_sheet(pictures(), [f"image {i}.png" for i in range(5)], columns=3, cell=cell)
    assert page.shape[1] == 3 * (cell + gap) + gap
    for i, ((height, width), color) in enumerate(zip(SHAPES, COLORS, strict=True)):
        ys, xs = np.nonzero((page == color).all(axis=2))
        scale = cell / max(height, width)
        assert np.ptp(xs) + 1 == max(1, round(width * scale))
        assert np.ptp(ys) + 1 == max(1, round(height * scale))
        left = gap + (i % 3) * (cell + gap)
        assert left <= xs.min() <= xs.max() < left + cell


def test_captions_take_room_below():
    plain = contact_sheet(pictures(), columns=5, cell=100)
    named = contact_sheet(pictures(), ["a very long name " * 9] * 5, columns=5, cell=100)
    assert named.shape[0] > plain.shape[0]
    assert named.shape[1] == plain.shape[1]
    ink = (named[-25:] < 128).all(axis=2)
    assert ink.any()
    assert not ink[:, :10].any()  # a long caption is cut, not spilled over the margin
    assert not ink[:, 110:120].any()


def test_wrong_counts_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
    with pytest.raises(ValueError, match="5 images, 2 captions"):
        contact_sheet(pictures(), ["a", "b"])
