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
from torch import nn

from kdlnet.config import TrainConfig, build_config
from kdlnet.errors import ConfigError
from kdlnet.events import StepDone
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training import taught
from kdlnet.training.parts import RunParts, prepare_run
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
        "distill": {"balance": 0.5},
    }
    return build_config(values | more)


def _freeze_statistics(parts: RunParts) -> None:
    """Batch norms act as in inference: those of a batch would differ from those of its halves."""
    for module in parts.detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]


def _trained(folder: Path, name: str, config: TrainConfig, distilled: bool) -> None:
    """Trains and writes what this process saw and has; run by each of the processes."""
    parts = prepare_run(config, None, None, lambda event: None)
    _freeze_statistics(parts)
    place = run_folder(parts, folder / name, folder / name, False, reads=[])
    if distilled:
        other = build_model("lightnet-n", ModelArguments(2, 3), seed=7)
        step: Any = taught._step(
            parts, Ensemble([Member(other.eval().requires_grad_(False), None)])
        )
    else:
        step = supervised_step(parts)
    lines = 0

    def hear(event: object) -> None:
        nonlocal lines
        lines += isinstance(event, StepDone)

    run_training(parts, step, place, None, hear)
    who = f"{name}-{'first' if is_writer() else 'other'}"
    weights = {key: value.tolist() for key, value in list(parts.detector.state_dict().items())[:8]}
    found = {"rows": parts.state.rows, "weights": weights, "steps told": lines}
    (folder / f"{who}.json").write_text(json.dumps(found))


def _work(rank: int, folder: str, name: str, distilled: bool) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": Path(folder, "port").read_text()}
    torch.set_num_threads(1)
    with together(find_device("cpu")):
        _trained(Path(folder), name, _config(Path(folder)), distilled)


def test_what_several_processes_do_not_share_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path / "data")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="pretrain works on one device"):
        pretrain(PretrainConfig())
    with pytest.raises(ConfigError, match="not of a series"):
        measure_gain(_config(tmp_path))
    with pytest.raises(ConfigError, match="give auto, cpu or cuda"):
        find_device("mps")
    assert find_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="1 or more processes here for 0 GPUs"):
            find_device("cuda")


@pytest.mark.slow
@pytest.mark.parametrize("distilled", [False, True], ids=["train", "distill"])
def test_two_processes_train_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distilled: bool
) -> None:
    make_dataset(tmp_path / "data")
    (tmp_path / "port").write_text(str(_free_port()))
    monkeypatch.syspath_prepend(REPOSITORY)  # the new processes import this file by its name
    mp.spawn(_work, (str(tmp_path), "two", distilled), nprocs=2)
    torch.set_num_threads(1)
    _trained(tmp_path, "one", _config(tmp_path), distilled)
    one, first, other = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("one-first", "two-first", "two-other")
    )
    assert len(one["rows"]) == len(first["rows"]) == 2
    for alone, row, others in zip(one["rows"], first["rows"], other["rows"], strict=True):
        assert row.keys() == alone.keys()
        for key in row.keys() - {"seconds", "images_per_second"}:
            assert row[key] == pytest.approx(alone[key], rel=1e-5, abs=1e-5), key
            assert row[key] == others[key]
    assert first["weights"] == other["weights"]
    for key, value in one["weights"].items():
        torch.testing.assert_close(
            torch.tensor(first["weights"][key]), torch.tensor(value), rtol=1e-3, atol=1e-4
        )
    assert first["steps told"] and not other["steps told"]
    assert not (tmp_path / "two-2").exists()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
