"""Images under other light, blur and noise."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kdlnet.images.drift import changed
from kdlnet.images.letterbox import letterbox
from kdlnet.images.read import ImageArray
from kdlnet.metrics.drift import CHANGES, Change
from kdlnet.types import Preprocess, Tiling

SQUARE = Preprocess((64, 64), channels=1)


def _picture(height: int = 64, width: int = 64, most: int = 256) -> ImageArray:
    pixels = np.random.default_rng(1).integers(0, most, (height, width, 1))
    return pixels.astype(np.uint8 if most <= 256 else np.uint16)


def _after(image: ImageArray, preprocess: Preprocess, change: Change) -> ImageArray:
    pixels, geometry = letterbox(image, preprocess)
    kept = pixels.copy()
    result = changed(pixels[None], preprocess, [(geometry, None)], change)
    assert np.array_equal(pixels, kept) and result.dtype == pixels.dtype
    return result[0]


def test_light_multiplies_what_is_above_black_up_to_white() -> None:
    image = _picture()
    found = _after(image, SQUARE, Change("", light=1.4))
    np.testing.assert_array_equal(found, np.minimum(np.round(image * np.float32(1.4)), 255))
    window = replace(SQUARE, window=(1000.0, 3000.0), depth=16)
    deep = _picture(most=4096)
    found = _after(deep, window, Change("", light=0.5))
    wanted = np.clip(1000 + (deep.astype(float) - 1000) / 2, 0, None)
    assert np.abs(found - wanted).max() <= 0.5


def test_a_change_of_nothing_changes_nothing() -> None:
    for image in (_picture(), _picture(most=4096)):
        contract = replace(SQUARE, window=(100.0, 200.0), depth=8 * image.itemsize)
        found = _after(image, contract, Change(""))
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
@pytest.mark.parametrize("size", [(40, 64), (64, 30), (20, 200)])
def test_the_padding_stays_and_all_of_the_image_changes(
    size: tuple[int, int], change: Change
) -> None:
    image = np.random.default_rng(2).integers(100, 181, (*size, 1)).astype(np.uint8)
    found = _after(image, SQUARE, change)
    before, _ = letterbox(image, SQUARE)
    whole, _ = letterbox(np.full((*size, 1), 255, np.uint8), SQUARE)
    padding = whole == 114
    assert 0 < padding.mean() < 1
    np.testing.assert_array_equal(found[padding], before[padding])
    assert (found != before)[~padding].mean() > 0.5
    # No shade of the padding comes in at the edge.
    if change.blur:
        rows = np.flatnonzero(~padding[:, 32, 0])
        assert found[rows].min() >= 100 and found[rows].max() <= 180


def test_tiles_change_all_over() -> None:
    tiled = replace(SQUARE, tiling=Tiling((64, 64), 0.2))
    image, tile = _picture(200, 150), (86, 100, 150, 164)
    pixels, geometry = letterbox(image, tiled, tile)
    found = changed(pixels[None], tiled, [(geometry, tile)], Change("", light=0.5))[0]
    np.testing.assert_array_equal(found, np.round(pixels * np.float32(0.5)))


@pytest.mark.parametrize("tile", [(0, 0, 100, 50), (100, 100, 200, 150)])
def test_the_padding_of_a_tile_stays(tile: tuple[int, int, int, int]) -> None:
    """Tiles twice as wide as high in a square input: above and below are 16 rows of padding."""
    tiled = replace(SQUARE, tiling=Tiling((50, 100), 0.2))
    pixels, geometry = letterbox(np.full((400, 400, 1), 200, np.uint8), tiled, tile)
    for change in (Change("", light=0.5), Change("", light=0.5, blur=2.0)):
        found = changed(pixels[None], tiled, [(geometry, tile)], change)[0]
        assert (found[:16] == 114).all() and (found[48:] == 114).all()
        assert (found[16:48] == 100).all()


def test_blur_is_a_gaussian_and_noise_is_normal() -> None:
    image = _picture()
    found = _after(image, SQUARE, Change("", blur=1.0))
    wanted = cv2.GaussianBlur(image, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
    assert np.abs(found[..., 0].astype(int) - wanted).max() <= 1
    grey = np.full((64, 64, 1), 128, np.uint8)
    found = _after(grey, SQUARE, Change("", noise=0.03))
    added = found.astype(float) - 128
    assert abs(added.std() / (0.03 * 255) - 1) < 0.05 and abs(added.mean()) < 0.5
    again = _after(grey, SQUARE, Change("", noise=0.03))
    np.testing.assert_array_equal(again, found)
