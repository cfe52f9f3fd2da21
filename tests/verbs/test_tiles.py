"""Tiles and bit depth through the engine: val, predict, bench and train see the same."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.config import TrainConfig, build_config
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Message, RunStarted
from kdlnet.inference.evaluate import detect
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.types import Preprocess, Tiling
from kdlnet.verbs.bench import Workload, bench
from kdlnet.verbs.distill import teacher_defaults
from kdlnet.verbs.train import train
from kdlnet.verbs.val import validate

from ..support.bright_network import bright, make_boards

CONTRACT = Preprocess((64, 64), 1, tiling=Tiling((64, 64), 0.2))


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_boards(tmp_path_factory.mktemp("boards") / "set")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same boards in 12 of 16 bits."""
    return make_boards(tmp_path_factory.mktemp("deep") / "set", factor=16)


def predictor(contract: Preprocess = CONTRACT, **values: object) -> Predictor:
    rule = VerdictRule.at(0.2)
    return Predictor(TorchEngine(bright), ("square",), contract, rule=rule, **values)


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_metrics_are_those_of_whole_images(boards: Path, overlap: float) -> None:
    """Squares larger than the overlap, and on up to four tiles, count once and whole."""
    contract = replace(CONTRACT, tiling=Tiling((64, 64), overlap))
    dataset = DetectionDataset(load_split(find_dataset(str(boards)), "val"), contract)
    assert len(dataset) > 3 * len(dataset.paths)
    results = detect(TorchEngine(bright), dataset, 5, 0.2)
    assert [Path(result.name).name for result in results] == ["0.png", "1.png", "2.png"]
    assert {result.size for result in results} == {(150, 210)}
    assert [len(result.scores) for result in results] == [len(r.truth_boxes) for r in results]
    assert average_precision(results, ("square",)).ap == pytest.approx(1.0)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_predict_finds_the_same_whatever_the_batch(boards: Path, batch: int) -> None:
    info = find_dataset(str(boards))
    dataset = DetectionDataset(load_split(info, "val"), CONTRACT)
    wanted = detect(TorchEngine(bright), dataset, 16, 0.2)
    calls: list[int] = []

    def counting(images: torch.Tensor):
        calls.append(len(images))
        return bright(images)

    found = replace(predictor(batch=batch), engine=TorchEngine(counting)).predict(
        list_images(info, "val")
    )
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-4)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
        assert ours.size == theirs.size and set(ours.seconds) == {
            *("decode", "preprocess", "infer", "postprocess")
        }
    assert sum(calls) == len(dataset) and max(calls) == min(batch, len(dataset))
    if batch == 64:
        assert len(calls) == math.ceil(len(dataset) / 64)  # tiles of several images share a batch


def test_the_same_content_in_other_bits_gives_the_same_boxes(boards: Path, deep: Path) -> None:
    """12 bits by their window; 16 bits met by weights of 8 by the same window, and it is told."""
    plain = predictor().predict(boards.parent / "images")
    twelve = replace(CONTRACT, window=(0.0, 16 * 255.0), depth=16)
    told: list[object] = []
    for ours, theirs in zip(
        predictor(twelve).predict(deep.parent / "images", on_event=told.append), plain, strict=True
    ):
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-4)
    assert not told
    image = cv2.imread(str(boards.parent / "images" / "0.png"), cv2.IMREAD_UNCHANGED)
    (sixteen,) = predictor().predict(image.astype(np.uint16) * 257, on_event=told.append)
    np.testing.assert_allclose(sixteen.boxes, plain[0].boxes, atol=1e-4)
    (message,) = told
    assert isinstance(message, Message) and "16 bits" in message.text and "--window" in message.text


@pytest.fixture(scope="module")
def events() -> list[object]:
    """Those of the training below."""
    return []


@pytest.fixture(scope="module")
def trained(boards: Path, events: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of one epoch on tiles, with one channel."""
    config = build_config(
        {
            "model": {"name": "lightnet-n", "channels": 1},
            "data": {"name": str(boards)},
            "tile": {"size": 96, "overlap": 0.25},
            "image_size": 64,
            "batch": 4,
            "epochs": 1,
            "device": "cpu",
        }
    )
    out = tmp_path_factory.mktemp("run") / "run"
    return train(config, out=out, on_event=events.append).best


def test_a_run_counts_its_images_not_their_tiles(
    trained: Path, boards: Path, events: list[object]
) -> None:
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    images = len(list((boards.parent / "images").iterdir()))
    assert started.train_images == started.val_images == images


def test_good_parts_of_which_no_tile_is_left_do_not_end_a_training(
    config: TrainConfig, tmp_path: Path
) -> None:
    """As where most parts are good: only so many empty tiles are learned as show a defect."""
    boards = make_boards(tmp_path / "set", count=12)
    for labels in sorted((tmp_path / "set/labels").iterdir())[1:]:
        labels.write_text("")
    tile = {"size": 96, "overlap": 0.25}
    few = build_config({**config.to_dict(), "tile": tile, "data": {"name": str(boards)}})
    dataset = DetectionDataset(
        load_split(find_dataset(str(boards)), "train"),
        Preprocess((96, 96), 1, tiling=Tiling((96, 96), 0.25)),
        background=few.tile.background,
    )
    assert any(not dataset.samples_of(image) for image in range(12))
    result = train(few, out=tmp_path / "run")
    assert load_weights(result.best).preprocess.tiling == Tiling((96, 96), 0.25)


def test_weights_carry_their_tiles_and_one_channel(trained: Path) -> None:
    weights = load_weights(trained)
    assert weights.preprocess.tiling == Tiling((96, 96), 0.25)
    assert (weights.preprocess.channels, weights.preprocess.depth) == (1, 8)
    assert next(weights.detector.parameters()).shape[1] == 1  # the stem takes one channel
    assert teacher_defaults(trained)["tile"] == {"size": [96, 96], "overlap": 0.25}
    assert Preprocess.from_dict(weights.preprocess.to_dict()) == weights.preprocess


def test_weights_from_before_tiles_and_depth_are_read() -> None:
    values = {"image_size": [64, 96], "channels": 1, "window": [0, 4095], "pad": 0.5}
    assert Preprocess.from_dict(values) == Preprocess((64, 96), 1, (0, 4095), 0.5, 16, None)


def test_val_predict_and_bench_use_the_tiles_of_the_weights(
    trained: Path, boards: Path, tmp_path: Path
) -> None:
    def seen(**options: object):
        result = validate(
            trained, data=str(boards), device="cpu", pictures=False, overwrite=True,
            out=tmp_path / "val", **options,
        )  # fmt: skip
        return result.to_dict()["preprocess"]["tiling"]

    assert seen() == {"size": [96, 96], "overlap": 0.25}
    assert seen(tile="off") is None
    assert seen(tile=(80, 64), overlap=0.0) == {"size": [80, 64], "overlap": 0.0}
    assert Predictor.load(trained, device="cpu").preprocess.tiling == Tiling((96, 96), 0.25)
    assert Predictor.load(trained, device="cpu", tile="off").preprocess.tiling is None
    result = bench(trained, source=boards.parent, workload=Workload(calls=2, warmup=0))
    assert result.preprocess["tiling"] == {"size": [96, 96], "overlap": 0.25}
    one = bench(trained, source=boards.parent, tile="off", workload=Workload(calls=2, warmup=0))
    # 150 x 210 takes 2 x 3 tiles of 96.
    assert one.preprocess["tiling"] is None
    with pytest.raises(ConfigError, match="no tiles to overlap"):
        Predictor.load(trained, device="cpu", tile="off", overlap=0.3)


def test_bench_finds_the_boxes_of_predict(trained: Path, boards: Path, tmp_path: Path) -> None:
    weights = replace(load_weights(trained), thresholds={"score": 0.001})
    save_weights(tmp_path / "a.pt", weights)
    found = Predictor.load(tmp_path / "a.pt", device="cpu").predict(boards.parent / "images")
    timed = bench(tmp_path / "a.pt", source=boards.parent, workload=Workload(calls=3, warmup=0))
    assert timed.boxes_per_image == pytest.approx(np.mean([len(one) for one in found]))


def _told_of_bits(event: object) -> bool:
    return isinstance(event, Message) and "bits" in event.text


def test_val_of_other_bits_is_told_and_the_same(
    trained: Path, boards: Path, tmp_path: Path
) -> None:
    def ap(data: Path, **options: object) -> float:
        told.clear()
        return validate(
            trained, data=str(data), device="cpu", pictures=False, overwrite=True,
            out=tmp_path / "val", on_event=told.append, **options,
        ).precision.ap  # fmt: skip

    told: list[object] = []
    sixteen, twelve = (make_boards(tmp_path / str(factor), factor) for factor in (257, 16))
    plain = ap(boards)
    assert ap(sixteen) == pytest.approx(plain, abs=1e-4)
    (line,) = [event.text for event in told if _told_of_bits(event)]
    assert "16 bits" in line and "0 to 65535" in line
    assert ap(twelve, window=(0.0, 4080.0)) == pytest.approx(plain, abs=1e-4)
    assert not [event for event in told if _told_of_bits(event)]


def test_a_val_split_of_another_depth_is_refused(
    config: TrainConfig, boards: Path, deep: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(
        f"train: {boards.parent / 'images'}\nval: {deep.parent / 'images'}\nnames: [square]\n"
    )
    mixed = build_config({**config.to_dict(), "data": {"name": str(file)}})
    with pytest.raises(DataError, match=r"0\.png' has 16 bits.*one bit depth"):
        train(mixed, out=tmp_path / "run")


def test_a_window_as_text(config: TrainConfig) -> None:
    values = config.to_dict()
    assert build_config({**values, "data": {"window": "0-4095"}}).data.window == (0, 4095)
    for wrong in ("4095", "9-3", "a-b", [1], "-5-9"):
        with pytest.raises(ConfigError, match="window"):
            build_config({**values, "data": {"window": wrong}})
    assert build_config({**values, "tile": {"size": "48x640"}}).tile.size == (48, 640)
    assert build_config({**values, "tile": {"size": False}}).tile.size is None
    for wrong in (5, "big", "1x2x3", True):
        with pytest.raises(ConfigError, match="tile"):
            build_config({**values, "tile": {"size": wrong}})
