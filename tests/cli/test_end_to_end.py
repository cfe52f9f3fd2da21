"""The real engine behind the real command line, on a dozen small made-up images."""
# ruff: noqa: TID251

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml

from kdlnet_cli.main import main

if TYPE_CHECKING:
    from .conftest import Command

TRAIN = "train --model lightnet-n --image-size 64 --batch 4 --device cpu --data"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    assert main(["data", "synth", str(folder), "--count", "12", "--image-size", "96"]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    out = tmp_path_factory.mktemp("runs") / "set"
    line = [*TRAIN.split(), str(dataset), "--epochs", "2", "--out", str(out), "--quiet"]
    assert main(line) == 0
    return out


@pytest.fixture
def weights(trained: Path) -> Path:
    return trained / "weights" / "best.pt"


def tree(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_synth_is_the_same_for_the_same_seed(kdlnet: Command, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run = kdlnet(f"data synth {name} --count 3 --image-size 96x128 --seed {seed} --json")
        assert run.document["images"] == 3
        assert run.code == 0
    images = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.png"))]
        for name in "abc"
    }
    assert images["a"] == images["b"] != images["c"]


def test_convert_links_what_the_lists_name(kdlnet: Command, dataset: Path, tmp_path: Path) -> None:
    before = tree(dataset)
    (tmp_path / "train.txt").write_text("images/000000.png\nimages/000001.png\n")
    images = sorted(path.relative_to(dataset) for path in (dataset / "images").rglob("*.png"))
    (tmp_path / "train.txt").write_text("".join(f"{path}\n" for path in images[:5]))
    (tmp_path / "val.txt").write_text("".join(f"{path}\n" for path in images[5:8]))
    line = "data convert yolo --out o --split train=train.txt --split val=val.txt"
    run = kdlnet(line, dataset, "--json")
    assert run.code == 0, run.err
    assert run.document["splits"]["train"]["images"] == 5
    assert run.document["splits"]["val"]["images"] == 3
    assert run.document["left_out"] == {"not in a split": 4}
    assert (tmp_path / "o" / "data.yaml").is_file()
    assert tree(dataset) == before
    again = kdlnet(line, dataset)
    assert again.code == 1
    assert "--overwrite" in again.error


def test_train_leaves_a_run_folder(trained: Path, dataset: Path) -> None:
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*")}
    wanted = {"weights/best.pt", "weights/last.pt", "config.yaml", "results.csv"}
    assert wanted | {"environment.json"} <= names
    rows = list(csv.DictReader((trained / "results.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["epochs"] == 2
    assert config["data"]["name"] == str(dataset)


def test_train_document_and_numbered_folders(kdlnet: Command, dataset: Path) -> None:
    for name in ("set", "set-2"):
        run = kdlnet(f"{TRAIN} '{dataset}' --epochs 1 --json")
        assert run.code == 0, run.err
        assert run.document["folder"].endswith(f"runs/train/{name}")
        assert Path(run.document["best"]).is_file()
        assert run.document["reason"] == "epochs"
        assert "epoch 1/1" in run.err


def test_train_from_the_resolved_config(kdlnet: Command, trained: Path) -> None:
    """The run folder's config.yaml alone repeats the run."""
    run = kdlnet("train --json --set epochs=1 --config", trained / "config.yaml")
    assert run.code == 0, run.err


def test_init_from_weights(kdlnet: Command, dataset: Path, weights: Path) -> None:
    run = kdlnet(f"{TRAIN} '{dataset}' --epochs 1 --init", weights)
    assert run.code == 0, run.err
    assert "4 of 4 classes taken over" in run.out


def test_val(kdlnet: Command, dataset: Path, weights: Path, tmp_path: Path) -> None:
    before = tree(dataset)
    run = kdlnet("val --json --weights", weights, "--data", dataset)
    assert run.code == 0, run.err
    assert 0 <= run.document["ap"] <= run.document["ap50"] <= 1
    assert run.document["images"] == 2
    written = json.loads((tmp_path / "runs/val/set/metrics.json").read_text())
    assert written["per_class"] == run.document["per_class"]
    assert tree(dataset) == before


def test_fuse_twice(kdlnet: Command, dataset: Path, weights: Path, tmp_path: Path) -> None:
    fused = tmp_path / "fused.pt"
    run = kdlnet("fuse --json", weights, "--data", dataset, "--split", "train", "--out", fused)
    assert run.code == 0, run.err
    facts = run.document
    assert facts["passed"] is facts["real_images"] is True
    assert facts["largest_logit_error"] <= facts["tolerance"]
    assert facts["parameters_after"] < facts["parameters_before"]
    again = kdlnet("fuse", fused)
    assert again.code == 0
    assert "fused already" in again.out
    assert not (tmp_path / "fused-fused.pt").exists()
    measured = [kdlnet("val --json", file, "--data", dataset).document for file in (weights, fused)]
    assert measured[0]["ap"] == pytest.approx(measured[1]["ap"], abs=1e-3)
    refused = kdlnet(f"{TRAIN} '{dataset}' --init", fused)
    assert refused.code == 1
    assert "unfused" in refused.error


def test_failed_proof_is_4_and_leaves_no_file(
    kdlnet: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold that forgets a bias must not pass."""
    from kdlnet.engine import certificate
    from kdlnet.models.fuse import fuse_model

    def wrong(detector: torch.nn.Module) -> torch.nn.Module:
        fused = fuse_model(detector)
        with torch.no_grad():
            next(parameter for parameter in fused.parameters() if parameter.ndim == 1).add_(0.5)
        return fused

    monkeypatch.setattr(certificate, "fuse_model", wrong)
    run = kdlnet("fuse", weights, "--out", tmp_path / "wrong.pt", "--json")
    assert run.code == run.document["error"]["code"] == 4
    assert "no file was written" in run.document["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_interrupted_training_goes_on(kdlnet: Command, dataset: Path, tmp_path: Path) -> None:
    """Ctrl-C after the first epoch, then the command that the last line names."""
    line = [sys.executable, "-m", "kdlnet_cli", *TRAIN.split(), str(dataset), "--out", "run"]
    process = subprocess.Popen(
        [*line, "--epochs", "12"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "run/weights/last.pt is intact" in error
    assert kdlnet("val --no-pictures run/weights/last.pt --data", dataset).code == 0
    command = error.rstrip().rpartition("go on with: kdlnet ")[2]
    assert command == "train --resume run"
    run = kdlnet(f"{command} --json")
    assert run.code == 0, run.err
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "run/results.csv").open())] == [
        str(epoch) for epoch in range(12)
    ]


BAD_FLAGS = [
    ("--model lightnt", ["'lightnt'", "did you mean 'lightnet'"]),
    ("--device cudda", ["'cudda'", "cpu"]),
    ("--data neu-dett", ["'neu-dett'", "did you mean 'neu-det'"]),
    ("--data nowhere/data.yaml", ["nowhere/data.yaml"]),
    ("--data .", ["'.'"]),
    ("--set optim.lrr=1", ["optim.lrr", "optim.lr"]),
    ("--init nowhere.pt", ["nowhere.pt", "does not exist"]),
    ("--init .", ["'.'", "folder"]),
    ("--resume nowhere", ["nowhere"]),
    ("--set data.val_split=vall", ["'vall'", "val"]),
]


@pytest.mark.parametrize(("flags", "words"), BAD_FLAGS, ids=[flags for flags, _ in BAD_FLAGS])
def test_train_user_errors(
    kdlnet: Command, dataset: Path, tmp_path: Path, flags: str, words: list[str]
) -> None:
    known = "train" if "--resume" in flags else f"{TRAIN} '{dataset}'"
    run = kdlnet(f"{known} {flags}")
    assert run.code == 1, run.err
    assert all(word in run.error for word in words), run.error
    assert list(tmp_path.iterdir()) == []


class Bomb:
    """Pickled, it runs a command when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.fixture
def bad_weights(tmp_path: Path) -> Path:
    with (tmp_path / "bomb.pt").open("wb") as file:
        pickle.dump(Bomb(), file)
    torch.save({"state": Bomb()}, tmp_path / "zipped-bomb.pt")
    torch.save({"state": {}}, tmp_path / "other.pt")
    (tmp_path / "zero.pt").touch()
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "folder.pt").mkdir()
    return tmp_path


NAMES = ["bomb", "zipped-bomb", "other", "zero", "text", "folder", "missing"]


@pytest.mark.parametrize("verb", ["val", "fuse"])
@pytest.mark.parametrize("name", NAMES)
def test_bad_weights(
    kdlnet: Command, bad_weights: Path, dataset: Path, name: str, verb: str
) -> None:
    run = kdlnet(verb, f"{name}.pt", "--data", dataset, "--json")
    assert run.code == run.document["error"]["code"] == 1
    assert f"{name}.pt" in run.error
    assert not (bad_weights / "exploded").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--split tset", ["'tset'", "train, val"]),
        ("--device cudda", ["'cudda'", "cpu"]),
        ("--image-size 65", ["'65'", "multiple"]),
        ("--data-root nowhere --data neu-det", ["neu-det"]),
    ],
)
def test_val_user_errors(
    kdlnet: Command, dataset: Path, weights: Path, flags: str, words: list[str]
) -> None:
    run = kdlnet(f"val '{weights}' --data '{dataset}' {flags}")
    assert run.code == 1
    assert all(word in run.error for word in words), run.error


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data synth full", ["full", "not empty", "--overwrite"]),
        ("data synth file", ["file", "not a folder"]),
        ("data synth new --image-size 8", ["8"]),
        ("data convert vocc full --out new", ["'vocc'", "did you mean 'voc'"]),
        ("data convert voc nowhere --out new", ["nowhere", "does not exist"]),
        ("data convert voc empty --out new", ["empty"]),
        ("data convert voc file --out new", ["file", "not a folder"]),
    ],
)
def test_data_user_errors(kdlnet: Command, tmp_path: Path, line: str, words: list[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    run = kdlnet(line)
    assert run.code == 1
    assert all(word in run.error for word in words), run.error
    assert not (tmp_path / "new").exists()


@pytest.fixture
def spoiled(dataset: Path, tmp_path: Path) -> Path:
    """The set with one label row out of range, one truncated image and one of no bytes."""
    folder = tmp_path / "spoiled"
    shutil.copytree(dataset, folder)
    images = [folder / line for line in (folder / "train.txt").read_text().split()]
    labels = sorted((folder / "labels").rglob("*.txt"))
    labels[0].write_text("99 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.2 0.2\n")
    images[1].write_bytes(images[1].read_bytes()[:200])
    images[2].write_bytes(b"")
    return folder


def test_spoiled_data_is_told_and_left_out(kdlnet: Command, spoiled: Path) -> None:
    run = kdlnet(f"{TRAIN} '{spoiled}' --epochs 1 --json")
    assert run.code == 0, run.err
    warnings = [line for line in run.err.splitlines() if line.startswith("warning: ")]
    assert any("000000.txt:1" in line for line in warnings), warnings
    assert any("000001.png" in line for line in warnings), warnings
    assert any("000002.png" in line for line in warnings), warnings


def test_spoiled_data_fails_with_strict(kdlnet: Command, spoiled: Path) -> None:
    run = kdlnet(f"{TRAIN} '{spoiled}' --epochs 1 --strict")
    assert run.code == 1
    assert "000000.txt:1" in run.error
