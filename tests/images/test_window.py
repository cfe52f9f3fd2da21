"""Which intensities become 0 and 1: measured on a training set, and carried to another depth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data.cache import ImageStore
from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.labels import ImageLabels, Split
from kdlnet.errors import DataError
from kdlnet.images.window import depth_line, fit_depth, image_depth, measured_window
from kdlnet.inference.torch_engine import to_input
from kdlnet.types import Preprocess


def files(folder: Path, *images: np.ndarray) -> list[Path]:
    paths = [folder / f"{n}.png" for n in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image)
    return paths


def spread(low: int, high: int, dtype: type = np.uint16) -> np.ndarray:
    return np.linspace(low, high, 64 * 64).astype(dtype).reshape(64, 64)


@pytest.mark.parametrize(
    ("low", "high", "window"),
    [
        (0, 1023, (0, 1023)),  # a camera of 10 bits
        (100, 3000, (0, 4095)),  # of 12: all that it can write
        (0, 255, (0, 255)),  # 8 bits in files of 16
        (0, 65535, (0, 65535)),
        (60, 1500, (0, 2047)),  # 11 bits hold it: at most a bit is lost to a dark set
    ],
)
def test_the_window_is_the_range_of_the_camera(tmp_path, low, high, window):
    assert measured_window(files(tmp_path, spread(low, high))) == (window, 16)


def test_a_narrow_set_gets_its_percentiles_with_room(tmp_path):
    # From 20000 to 24000 of 32767: half of the distance is left on either side.
    (low, high), depth = measured_window(files(tmp_path, spread(20000, 24000)))
    assert depth == 16 and (low, high) == pytest.approx((18000, 26000), abs=20)


def test_a_region_of_interest_is_measured_alone(tmp_path):
    image = np.full((200, 200), 65535, np.uint16)
    image[40:104, 100:164] = spread(100, 3000)
    assert measured_window(files(tmp_path, image)) == ((0, 65535), 16)
    assert measured_window(files(tmp_path, image), (100, 40, 164, 104)) == ((0, 4095), 16)


def test_hot_pixels_do_not_make_a_set_black(tmp_path):
    image = spread(0, 4095)
    image[5, 7] = image[50, 3] = 65535
    assert measured_window(files(tmp_path, image, image)) == ((0, 4095), 16)


def test_eight_bits_unreadable_and_nothing(tmp_path):
    paths = files(tmp_path, spread(60, 90, np.uint8))
    broken = tmp_path / "broken.png"
    broken.touch()
    assert measured_window(paths) == ((0, 255), 8)
    assert measured_window([broken]) == ((0, 255), 8)
    assert image_depth([broken, *files(tmp_path, spread(0, 9))]) == 16


def test_a_window_is_carried_to_another_depth():
    eight = Preprocess((64, 64), 1, (10.0, 240.0))
    assert eight.depth == 8
    with pytest.raises(ValueError, match="give a depth"):
        Preprocess((64, 64), 1, (0.0, 1023.0))
    assert fit_depth(eight, 8) is eight
    assert fit_depth(eight, 16).window == (2570, 61680)  # 257 times: 255 becomes 65535
    assert fit_depth(Preprocess((64, 64), 1, (0.0, 4095.0), depth=16), 8).window == (0, 255)
    given = Preprocess((64, 64), 1, (0.0, 4095.0), depth=None)
    assert fit_depth(given, 8) is given and fit_depth(given, 16) is given
    with pytest.raises(ValueError, match="12 bits"):
        Preprocess((64, 64), depth=12)


def test_a_window_beyond_what_a_file_can_hold_is_told():
    """All of an 8-bit image would be within the darkest sixteenth of a 12-bit window."""
    given = Preprocess((64, 64), 1, (0.0, 4095.0), depth=None)
    line = depth_line("a.png", given, 8)
    assert line is not None and "'a.png' has 8 bits" in line and "up to 255" in line
    assert depth_line("a.png", given, 16) is None


def test_a_ramp_of_twelve_bits_has_4096_levels_in_the_tensor(tmp_path):
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    paths = files(tmp_path, ramp)
    window, depth = measured_window(paths)
    contract = Preprocess((64, 64), 1, window, depth=depth)
    split = Split(paths, [ImageLabels(np.zeros((0, 4)), np.zeros(0, np.int64))], [])
    for cache in ("ram", "disk", "none"):
        dataset = DetectionDataset(split, contract, cache)
        assert dataset.images.dtype == np.uint16
        images = dataset.batch([0]).images
        assert len(images.unique()) == 4096 and (images.min(), images.max()) == (0, 1)
    images, _ = to_input([ramp[:, :, None]], contract)
    assert len(images.unique()) == 4096


def test_the_same_content_in_eight_and_sixteen_bits_is_the_same_input():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (90, 130, 3), np.uint8)
    contract = Preprocess((64, 96), window=(10.0, 240.0))
    deep = image.astype(np.uint16) * 257
    plain, _ = to_input([image], contract)
    # Resizing rounds to whole intensities: half of one of 230.
    torch.testing.assert_close(to_input([deep], contract)[0], plain, rtol=0, atol=0.6 / 230)
    mixed, _ = to_input([image, deep], contract)
    torch.testing.assert_close(mixed[1:], to_input([deep], contract)[0])
    torch.testing.assert_close(mixed[:1], plain)


@pytest.mark.parametrize("order", [(np.uint8, np.uint16), (np.uint16, np.uint8)])
def test_a_set_of_two_depths_is_refused_in_one_line(tmp_path, order):
    paths = files(tmp_path, *(spread(0, 200, dtype) for dtype in order))
    depth = image_depth(paths)
    contract = Preprocess((64, 64), 1, (0.0, 200.0), depth=depth)
    with pytest.raises(DataError, match=r"1\.png.*one bit depth") as caught:
        ImageStore(paths, contract)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"0\.png.*one bit depth"):
        ImageStore(paths, Preprocess((64, 64), 1, (0.0, 200.0), depth=24 - depth))


def test_small_bright_defects_are_not_cut(tmp_path):
    """Dark parts of a 12-bit camera, defects of 5 x 5 pixels near its top: all levels stay."""
    image = spread(100, 900)
    image[10:15, 20:25] = np.linspace(2000, 4000, 25).reshape(5, 5)
    (low, high), depth = measured_window(files(tmp_path, image, image, image))
    assert depth == 16 and low <= 100 and high >= 3900
