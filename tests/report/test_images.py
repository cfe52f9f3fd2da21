"""From camera pixels to pictures and files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kdlnet.errors import KdlnetError
from kdlnet.report.images import enlarge, enlargement, save_image, to_display


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_every_shape_becomes_a_fresh_colour_picture(shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    before = image.copy()
    shown = to_display(image)
    assert shown.shape == (4, 6, 3)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[:, :, 0], image if image.ndim == 2 else image[:, :, 0])
    shown[:] = 0
    np.testing.assert_array_equal(image, before)


def test_deep_images_are_shown_by_their_window():
    ramp = np.array([[0, 1000, 2000, 3000, 4095]], dtype=np.uint16)
    # Window 1000-3000: 2000 is its middle, what lies outside is clipped.
    assert to_display(ramp, (1000.0, 3000.0))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert to_display(ramp)[0, [0, -1], 0].tolist() == [0, 255]  # its own range
    flat = np.full((2, 2), 700, dtype=np.uint16)
    assert to_display(flat).max() == 0  # no division by zero


def test_small_images_are_enlarged_by_whole_factors():
    assert enlargement(200, 200) == 2
    assert enlargement(150, 500) == 3
    assert enlargement(2000, 3000) == enlargement(400, 4000) == 1
    assert enlargement(1, 1) == 400
    assert enlargement(10, 3000) == 1  # a strip must not grow without end
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert enlarge(image, 3).shape == (6, 6, 3)
    np.testing.assert_array_equal(enlarge(image, 3)[1::3, 1::3], image)
    for factor in (1, 2, 7, 49, 400):  # 49 * (1 / 49) is a little less than 1
        wanted = image.repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_array_equal(enlarge(image, factor), wanted)


@pytest.mark.parametrize("name", ["Größe 划痕.png", "a.jpg"])
def test_saves_rgb_under_any_name(tmp_path, name):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[:, :, 0] = 200  # red
    save_image(tmp_path / name, image)
    data = np.frombuffer((tmp_path / name).read_bytes(), dtype=np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert abs(int(bgr[5, 5, 2]) - 200) < 6
    assert bgr[5, 5, 0] < 6


def test_an_unknown_suffix_is_one_line(tmp_path):
    with pytest.raises(KdlnetError, match=r"'\.xyz'; use \.png or \.jpg"):
        save_image(tmp_path / "a.xyz", np.zeros((2, 2, 3), np.uint8))
