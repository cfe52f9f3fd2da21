"""Copies of defects: nothing comes along without a label, and none lies outside of a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.training.augment import Augmenter
from kdlnet.training.pasting import rooms
from kdlnet.types import Batch, Preprocess, Targets

SIDE = 128
SPOT, PADDING = 250, 114


@pytest.fixture
def wide(tmp_path: Path) -> DetectionDataset:
    """Pictures of 128x64 in inputs of 128x128: a bright spot, twice inside of a large defect."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in range(4):
        image = np.full((64, 128), 100, np.uint8)
        image[20:30, 30:40] = SPOT
        rows = ["1 0.2734375 0.390625 0.078125 0.15625"]
        if number < 2:
            rows.append("0 0.25 0.5 0.3 0.7")
        elif number == 3:
            image[:], rows = 100, []
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
        (tmp_path / "labels" / f"{number}.txt").write_text("\n".join(rows))
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [large, spot]\n")
    split = load_split(find_dataset(str(tmp_path / "data.yaml")), "train")
    return DetectionDataset(split, Preprocess((SIDE, SIDE), 1))


def shown(dataset: DetectionDataset, copies: float, **settings: float) -> Batch:
    numbers = np.array([3] * 100) + len(dataset) * np.arange(100)
    augment = Augmenter(dataset, seed=1, copy_paste=copies, **settings)
    return augment(0, numbers, True, "cpu")


def test_only_defects_without_another_inside_are_copied(wide: DetectionDataset) -> None:
    targets = shown(wide, 1.0).targets
    assert len(targets.labels) == 100 and set(targets.labels.tolist()) == {1}


@pytest.mark.parametrize("settings", [{}, {"translate": 0.2, "scale": 0.4}, {"mosaic": 1.0}])
def test_copies_lie_in_the_picture(wide: DetectionDataset, settings: dict[str, float]) -> None:
    """What a copy covers is nowhere the padding, whose grey is 114."""
    plain, batch = shown(wide, 0.0, **settings), shown(wide, 1.0, **settings)
    levels, known = (plain.images[:, 0] * 255).round(), len(plain.targets.labels)
    targets = batch.targets
    assert len(targets.labels) - known >= 90
    for box, image in zip(targets.boxes[known:], targets.image_index[known:], strict=True):
        x1, y1, x2, y2 = (int(side) for side in box.round())
        assert (batch.images[image, 0, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] > 0.9).all()
        assert not (levels[image, y1:y2, x1:x2] == PADDING).any()


def test_a_room_is_drawn_by_its_area_and_the_rest_of_the_number_is_uniform() -> None:
    boxes = torch.tensor([[0.0, 0, 30, 10], [50, 0, 60, 10]])
    pictures = Targets(boxes, torch.zeros(2).long(), torch.zeros(2).long())
    number = np.array([0.0, 0.3, 0.74, 0.76, 0.99])
    found, left = rooms(pictures, np.zeros(5, np.int64), number)
    assert found[:, 0].tolist() == [0, 0, 0, 50, 50]
    np.testing.assert_allclose(left, [0, 0.4, 0.74 / 0.75, 0.04, 0.96])
    nothing, _ = rooms(pictures, np.array([1]), np.array([0.5]))
    assert nothing.tolist() == [[0, 0, 0, 0]]
