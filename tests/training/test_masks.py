"""Learning by the outlines of defects: where they are in a batch, and runs that do it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from kdlnet.config import TrainConfig, build_config
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.events import Message
from kdlnet.inference.weights import load_weights
from kdlnet.losses.masks import DEFECT, UNKNOWN
from kdlnet.training.augment import Augmenter
from kdlnet.training.masks import MaskLayer, MaskLesson, Masks
from kdlnet.types import Batch, Preprocess
from kdlnet.verbs.distill import distill
from kdlnet.verbs.train import train

from ..support.interrupt import StopAt

SIDE = 64
BRIGHT, GREY = 250, 100
L_SHAPE = np.array([[20, 20], [40, 20], [40, 26], [26, 26], [26, 44], [20, 44]])


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Six images of 64x64, two of them good: a bright L is drawn in four, with its outline."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in range(6):
        image = np.full((SIDE, SIDE), GREY, np.uint8)
        row = ""
        if number < 4:
            corners = L_SHAPE + 4 * number
            for x1, y1, x2, y2 in ((20, 20, 40, 26), (20, 20, 26, 44)):
                move = 4 * number
                image[y1 + move : y2 + move, x1 + move : x2 + move] = BRIGHT
            row = "1 " + " ".join(f"{value / SIDE}" for value in corners.reshape(-1))
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
        (tmp_path / "labels" / f"{number}.txt").write_text(row)
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [spot, bend]\n")
    return tmp_path


def _shown(folder: Path, **settings: float) -> tuple[Batch, DetectionDataset]:
    split = load_split(find_dataset(str(folder)), "train")
    dataset = DetectionDataset(split, Preprocess((SIDE, SIDE), 1))
    augment = Augmenter(dataset, 3, None, Masks(dataset, 2, 8), **settings)  # type: ignore[arg-type]
    return augment(0, np.arange(24), True, "cpu"), dataset


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"flip_horizontal": 0.5, "flip_vertical": 0.5, "quarter_turns": 1.0},
        {"translate": 0.3, "scale": 0.4, "degrees": 20.0, "shear": 10.0},
        {"mosaic": 1.0, "scale": 0.5},
        {"copy_paste": 1.0},
        {"mosaic": 0.5, "copy_paste": 0.7, "mixup": 0.5, "degrees": 8.0},
    ],
)
def test_masks_show_what_the_images_show(parts: Path, settings: dict[str, float]) -> None:
    """A cell is of the defect where the image is bright there, but for a pixel at the border."""
    batch, _ = _shown(parts, **settings)
    assert batch.masks is not None and batch.masks.shape == (24, 2, 8, 8)
    assert not batch.masks[:, 0].any()
    brightness = batch.images[:, 0].numpy()
    # Mixed with a good part a defect stands out by a third at least.
    found = (brightness * 255 > GREY + (BRIGHT - GREY) * 0.6 * 0.35).astype(np.uint8)
    marked = batch.masks[:, 1].numpy().repeat(8, axis=1).repeat(8, axis=2) == DEFECT
    for image, cells in zip(found, marked, strict=True):
        sure = cv2.erode(image, np.ones((3, 3), np.uint8)) > 0
        near = cv2.dilate(image, np.ones((3, 3), np.uint8), borderValue=0)
        possible = near.reshape(8, 8, 8, 8).max(axis=(1, 3)).repeat(8, axis=0).repeat(8, axis=1) > 0
        assert cells[sure].all()
        # A thin remainder at the border of an image may be no brighter than its surrounding.
        assert (cells & ~possible).sum() <= 64 * bool(settings)
    assert marked.any()


def test_an_l_is_known_cell_by_cell(parts: Path) -> None:
    """x 20 to 40 and y 20 to 26 are cells 2 to 4 of row 2 and 3; the foot is column 2 and 3."""
    batch, _ = _shown(parts)
    assert batch.masks is not None
    assert batch.masks[0, 1].nonzero().tolist() == [
        *([2, x] for x in (2, 3, 4)),
        *([3, x] for x in (2, 3, 4)),
        *([4, x] for x in (2, 3)),
        *([5, x] for x in (2, 3)),
    ]


def test_of_a_box_nothing_is_known_inside(parts: Path) -> None:
    (parts / "labels" / "5.txt").write_text("1 0.5 0.5 0.25 0.25\n0 0.25 0.25 0.125 0.125\n")
    batch, _ = _shown(parts)
    assert batch.masks is not None
    inside = [[y, x] for y in range(3, 5) for x in range(3, 5)]
    assert (batch.masks[5, 1] == UNKNOWN).nonzero().tolist() == inside
    assert (batch.masks[5, 0] == UNKNOWN).sum() == 4
    assert not (batch.masks == DEFECT)[5].any()


def test_a_line_between_pieces_is_no_defect(parts: Path) -> None:
    """Two squares of a cell each, joined there and back, five cells apart."""
    corners = [[8, 8], [15, 8], [15, 15], [8, 15]]
    far = [[x + 40, y + 40] for x, y in corners]
    ring = np.array([*corners, corners[0], *far, far[0]]) / SIDE
    (parts / "labels" / "5.txt").write_text("1 " + " ".join(map(str, ring.reshape(-1))))
    batch, _ = _shown(parts)
    assert batch.masks is not None
    assert batch.masks[5, 1].nonzero().tolist() == [[1, 1], [6, 6]]


def test_a_run_goes_on_though_its_outlines_are_gone(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(_config(parts), out=tmp_path / "run", on_event=StopAt(1))
    _without_outlines(parts)
    assert load_weights(train(build_config({}), resume=tmp_path / "run").last).training["masks"]


def test_masks_change_neither_images_nor_boxes(parts: Path) -> None:
    settings = {"mosaic": 0.5, "copy_paste": 0.7, "mixup": 0.5}
    batch, dataset = _shown(parts, **settings)
    plain = Augmenter(dataset, 3, **settings)(0, np.arange(24), True, "cpu")  # type: ignore[arg-type]
    assert plain.masks is None and torch.equal(plain.images, batch.images)
    assert torch.equal(plain.targets.boxes, batch.targets.boxes)


def test_nothing_is_worked_out_for_masks_that_nobody_makes(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would cost every training on boxes alone a seventh of its augmentation."""
    _, dataset = _shown(parts)
    monkeypatch.setattr(Augmenter, "_placed", lambda *asked: pytest.fail("asked for nothing"))
    settings = {"mosaic": 0.5, "copy_paste": 0.7, "mixup": 0.5}
    Augmenter(dataset, 3, **settings)(0, np.arange(24), True, "cpu")  # type: ignore[arg-type]


def test_the_lesson_falls_to_nothing(parts: Path) -> None:
    batch, _ = _shown(parts)
    finest = torch.randn(24, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    lesson = MaskLesson(MaskLayer(4, 2, 0), 2.0)
    first, middle, last = (lesson(finest, batch, progress) for progress in (0.0, 0.5, 1.0))
    assert first is not None and middle is not None and last is not None
    assert first.item() > 0
    assert middle.item() == pytest.approx(first.item() / 2)
    assert last.item() == pytest.approx(0, abs=1e-6)


def test_the_layer_begins_alike_and_leaves_random_numbers_alone() -> None:
    state = torch.random.get_rng_state()
    one, two = MaskLayer(8, 2, 5), MaskLayer(8, 2, 5)
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


def _without_outlines(folder: Path) -> None:
    """The same boxes, as rows of boxes."""
    for file in (folder / "labels").iterdir():
        rows = file.read_text().split()[1:]
        if rows:
            corners = np.array(rows, np.float64).reshape(-1, 2)
            low, high = corners.min(axis=0), corners.max(axis=0)
            box = " ".join(f"{value:.8f}" for value in (*(low + high) / 2, *(high - low)))
            file.write_text(f"1 {box}")


def _config(folder: Path, **changes: object) -> TrainConfig:
    base = {"data": {"name": str(folder)}, "model": {"name": "lightnet-n", "start": "none"}}
    return build_config(
        {**base, "image_size": SIDE, "epochs": 2, "batch": 3, "device": "cpu", **changes}
    )


def test_a_run_learns_by_outlines_and_goes_on_where_it_was(parts: Path, tmp_path: Path) -> None:
    told: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    whole = train(_config(parts), out=tmp_path / "whole", on_event=listen)
    assert any(line.startswith("outlines of 4 of 4 boxes are learned") for line in told)
    assert "mask" in (whole.folder / "results.csv").read_text().splitlines()[0].split(",")
    saved = load_weights(whole.last).training
    layer = saved["masks"]
    assert not torch.equal(layer["weight"], MaskLayer(layer["weight"].shape[1], 2, 0).weight)
    # What is released knows nothing of the layer.
    assert load_weights(whole.best).detector.state_dict().keys() == saved["detector"].keys()

    with pytest.raises(KeyboardInterrupt):
        train(_config(parts), out=tmp_path / "cut", on_event=StopAt(1))
    resumed = load_weights(train(_config(parts), resume=tmp_path / "cut").last).training
    assert torch.equal(resumed["masks"]["weight"], layer["weight"])
    assert all(torch.equal(value, saved["detector"][k]) for k, value in resumed["detector"].items())


def test_weight_0_is_a_run_without_outlines_to_the_bit(parts: Path, tmp_path: Path) -> None:
    off = train(_config(parts, epochs=1, loss={"mask_weight": 0}), out=tmp_path / "off")
    _without_outlines(parts)
    boxes = train(_config(parts, epochs=1), out=tmp_path / "boxes")
    one, two = (load_weights(run.last) for run in (off, boxes))
    assert one.training["masks"] is None and two.training["masks"] is None
    for name, value in one.detector.state_dict().items():
        assert torch.equal(value, two.detector.state_dict()[name]), name


def test_a_run_that_began_before_there_were_masks_goes_on(parts: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(_config(parts, loss={"mask_weight": 0}), out=run, on_event=StopAt(1))
    content = torch.load(run / "weights" / "last.pt", weights_only=True)
    del content["training"]["masks"], content["training"]["config"]["loss"]["mask_weight"]
    torch.save(content, run / "weights" / "last.pt")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    del settings["loss"]["mask_weight"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert load_weights(train(build_config({}), resume=run).last).training["masks"] is None


def test_a_student_learns_by_outlines_too(parts: Path, tmp_path: Path) -> None:
    teacher = train(_config(parts, epochs=1), out=tmp_path / "teacher")
    result = distill(_config(parts, epochs=1), teachers=[teacher.last], out=tmp_path / "student")
    header = (result.folder / "results.csv").read_text().splitlines()[0].split(",")
    assert {"mask", "kd_class"} <= set(header)
