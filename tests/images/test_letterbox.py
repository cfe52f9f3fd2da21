from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlnet.images.letterbox import letterbox
from kdlnet.types import DetectionArrays, Preprocess


def test_wide_image_is_centred_between_bars_of_the_fill():
    # 100x200 into 64x64: scale 0.32, 32 rows of picture, 16 rows of fill above and below.
    image = np.full((100, 200, 3), 7, np.uint8)
    result, geometry = letterbox(image, Preprocess((64, 64)))
    assert result.shape == (64, 64, 3)
    assert (result[:16] == 114).all() and (result[48:] == 114).all()
    assert (result[16:48] == 7).all()
    assert geometry.scale == (0.32, 0.32)
    assert geometry.offset == (0.0, 16.0)
    assert geometry.original_size == (100, 200)
    assert geometry.input_size == (64, 64)


def test_small_image_is_enlarged_and_odd_bars_go_below():
    image = np.full((10, 31, 1), 50, np.uint8)
    result, geometry = letterbox(image, Preprocess((64, 64), channels=1))
    # Scale 64/31: 20.6 rounds to 21 rows, 43 rows of fill, 21 above and 22 below.
    assert geometry.offset == (0.0, 21.0)
    assert geometry.scale == (64 / 31, 2.1)
    assert (result[21:42] == 50).all()
    assert result[20, 0, 0] == 114 and result[42, 0, 0] == 114


def test_sixteen_bit_fill_follows_the_window():
    preprocess = Preprocess((32, 32), channels=1, window=(1000.0, 4000.0), pad=0.5, depth=16)
    result, _ = letterbox(np.zeros((32, 16, 1), np.uint16), preprocess)
    assert result.dtype == np.uint16
    assert result[0, 0, 0] == 2500
    # A window beyond the file's range must not wrap around.
    result, _ = letterbox(np.zeros((32, 16, 1), np.uint8), preprocess)
    assert result[0, 0, 0] == 255


def test_image_of_the_right_size_is_returned_as_it_is():
    image = np.zeros((32, 64, 3), np.uint8)
    result, geometry = letterbox(image, Preprocess((32, 64)))
    assert result is image
    assert geometry.scale == (1.0, 1.0) and geometry.offset == (0.0, 0.0)


def test_corner_marks_land_where_the_geometry_says():
    image = np.zeros((40, 80, 1), np.uint8)
    image[30:40, 60:80] = 255
    result, geometry = letterbox(image, Preprocess((128, 96), channels=1))
    x1, y1, x2, y2 = geometry.to_input(np.array([[60, 30, 80, 40]]))[0].round().astype(int)
    inside = result[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1]
    assert inside.size and (inside == 255).all()
    assert (result[y1 + 1 : y2 - 1, : x1 - 2] < 5).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([(32, 32), (64, 96), (160, 32)]))
def test_any_size_fits_and_boxes_come_back(height, width, size):
    result, geometry = letterbox(np.zeros((height, width, 1), np.uint8), Preprocess(size))
    assert result.shape == (*size, 1)
    box = np.array([[0.0, 0.0, width, height]])
    inside = geometry.to_input(box)
    assert inside.min() >= 0
    assert inside[0, 2] <= size[1] + 1e-6 and inside[0, 3] <= size[0] + 1e-6
    assert np.allclose(geometry.to_original(inside), box)


@pytest.mark.parametrize("channels", [1, 3])
def test_shrinking_averages_instead_of_skipping(channels):
    # Thin lines every second pixel must become an even grey, not survive or vanish.
    image = np.zeros((128, 128, channels), np.uint8)
    image[:, ::2] = 200
    result, _ = letterbox(image, Preprocess((32, 32)))
    assert result.min() >= 95 and result.max() <= 105


def test_boxes_in_the_padding_are_no_detections():
    # 100x200 into 64x64: the picture fills rows 16 to 48; a box ends where the picture begins.
    _, geometry = letterbox(np.zeros((100, 200, 3), np.uint8), Preprocess((64, 64)))
    boxes = np.array([[5, 2, 20, 16], [5, 50, 20, 60], [5, 10, 20, 32]], np.float32)
    found = DetectionArrays(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 2]))
    kept = geometry.detections(found)
    assert kept.labels.tolist() == [2]
    np.testing.assert_allclose(kept.boxes, [[15.625, 0, 62.5, 50]])
    assert kept.scores.tolist() == pytest.approx([0.7])
