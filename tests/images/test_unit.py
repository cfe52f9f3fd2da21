"""Pixels without torch become the numbers that torch makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdlnet.data import dataset
from kdlnet.images.unit import to_planes
from kdlnet.types import Preprocess


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("found", "channels"), [(1, 1), (1, 3), (3, 3)])
def test_input_is_that_of_torch_to_the_bit(dtype: type, found: int, channels: int) -> None:
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    random = np.random.default_rng(found)
    pixels = (random.random((2, 5, 7, found)) * top).astype(dtype)
    pixels[0, 0, :2] = np.array([0, top], dtype)[:, None]
    window = (0.1 * top, 0.93 * top)  # both ends are cut
    contract = Preprocess((5, 7), channels, window, depth=None)
    batch = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
    wanted = dataset.to_network(dataset.to_unit(batch, contract), channels)
    planes = to_planes(pixels, contract)
    assert planes.flags.c_contiguous and planes.dtype == np.float32
    assert np.array_equal(planes, wanted.numpy())
