"""Two processes on gloo train as one with the same batch does: losses, weights, figures."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from kdlnet.config import TrainConfig, build_config
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import StepDone, ignore
from kdlnet.inference.weights import load_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.pretraining.teachers import TEACHERS, FeatureTeacher
from kdlnet.training import parallel, taught
from kdlnet.training.parts import prepare_run
from kdlnet.training.run import run_folder, run_training, supervised_step
from kdlnet.training.teacher import Ensemble, Member
from kdlnet.utils.device import find_device
from kdlnet.utils.ranks import is_writer, together
from kdlnet.verbs.baseline import measure_gain
from kdlnet.verbs.pretrain import PretrainConfig, pretrain

from ..support.squares import make_dataset

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")


def _config(folder: Path, **more: Any) -> TrainConfig:
    values = {
        "model": {"name": "lightnet-n", "start": "none"},
        "data": {"name": str(folder / "data/data.yaml")},
        "image_size": 64,
        "batch": 4,
        "epochs": 2,
        "device": "cpu",
        "amp": "off",  # in bfloat16 sums over halves of a batch are rounded otherwise
        "distill": {"balance": 0.5},
    }
    return build_config(values | more)


def _frozen(self: nn.BatchNorm2d, mode: bool = True) -> nn.Module:
    """Batch norms act as in inference: those of a batch would differ from those of its halves."""
    return nn.Module.train(self, False)


def _pooled(images: Tensor) -> list[Tensor]:
    """A teacher that sees brightness and edges, coarser by stride."""
    both = torch.cat((images, (images - images.roll(1, 3)).abs()), 1)
    return [nn.functional.avg_pool2d(both, stride) for stride in (8, 16, 32)]


def _pretrained(folder: Path, name: str) -> None:
    """The same of a pre-training."""
    TEACHERS["pooled"] = lambda device: FeatureTeacher("pooled", _pooled)
    values = {"images": [str(folder / "data/images/train")], "teacher": "pooled", "views": 2}
    values["model"] = {"name": "lightnet-n", "start": "none"}  # in every process
    config = PretrainConfig(**values, image_size=64, batch=8, epochs=2, device="cpu", amp="off")
    told: list[object] = []
    result = pretrain(config, out=folder / name, on_event=told.append)
    last = load_weights(result.last, start=True).training["student"] if is_writer() else {}
    _leave(folder, name, [result.metrics], last, told)


def _leave(
    folder: Path, name: str, rows: list[Any], weights: dict[str, Tensor], told: list[object]
) -> None:
    """Writes what this process has and was told."""
    some = {key: value.tolist() for key, value in list(weights.items())[:8]}
    found = {"rows": rows, "weights": some, "told": len(told)}
    who = f"{name}-{'first' if is_writer() else 'other'}"
    (folder / f"{who}.json").write_text(json.dumps(found))


def _trained(folder: Path, name: str, config: TrainConfig, distilled: bool) -> None:
    """Trains and writes what this process saw and has; run by each of the processes."""
    parts = prepare_run(config, None, None, ignore)
    place = run_folder(parts, folder / name, folder / name, False, reads=[])
    if distilled:
        other = build_model("lightnet-n", ModelArguments(2, 3), seed=7)
        step: Any = taught._step(
            parts, Ensemble([Member(other.eval().requires_grad_(False), None)])
        )
    else:
        step = supervised_step(parts)
    told: list[object] = []
    run_training(parts, step, place, None, told.append)
    told = [event for event in told if isinstance(event, StepDone)]
    _leave(folder, name, parts.state.rows, parts.detector.state_dict(), told)


def _done(folder: Path, name: str, kind: str) -> None:
    if kind == "pretrain":
        _pretrained(folder, name)
    else:
        _trained(folder, name, _config(folder), kind == "distill")


def _work(rank: int, folder: str, name: str, kind: str) -> None:
    nn.BatchNorm2d.train = _frozen  # type: ignore[method-assign]
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": Path(folder, "port").read_text()}
    torch.set_num_threads(1)
    with together(find_device("cpu")):
        _done(Path(folder), name, kind)


_KINDS = ("images", "labels", "outlines")


def _reads(rank: int, folder: str) -> None:
    """As on a machine of its own, whose copies of the datasets are in folders named ``rank``."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": Path(folder, "port").read_text()}
    with together(find_device("cpu")):
        for kind in _KINDS:
            place = Path(folder, kind, str(rank))
            with pytest.raises(DataError) as told:
                prepare_run(_config(place), None, None, ignore)
            (place / "said").write_text(str(told.value))


def test_processes_that_read_other_files_train_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in _KINDS:
        for rank in "01":
            make_dataset(tmp_path / kind / rank / "data")
    (tmp_path / "images/1/data/images/train/1.png").write_bytes(b"")
    (tmp_path / "labels/1/data/labels/val/1.txt").write_bytes(b"")
    for rank, corners in enumerate((".2 .4 .4 .2 .6 .4 .4 .6", ".2 .3 .3 .2 .6 .3 .4 .6")):
        file = tmp_path / f"outlines/{rank}/data/labels/train/1.txt"
        file.write_text(f"0 {corners}\n")
    (tmp_path / "port").write_text(str(_free_port()))
    monkeypatch.syspath_prepend(REPOSITORY)
    mp.spawn(_reads, (str(tmp_path),), nprocs=2)
    said = [(tmp_path / kind / "0/said").read_text() for kind in _KINDS]
    images, labels, outlines = said
    assert "the same in 'train': process 2 of 2 has 11 images with 8 boxes (left out: " in images
    assert "1.png' is empty" in images and "process 1 has 12 images with 9 boxes;" in images
    assert "'val': process 2 of 2 has 12 images with 8 boxes, process 1 has 12 images" in labels
    assert "'train': process 2 of 2 has other files, boxes or outlines, 12 images" in outlines
    assert said == [(tmp_path / kind / "1/said").read_text() for kind in _KINDS]


def test_what_several_processes_do_not_share_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path / "data")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="not of a series"):
        measure_gain(_config(tmp_path))
    with pytest.raises(ConfigError, match="give auto, cpu or cuda"):
        find_device("mps")
    assert find_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="1 or more processes here for 0 GPUs"):
            find_device("cuda")


def test_a_batch_that_cannot_be_shared_says_what_a_run_that_goes_on_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There another --batch is refused."""
    monkeypatch.setattr(parallel, "ranks", lambda: 3)
    parallel.require_even(15)
    with pytest.raises(ConfigError, match=r"give --batch 15, .* goes on keeps its batch of 16: .*"):
        parallel.require_even(16)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train", "distill", "pretrain"])
def test_two_processes_train_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make_dataset(tmp_path / "data")
    (tmp_path / "port").write_text(str(_free_port()))
    monkeypatch.syspath_prepend(REPOSITORY)  # the new processes import this file by its name
    mp.spawn(_work, (str(tmp_path), "two", kind), nprocs=2)
    torch.set_num_threads(1)
    monkeypatch.setattr(nn.BatchNorm2d, "train", _frozen)
    _done(tmp_path, "one", kind)
    one, first, other = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("one-first", "two-first", "two-other")
    )
    assert len(one["rows"]) == len(first["rows"]) > 0
    for alone, row, others in zip(one["rows"], first["rows"], other["rows"], strict=True):
        assert row.keys() == alone.keys()
        for key in row.keys() - {"seconds", "images_per_second"}:
            assert row[key] == pytest.approx(alone[key], rel=1e-5, abs=1e-5), key
            assert row[key] == others[key]
    if kind != "pretrain":
        assert first["weights"] == other["weights"]
    for key, value in one["weights"].items():
        torch.testing.assert_close(
            torch.tensor(first["weights"][key]), torch.tensor(value), rtol=1e-3, atol=1e-4
        )
    assert first["told"] and not other["told"]
    assert not (tmp_path / "two-2").exists()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
