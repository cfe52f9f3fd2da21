"""Datasets, their cache, and the augmentation of batches."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data.cache import ImageStore
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.errors import DataError
from kdlnet.training.augment import Augmenter
from kdlnet.training.batches import TrainBatches
from kdlnet.training.draws import Draws, uniforms
from kdlnet.training.pasting import is_free
from kdlnet.training.warping import warp, warp_boxes
from kdlnet.types import Preprocess, Targets

SIZE = (64, 96)
CONTRACT = Preprocess(SIZE, channels=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images: grey squares of their own brightness, one of them a good part."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for n in range(6):
        image = np.full((40, 60, 3), 30, np.uint8)
        image[10:20, 15:45] = 100 + 20 * n
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), image)
        if n != 3:
            # x 15..45 of 60, y 10..20 of 40
            (tmp_path / "labels" / f"{n}.txt").write_text(f"{n % 2} 0.5 0.375 0.5 0.25\n")
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
    return tmp_path


def _dataset(folder: Path, **options: object) -> DetectionDataset:
    split = load_split(find_dataset(str(folder / "data.yaml")), "train")
    return DetectionDataset(split, CONTRACT, **options)  # type: ignore[arg-type]


def test_targets_are_in_the_frame_of_the_network_input(folder: Path) -> None:
    batch = _dataset(folder).batch([0, 3, 1])
    assert batch.images.shape == (3, 3, *SIZE)
    assert batch.targets.image_index.tolist() == [0, 2] and batch.targets.labels.tolist() == [0, 1]
    # 60 x 40 enlarged by 1.6 fills 96 x 64: the box 15, 10, 45, 20 becomes 24, 16, 72, 32.
    torch.testing.assert_close(batch.targets.boxes[0], torch.tensor([24.0, 16, 72, 32]))
    inside = batch.images[0, :, 20:28, 30:66]
    torch.testing.assert_close(inside, torch.full_like(inside, 100 / 255))


def test_images_of_a_split_before_it_are_told(folder: Path) -> None:
    """Figures on images that training saw, or that chose a threshold, flatter."""
    (folder / "train.txt").write_text("".join(f"./images/{n}.png\n" for n in range(4)))
    (folder / "val.txt").write_text("./images/3.png\n./images/4.png\n")
    text = "train: train.txt\nval: val.txt\ntest: images/5.png\nnames: [a, b]\n"
    (folder / "data.yaml").write_text(text)
    told = {s: load_split(find_dataset(str(folder)), s).warnings for s in ("train", "val", "test")}
    assert told["train"] == told["test"] == []
    assert len(told["val"]) == 1 and told["val"][0].startswith("1 of 2 images are in train, too")


def test_truth_is_in_pixels_of_the_original(folder: Path) -> None:
    boxes, labels = _dataset(folder).truth(1)
    assert boxes.tolist() == [[15, 10, 45, 20]] and labels.tolist() == [1]


@pytest.mark.parametrize("cache", ["ram", "disk", "none"])
def test_every_cache_gives_the_same_pixels(folder: Path, cache: str) -> None:
    dataset = _dataset(folder, cache=cache)
    assert dataset.images.mode == cache
    expected = _dataset(folder).batch([4, 0, 4]).images
    assert torch.equal(dataset.batch([4, 0, 4]).images, expected)


def test_a_set_past_the_budget_goes_to_disk(folder: Path) -> None:
    assert _dataset(folder, cache_gb=1e-6).images.mode == "disk"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no room")
def test_the_cache_on_disk_keeps_the_room_that_it_reserved(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole is filled on the first write, and where the disk is full by then that ends the run."""
    store = _dataset(folder, cache="disk").images
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "unlink", lambda path: None)  # it is mapped without a name otherwise
    store._allocate(np.dtype(np.uint8))
    (file,) = tmp_path.glob("*.cache")
    assert 512 * file.stat().st_blocks >= file.stat().st_size == 6 * 64 * 96


def test_grey_images_are_held_with_one_channel_until_a_colour_one_comes(folder: Path) -> None:
    assert _dataset(folder).images.channels == 1
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2] = 200  # OpenCV writes BGR: this is red
    cv2.imwrite(str(folder / "images" / "5.png"), image)
    dataset = _dataset(folder)
    assert dataset.images.channels == 3
    grey, red = dataset.batch([0, 5]).images
    assert torch.equal(grey[0], grey[1]) and grey.max() > 0.3
    assert red[0, 32, 48].item() == pytest.approx(200 / 255) and red[1:].max() == 0


def test_unreadable_images_are_left_out_and_named(folder: Path) -> None:
    (folder / "images" / "1.png").write_bytes(b"")
    dataset = _dataset(folder)
    assert len(dataset) == 5 and "1.png" in dataset.unreadable[0]
    # Labels must not slip by one: image 2 is now at position 1, image 3 (good) at 2.
    assert dataset.batch([1]).targets.labels.tolist() == [0]
    assert dataset.batch([2]).targets.labels.tolist() == []
    with pytest.raises(DataError, match=r"1\.png"):
        _dataset(folder, strict=True)


def test_deep_images_keep_their_levels(tmp_path: Path) -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp)
    store = ImageStore([tmp_path / "ramp.png"], Preprocess((64, 64), 1, (0.0, 4095.0), depth=16))
    assert store[[0]].dtype == torch.uint16
    assert len(np.unique(store[[0]].numpy())) == 4096


def test_random_numbers_depend_on_seed_epoch_and_index_alone() -> None:
    first = uniforms(1, 2, 3, 5)
    assert np.array_equal(first, uniforms(1, 2, 3, 9)[:5])
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.array_equal(first, uniforms(*other, 5))


FULL = {
    "mosaic": 0.5,
    "mixup": 0.5,
    "copy_paste": 0.5,
    "degrees": 10,
    "translate": 0.2,
    "scale": 0.5,
    "shear": 5,
    "flip_horizontal": 0.5,
    "flip_vertical": 0.5,
    "brightness": 0.3,
    "contrast": 0.3,
    "blur": 1.0,
    "noise": 0.1,
}


def test_a_sample_does_not_depend_on_its_batch(folder: Path) -> None:
    augment = Augmenter(_dataset(folder), seed=7, **FULL)  # type: ignore[arg-type]
    together = augment(3, np.arange(6), True, "cpu")
    for n in range(6):
        alone = augment(3, np.array([n]), True, "cpu")
        torch.testing.assert_close(alone.images[0], together.images[n])
        mine = together.targets.image_index == n
        assert sorted(alone.targets.boxes.tolist()) == sorted(together.targets.boxes[mine].tolist())
    other = augment(4, np.arange(6), True, "cpu")
    assert not torch.equal(other.images, together.images)


def test_boxes_follow_the_pixels(folder: Path) -> None:
    """The bright square of each image must lie where the box says, whatever was done to it."""
    shapes = {key: value for key, value in FULL.items() if key not in ("mixup", "copy_paste")}
    shapes |= {"degrees": 0, "shear": 0, "brightness": 0, "contrast": 0, "blur": 0, "noise": 0}
    augment = Augmenter(_dataset(folder), seed=0, **shapes)  # type: ignore[arg-type]
    checked = 0
    for epoch in range(5):
        batch = augment(epoch, np.arange(6), True, "cpu")
        for box, index in zip(batch.targets.boxes, batch.targets.image_index, strict=True):
            x1, y1, x2, y2 = (int(v) for v in box.round())
            inner = batch.images[index, 0, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
            outer = batch.images[index, 0, max(y1 - 3, 0) : y2 + 3, max(x1 - 3, 0) : x2 + 3]
            if inner.numel():
                assert inner.min() > 90 / 255  # the square, not its surroundings
                assert outer.min() < 90 / 255 or outer.shape == inner.shape
                checked += 1
    assert checked > 20


def test_nothing_switched_on_changes_nothing(folder: Path) -> None:
    dataset = _dataset(folder)
    batch = Augmenter(dataset, seed=0)(0, np.array([2, 0]), True, "cpu")
    plain = dataset.batch([2, 0])
    torch.testing.assert_close(batch.images, plain.images, rtol=0, atol=1e-5)
    torch.testing.assert_close(batch.targets.boxes, plain.targets.boxes)


def test_flip_mirrors_image_and_box(folder: Path) -> None:
    (folder / "labels" / "0.txt").write_text("0 0.25 0.5 0.5 1.0\n")  # the left half
    dataset = _dataset(folder)
    batch = Augmenter(dataset, seed=0, flip_horizontal=1.0)(0, np.array([0]), True, "cpu")
    torch.testing.assert_close(batch.images, dataset.batch([0]).images.flip(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(batch.targets.boxes, torch.tensor([[48.0, 0, 96, 64]]))


def test_paste_adds_a_box_with_its_pixels(folder: Path) -> None:
    dataset = _dataset(folder)
    augment = Augmenter(dataset, seed=1, copy_paste=1.0)
    plain, added = dataset.batch([3]), 0
    for epoch in range(6):
        batch = augment(epoch, np.array([3]), True, "cpu")  # the good part
        for box in batch.targets.boxes:
            x1, y1, x2, y2 = (int(v) for v in box.round())
            assert batch.images[0, 0, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() > 90 / 255
            added += 1
        assert augment(epoch, np.array([3]), False, "cpu").targets.boxes.numel() == 0
    assert added >= 3 and plain.targets.boxes.numel() == 0


def test_warp_moves_pixels_and_boxes_alike() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2:4, 1:3] = 1.0
    matrix = torch.tensor([[[2.0, 0, 1], [0, 2.0, 0], [0, 0, 1]]], dtype=torch.float64)
    warped = warp(image, matrix, (8, 8), fill=0.0)
    boxes = warp_boxes(torch.tensor([[1.0, 2, 3, 4]]), matrix.float())
    assert boxes.tolist() == [[3.0, 4, 7, 8]]
    assert warped[0, 0, 5:7, 4:6].min() == 1.0 and warped[0, 0, :3].max() == 0
    assert warped.sum().item() == pytest.approx(14.0, abs=2.5)  # 4 x 4 pixels, cut at the border


def test_epochs_visit_every_image_in_their_own_order(folder: Path) -> None:
    batches = TrainBatches(Augmenter(_dataset(folder), seed=0), 2, torch.device("cpu"))
    seen = [torch.cat([b.indices for b in batches.epoch(e, True)]).tolist() for e in (0, 1, 0)]
    assert sorted(seen[0]) == list(range(6)) and seen[0] != seen[1] and seen[0] == seen[2]


def test_a_set_smaller_than_a_batch_is_one_batch(folder: Path) -> None:
    batches = TrainBatches(Augmenter(_dataset(folder), seed=0), 64, torch.device("cpu"))
    assert len(batches) == 1 and len(next(batches.epoch(0, True)).images) == 6


@pytest.mark.parametrize(
    "turn",
    [
        [[0.0, -1], [1, 0]],  # 90 degrees
        [[1.0, 0.5], [0, 1]],  # shear along x
        [[0.8, -0.6], [0.6, 0.8]],  # 37 degrees
    ],
)
def test_turned_and_sheared_boxes_hold_their_pixels_tightly(turn: list[list[float]]) -> None:
    image = torch.zeros(1, 1, 80, 80)
    image[0, 0, 30:46, 26:50] = 1.0
    box = torch.tensor([[26.0, 30, 50, 46]])
    linear, centre = torch.tensor(turn, dtype=torch.float64), torch.full((2,), 40.0).double()
    matrix = torch.eye(3, dtype=torch.float64)[None].clone()
    matrix[0, :2, :2], matrix[0, :2, 2] = linear, centre - linear @ centre
    moved = warp_boxes(box, matrix.float())[0]
    y, x = (warp(image, matrix, (80, 80), fill=0.0)[0, 0] > 0.5).nonzero(as_tuple=True)
    seen = torch.stack((x.min(), y.min(), x.max() + 1, y.max() + 1)).float()
    torch.testing.assert_close(moved, seen, rtol=0, atol=1.6)


def test_brightness_and_contrast_by_hand(folder: Path) -> None:
    augment = Augmenter(_dataset(folder), seed=0, brightness=0.3, contrast=0.4)
    draws = Draws(0, 0, np.array([0]))
    gain = 1 + 0.3 * draws.signed("brightness")[0]
    contrast = 1 + 0.4 * draws.signed("contrast")[0]
    value = augment(0, np.array([0]), True, "cpu").images[0, 0, 24, 48].item()
    expected = contrast * gain * (100 / 255) + 0.5 * (1 - contrast)
    assert value == pytest.approx(expected, abs=1e-4) and abs(value - 100 / 255) > 0.01


def test_half_of_the_samples_stay_sharp_and_half_clean(folder: Path) -> None:
    dataset, numbers = _dataset(folder), np.arange(6)
    plain = dataset.batch(numbers.tolist()).images
    for setting in ({"blur": 2.0}, {"noise": 0.1}):
        augment = Augmenter(dataset, seed=5, **setting)
        changes = [
            (augment(epoch, numbers, True, "cpu").images - plain).abs().amax(dim=(1, 2, 3)) > 1e-4
            for epoch in range(20)
        ]
        assert 0.35 < torch.cat(changes).double().mean() < 0.65


def test_hue_and_saturation_leave_grey_grey_and_turn_colours(folder: Path) -> None:
    image = np.full((40, 60, 3), 120, np.uint8)
    image[:, 30:] = (110, 120, 150)  # BGR: a reddish half, far from any clipping
    cv2.imwrite(str(folder / "images" / "0.png"), image)
    dataset = _dataset(folder)
    plain = dataset.batch([0]).images[0]
    changed = Augmenter(dataset, seed=3, hue=0.4, saturation=0.4)(0, np.array([0]), True, "cpu")
    grey, red = changed.images[0, :, 32, 10], changed.images[0, :, 32, 80]
    torch.testing.assert_close(grey, plain[:, 32, 10], rtol=0, atol=0.01)
    assert (red - plain[:, 32, 80]).abs().max() > 0.02
    # Luma stays: only colour moves.
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert (luma @ red).item() == pytest.approx((luma @ plain[:, 32, 80]).item(), abs=0.02)


def test_mixup_blends_pixels_and_keeps_both_boxes(folder: Path) -> None:
    dataset = _dataset(folder)
    batch = Augmenter(dataset, seed=5, mixup=1.0)(0, np.array([0]), True, "cpu")
    draws = Draws(5, 0, np.array([0]))
    partner = int(6 * draws["mixup_partner"][0])
    share = 0.35 + 0.3 * draws["mixup_share"][0]
    one, two = dataset.batch([0, partner]).images
    torch.testing.assert_close(batch.images[0], torch.lerp(one, two, share), rtol=0, atol=1e-4)
    expected = len(dataset.batch([0]).targets.labels) + len(dataset.batch([partner]).targets.labels)
    assert partner != 0 and len(batch.targets.labels) == expected


def test_a_thin_box_stays_a_target_unless_it_was_cut(folder: Path) -> None:
    (folder / "labels" / "0.txt").write_text("0 0.5 0.5 0.6 0.01\n")  # 0.64 pixels high
    dataset = _dataset(folder)
    kept = Augmenter(dataset, seed=0, flip_horizontal=0.5)(0, np.array([0]), True, "cpu")
    assert len(kept.targets.labels) == 1


def test_paste_neither_covers_nor_enters_a_labelled_box() -> None:
    def targets(box: list[float]) -> Targets:
        return Targets(torch.tensor([box]), torch.zeros(1).long(), torch.zeros(1).long())

    small, large = targets([10.0, 10, 20, 20]), targets([0.0, 0, 60, 60])
    apart = targets([70.0, 70, 90, 90])
    assert not is_free(large, small).any() and not is_free(small, large).any()
    assert is_free(apart, large).all()


def test_quarter_turns_turn_pixels_and_boxes_together(folder: Path) -> None:
    split = load_split(find_dataset(str(folder / "data.yaml")), "train")
    dataset = DetectionDataset(split, replace(CONTRACT, image_size=(64, 64)))
    numbers = np.array([0] * 40) + 6 * np.arange(40)
    plain = Augmenter(dataset, seed=0)(0, numbers, True, "cpu")
    turned = Augmenter(dataset, seed=0, quarter_turns=1.0)(0, numbers, True, "cpu")
    size = plain.images.shape[-1]
    seen = set()
    for row in range(40):
        box = plain.targets.boxes[plain.targets.image_index == row]
        for k in range(4):
            picture = torch.rot90(plain.images[row], -k, (1, 2))
            if (picture - turned.images[row]).abs().max() < 1e-3:
                seen.add(k)
                found = turned.targets.boxes[turned.targets.image_index == row]
                assert torch.allclose(found, _turned(box, k, size), atol=1e-3)
                break
        else:
            raise AssertionError(f"row {row} is no quarter turn")
    assert seen == {0, 1, 2, 3}


def _turned(boxes: torch.Tensor, k: int, size: int) -> torch.Tensor:
    for _ in range(k):
        x1, y1, x2, y2 = boxes.unbind(1)
        boxes = torch.stack((size - y2, x1, size - y1, x2), dim=1)
    return boxes
