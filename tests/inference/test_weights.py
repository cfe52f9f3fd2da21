"""Weights files: what goes in comes out, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from kdlnet.errors import KdlnetError, WeightsError
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.fuse import fuse_model, is_fused
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Preprocess


@pytest.fixture
def weights() -> Weights:
    arguments = ModelArguments(2, 1, "qarepvgg")
    return Weights(
        build_model("lightnet-n", arguments, seed=1),
        "lightnet-n",
        arguments,
        ("scratch", "pit"),
        Preprocess((64, 96), 1, (10.0, 4000.0), 0.5, 16),
        thresholds={"score": 0.4},
        metrics={"ap": 0.5},
    )


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("fused", [False, True])
def test_round_trip(weights: Weights, tmp_path: Path, suffix: str, fused: bool) -> None:
    if fused:
        weights.detector, weights.fused = fuse_model(weights.detector), True
    save_weights(tmp_path / f"a{suffix}", weights)
    loaded = load_weights(tmp_path / f"a{suffix}")
    assert loaded.describe() == weights.describe()
    assert loaded.arguments == weights.arguments and loaded.preprocess == weights.preprocess
    state = weights.detector.state_dict()
    assert all(
        torch.equal(value, state[key]) for key, value in loaded.detector.state_dict().items()
    )
    assert is_fused(loaded.detector) is fused and not loaded.detector.training


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {_Evil.trace}",)

    trace = ""


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_file_that_tries_to_run_code_does_not(tmp_path: Path, writer: str) -> None:
    _Evil.trace = str(tmp_path / "ran")
    file = tmp_path / "evil.pt"
    if writer == "torch":
        torch.save({"state": _Evil()}, file)
    else:
        file.write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(WeightsError, match=r"evil\.pt"):
        load_weights(file)
    assert not Path(_Evil.trace).exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    with pytest.raises(WeightsError, match="does not exist"):
        load_weights(file)
    for content in (b"", b"hello", b"PK\x03\x04 cut short"):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match="x"):
            load_weights(file)
    with pytest.raises(WeightsError, match="folder"):
        load_weights(tmp_path)


def test_a_strangers_dict_is_named_as_such(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not a kdlnet weights file"):
        load_weights(tmp_path / "other.pt")


def test_a_newer_format_and_wrong_tensors(weights: Weights, tmp_path: Path) -> None:
    save_weights(tmp_path / "a.pt", weights)
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    torch.save({**content, "format": 99}, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match="format 99"):
        load_weights(tmp_path / "b.pt")
    torch.save({**content, "model": "lightnet"}, tmp_path / "c.pt")
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(tmp_path / "c.pt")
    torch.save({**content, "model": "resnet"}, tmp_path / "d.pt")
    with pytest.raises(WeightsError, match="'resnet'"):
        load_weights(tmp_path / "d.pt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", ["one"]),
        ("preprocess", {"image_size": [100, 100], "channels": 1, "window": [0, 255], "pad": 0.4}),
        ("preprocess", {"image_size": [64, 64], "channels": 1, "window": [0, 0], "pad": 0.4}),
        ("preprocess", {"image_size": [64, 64], "channels": 3, "window": [0, 255], "pad": 0.4}),
        ("model", ["lightnet-n"]),
        ("thresholds", {"score": "high"}),
        ("thresholds", {"score": 0.2, "unsure": 0.4}),
        ("thresholds", {"classes": {"other": {"score": 0.2}}}),
    ],
)
def test_a_file_that_contradicts_itself(
    weights: Weights, tmp_path: Path, key: str, value: object
) -> None:
    save_weights(tmp_path / "a.pt", weights)
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    torch.save({**content, key: value}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a\.pt"):
        load_weights(tmp_path / "a.pt")


def test_a_failed_write_leaves_the_old_file(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.pt"
    save_weights(file, weights)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KdlnetError, match="No space left"):
        save_weights(file, weights)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("folder", ["part", "part/weights"])
def test_a_run_folder_leads_to_its_best_weights(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"part/weights/best\.pt"):
        load_weights(tmp_path / folder)
