"""Images for the ranges: of the training split, enough of them, of the weights' own classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.data.catalog import find_dataset
from kdlnet.errors import DataError, KdlnetError
from kdlnet.events import Message
from kdlnet.inference.int8 import calibration as module
from kdlnet.inference.int8.calibration import calibration_images, check_count
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.types import Tiling

from ...support.squares import make_dataset
from ...support.weights_file import SIZE, make_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return load_weights(make_weights(tmp_path_factory.mktemp("weights") / "best.pt"))


def test_too_few_are_refused(weights: Weights, dataset: Path) -> None:
    with pytest.raises(KdlnetError, match=r"--calibration 99: .* 100"):
        check_count(99)
    with pytest.raises(DataError, match=r"12 images of the split 'train'.* 100"):
        calibration_images(weights, find_dataset(str(dataset)), 300, 1, lambda event: None)


def test_another_dataset_is_refused(weights: Weights, dataset: Path) -> None:
    other = replace(find_dataset(str(dataset)), names=("square", "disc", "dent"))
    with pytest.raises(DataError, match=r"know square, disc, this one has square, disc, dent"):
        calibration_images(weights, other, 100, 1, lambda event: None)


def test_training_images_in_the_form_of_the_network(weights: Weights, tmp_path: Path) -> None:
    """And what cannot be read is named and left out."""
    info = find_dataset(str(make_dataset(tmp_path / "d", 120)))
    (tmp_path / "d" / "images" / "train" / "0.png").write_bytes(b"no image")
    told: list[object] = []
    found = calibration_images(weights, info, 120, 1, told.append)
    assert len(found) == 119 and {path.parent.name for path in found.paths} == {"train"}
    assert any("0.png" in event.text for event in told if isinstance(event, Message))
    first, second = list(found), list(found)
    assert len(first) == 119 and first[0].shape == (1, 3, *SIZE) and first[0].dtype == np.float32
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    pairs = list(calibration_images(weights, info, 120, 2, told.append))
    assert len(pairs) == 60 and np.array_equal(pairs[1], np.concatenate(first[2:4]))
    assert np.array_equal(pairs[-1], np.concatenate([first[-1], first[0]]))  # filled up
    (many,) = calibration_images(weights, info, 120, 256, told.append)
    assert np.array_equal(many, np.concatenate([*first, *first, *first[:18]]))
    spread = calibration_images(weights, info, 110, 1, told.append).paths
    assert len(set(spread)) == 109 and spread[-1] == found.paths[-1]


def test_of_tiles_the_one_with_the_defect(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A white square right below, in an image that else is black, four tiles of 64."""
    monkeypatch.setattr(module, "LEAST", 2)
    contract = replace(weights.preprocess, window=(0.0, 255.0), tiling=Tiling((64, 64), 0.0))
    file = make_dataset(tmp_path / "d", 2, size=128)
    for name, row in (("0", ""), ("1", f"0 {96 / 128} {96 / 128} {20 / 128} {20 / 128}\n")):
        image = np.zeros((128, 128), np.uint8)
        if row:
            image[86:106, 86:106] = 255
        cv2.imwrite(str(tmp_path / "d" / "images" / "train" / f"{name}.png"), image)
        (tmp_path / "d" / "labels" / "train" / f"{name}.txt").write_text(row)
    own = replace(weights, preprocess=contract)
    good, bad = calibration_images(own, find_dataset(str(file)), 2, 1, lambda event: None)
    assert (good == 1).sum() == 0 and (bad == 1).sum() > 100


def test_of_the_tiles_of_a_region_the_one_with_a_defect_that_is_in_it(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first label is that of a defect outside, in whose place another tile would be taken."""
    monkeypatch.setattr(module, "LEAST", 1)
    tiled = replace(weights.preprocess, window=(0.0, 255.0), tiling=Tiling((64, 64), 0.0))
    contract = replace(tiled, roi=(128, 32, 256, 160))
    file = make_dataset(tmp_path / "d", 1, size=128)
    image = np.zeros((160, 256), np.uint8)
    image[118:138, 214:234] = 255
    cv2.imwrite(str(tmp_path / "d" / "images" / "train" / "0.png"), image)
    rows = f"0 0.1 0.1 0.1 0.1\n0 {224 / 256} {128 / 160} {20 / 256} {20 / 160}\n"
    (tmp_path / "d" / "labels" / "train" / "0.txt").write_text(rows)
    own = replace(weights, preprocess=contract)
    (seen,) = calibration_images(own, find_dataset(str(file)), 1, 1, lambda event: None)
    assert (seen == 1).sum() > 100
