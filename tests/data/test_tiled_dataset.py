"""A split whose samples are tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data import cache
from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.labels import ImageLabels, Split
from kdlnet.images.read import ImageArray, read_image
from kdlnet.training.augment import Augmenter
from kdlnet.types import Preprocess, Tiling

CONTRACT = Preprocess((64, 64), 1, tiling=Tiling((64, 64), 0.25))
NONE = ImageLabels(np.zeros((0, 4)), np.zeros(0, np.int64))


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """A board of 112 x 160 with two bright squares, a broken file, and a small good part."""
    board = np.full((112, 160), 30, np.uint8)
    board[10:30, 20:40] = 200  # in the first tile only
    board[40:60, 90:120] = 220  # in several
    cv2.imwrite(str(tmp_path / "a.png"), board)
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    cv2.imwrite(str(tmp_path / "c.png"), np.full((40, 50), 90, np.uint8))
    sides = np.array([160, 112, 160, 112])
    boxes = np.array([[20, 10, 40, 30], [90, 40, 120, 60]]) / sides
    labels = [ImageLabels(boxes, np.array([0, 1])), NONE, NONE]
    return Split([tmp_path / name for name in ("a.png", "b.png", "c.png")], labels, [])


def replace_labels(split: Split) -> Split:
    """The same images, all of them good."""
    return Split(split.paths, [NONE] * len(split.paths), [])


@pytest.mark.parametrize("mode", ["ram", "disk", "none"])
def test_every_target_lies_on_its_pixels(split: Split, mode: str) -> None:
    dataset = DetectionDataset(split, CONTRACT, mode)
    # 160 wide: steps of at most 48, so 3 tiles; 112 high: 2.
    assert len(dataset) == 7 and [len(dataset.samples_of(image)) for image in (0, 1)] == [6, 1]
    assert [path.name for path in dataset.paths] == ["a.png", "c.png"]
    assert "b.png" in dataset.unreadable[0]
    batch = dataset.batch(range(7))
    assert len(batch.targets.labels) >= 3 and set(batch.targets.labels.tolist()) == {0, 1}
    for box, image in zip(batch.targets.boxes, batch.targets.image_index, strict=True):
        x1, y1, x2, y2 = box.int().tolist()
        assert batch.images[image, 0, y1:y2, x1:x2].min() > 0.7
    boxes, labels = dataset.truth(0)  # whole ones, for the metrics
    np.testing.assert_allclose(boxes, [[20, 10, 40, 30], [90, 40, 120, 60]])
    assert labels.tolist() == [0, 1] and len(dataset.truth(1)[1]) == 0
    assert dataset.samples[6].letterbox.original_size == (40, 50)
    assert (batch.images[6, 0, 12:52, 7:57] == 90 / 255).all()  # not enlarged, padded around


def test_an_object_needs_enough_of_it_in_the_tile(split: Split) -> None:
    few = len(DetectionDataset(split, CONTRACT, min_visible=1.0).labels)
    many = len(DetectionDataset(split, CONTRACT, min_visible=0.01).labels)
    assert few < len(DetectionDataset(split, CONTRACT).labels) <= many


def test_background_limits_empty_tiles(split: Split) -> None:
    every = DetectionDataset(split, CONTRACT)
    busy = int((every.first.diff() > 0).sum())
    for background, empty in ((0.0, 0), (0.5, round(0.5 * busy)), (99.0, 7 - busy)):
        dataset = DetectionDataset(split, CONTRACT, background=background)
        assert int((dataset.first.diff() == 0).sum()) == empty
        assert torch.equal(dataset.labels, every.labels)
        assert len(dataset.labels_digest) == 32  # also where a good part has no tile left
    assert not DetectionDataset(split, CONTRACT, background=0.0).samples_of(1)
    none = DetectionDataset(replace_labels(split), CONTRACT, background=0.0)
    assert len(none) == 1  # where nothing has a target, something stays to be seen


def test_augmentation_takes_tiles_as_samples(split: Split) -> None:
    dataset = DetectionDataset(split, CONTRACT)
    plain = Augmenter(dataset, seed=0)(0, np.array([0, 6]), True, "cpu")
    torch.testing.assert_close(plain.images, dataset.batch([0, 6]).images, rtol=0, atol=1e-5)
    mosaic = Augmenter(dataset, seed=0, mosaic=1.0)(0, np.arange(7), True, "cpu")
    assert mosaic.images.shape == (7, 1, 64, 64) and len(mosaic.targets.labels)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that the store decodes, as they come."""
    names: list[str] = []

    def read(path: Path) -> ImageArray:
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(cache, "read_image", read)
    return names


@pytest.mark.parametrize("batch", [1, 2, 4, 7])
def test_in_order_an_image_is_decoded_once_for_all_of_its_tiles(
    split: Split, reads: list[str], batch: int
) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (112, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(split.paths[2]), colour)
    contract = replace(CONTRACT, channels=3)
    held = DetectionDataset(split, contract, "ram").images[range(12)]
    dataset = DetectionDataset(split, contract, "none")
    reads.clear()
    for start in range(0, 12, batch):
        found = dataset.images[range(start, min(start + batch, 12))]
        assert torch.equal(found, held[start : start + batch])
    assert sorted(reads) == ["a.png", "c.png"]


def test_in_any_order_a_call_decodes_an_image_once(split: Split, reads: list[str]) -> None:
    held = DetectionDataset(split, CONTRACT, "ram").images
    dataset = DetectionDataset(split, CONTRACT, "none")
    reads.clear()
    order = [5, 6, 0, 3, 6, 5, 1]
    assert torch.equal(dataset.images[order], held[order])
    assert sorted(reads) == ["a.png", "c.png"]
    assert torch.equal(dataset.images[[6]], held[[6]]) and len(reads) == 3
    assert torch.equal(dataset.images[[6, 0]], held[[6, 0]]) and len(reads) == 4


def test_whole_images_are_not_held(split: Split, reads: list[str]) -> None:
    dataset = DetectionDataset(split, replace(CONTRACT, tiling=None), "none")
    reads.clear()
    for _ in range(2):
        dataset.images[[1]]
    assert reads == ["c.png", "c.png"]
