"""The functions without torch against those on tensors, and that they need no torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlnet.ops import arrays, boxes, decode, nms, points
from kdlnet.types import DetectionArrays, Detections, RawPredictions

seeds = st.integers(0, 2**32 - 1)

_BLOCK = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, NoTorch())
"""
_RUN = """
import numpy as np
from kdlnet.images import contract, frame, letterbox, read, sources, tiles, window
from kdlnet.ops import arrays
from kdlnet.types import Preprocess, Tiling
contract = Preprocess((64, 64), tiling=Tiling((64, 64)))
image, parts = np.zeros((64, 100, 3), np.uint8), []
grid = tiles.tile_grid((64, 100), contract.tiling)
points, strides = arrays.make_points([(8, 8)], [8])
for tile in grid:
    pixels, geometry = letterbox.letterbox(image, contract, tile)
    logits = np.where(np.arange(64) == 27, 3, -9)[:, None]
    found = arrays.select_detections(logits, np.zeros((64, 4, 4)), points, strides, (64, 64))
    parts.append(geometry.detections(found))
print(len(tiles.merge_tiles(parts, grid)), "torch" in sys.modules)
"""


def test_images_become_boxes_where_torch_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-c", _BLOCK + _RUN], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 False\n", "")


def test_the_block_blocks() -> None:
    code = _BLOCK + "import kdlnet.ops.nms"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "torch is not installed" in done.stderr


def _boxes(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Some of them without area, inside out or touching: corners lie on a coarse grid."""
    return random.integers(0, 6, (*shape, 4)).astype(np.float64)


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_areas_and_overlaps_are_equal(seed: int) -> None:
    random = np.random.default_rng(seed)
    one, two = _boxes(random, 5, 1), _boxes(random, 4)
    tensors = torch.from_numpy(one), torch.from_numpy(two)
    for name in ("box_intersection", "box_iou"):
        expected = getattr(boxes, name)(*tensors).numpy()
        assert np.array_equal(getattr(arrays, name)(one, two), expected)
    assert np.array_equal(arrays.box_area(one), boxes.box_area(tensors[0]).numpy())


def test_points_are_equal() -> None:
    levels = [(6, 8), (3, 4), (1, 1)], [8, 16, 32]
    expected_of = zip(arrays.make_points(*levels), points.make_points(*levels), strict=True)
    for found, expected in expected_of:
        assert found.dtype == np.float32 and np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 60), st.sampled_from([0.0, 0.5, 0.65, 1.0]), st.integers(1, 80))
def test_suppression_is_equal_ties_included(
    dtype: type, seed: int, count: int, threshold: float, most: int
) -> None:
    """Scores of a tenth and corners on a grid: many equal scores and overlaps right at 0.5."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, 12, (count, 2))
    ends = corners + random.integers(0, 9, (count, 2))  # some without area
    some = np.concatenate((corners, ends), axis=1).astype(dtype)
    scores = (random.integers(1, 10, count) / 10).astype(dtype)
    labels = random.integers(0, 3, count)
    found = arrays.suppress(DetectionArrays(some, scores, labels), threshold, most)
    tensors = (torch.from_numpy(values) for values in (some, scores, labels))
    expected = nms.suppress(Detections(*tensors), threshold, most).arrays()
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.scores, expected.scores)
    assert np.array_equal(found.labels, expected.labels)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4), st.sampled_from([0.0, 0.01, 0.3, 1.0]), st.booleans())
def test_selection_is_equal(seed: int, classes: int, threshold: float, limited: bool) -> None:
    """Which of equal candidates falls to a limit torch leaves open: there, none are equal, nor so
    near to it that rounding decides which score is higher."""
    torch.manual_seed(seed)
    spots, strides = points.make_points([(12, 16), (6, 8)], [8, 16])
    count = len(spots) * classes
    scores = torch.linspace(1e-4, 1 - 1e-4, count, dtype=torch.float64)[torch.randperm(count)]
    logits = torch.logit(scores).float().reshape(1, len(spots), classes)
    if not limited:
        logits[0, :3] = 40.0  # scores that round to 1
        logits[0, 3:6] = -200.0
    raw = RawPredictions(logits, torch.randn(1, len(spots), 4, 8) * 3, spots, strides)
    limits = (96, 128), threshold, 0.6, 50, 100 if limited else 1000
    expected = nms.select_detections(raw, *limits)[0].arrays()
    found = arrays.select_detections(
        logits[0].numpy(), raw.bins[0].numpy(), spots.numpy(), strides.numpy(), *limits
    )
    assert np.array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=3e-7)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=2e-4)
    assert found.scores.dtype == found.boxes.dtype == np.float32


def test_bins_become_the_same_distances() -> None:
    torch.manual_seed(0)
    bins = torch.randn(7, 4, 16, dtype=torch.float64) * 20
    expected = decode.expected_distances(bins).numpy()
    np.testing.assert_allclose(arrays.expected_distances(bins.numpy()), expected, rtol=1e-12)
