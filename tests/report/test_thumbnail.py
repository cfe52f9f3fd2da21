"""Pictures of a page: small enough, grey where grey, deep images stretched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kdlnet.report.thumbnail import fitting_side, shrink, thumbnail


def noise(height, width, channels=1):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (height, width, channels)).astype(np.uint8)


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    ("shape", "expected"), [((200, 100), (50, 25)), ((40, 30), (40, 30)), ((1, 900), (1, 50))]
)
def test_sides(shape, expected):
    assert shrink(np.zeros((*shape, 3), np.uint8), 50).shape == (*expected, 3)


def test_grey_stays_grey_and_colour_colour():
    assert decoded(thumbnail(np.repeat(noise(60, 80), 3, axis=2), 40)).shape == (30, 40)
    red = np.zeros((60, 80, 3), np.uint8)
    red[:, :, 0] = 255
    assert decoded(thumbnail(red, 40))[15, 20].tolist() == pytest.approx([0, 0, 255], abs=3)  # BGR


def test_twelve_bits_are_stretched_to_what_can_be_seen():
    ramp = np.linspace(0, 4095, 256).astype(np.uint16).reshape(1, 256, 1).repeat(64, axis=0)
    seen = decoded(thumbnail(ramp, 256))
    assert seen.min() < 5
    assert seen.max() > 250


def test_the_page_is_as_large_as_allowed():
    samples = [noise(700, 900), noise(900, 700)]
    sides = [fitting_side(samples, 100, megabytes) for megabytes in (2, 20, 1e6)]
    assert sides == sorted(sides)
    assert sides[0] < sides[1] < sides[2] == 1600
    for side, megabytes in zip(sides[:2], (2, 20), strict=True):
        total = sum(len(thumbnail(image, side)) for image in samples) * 50 * 4 / 3
        assert total <= megabytes * 1e6
    assert fitting_side(samples, 100, 1e-9) == 96
