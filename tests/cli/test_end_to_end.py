"""The real engine behind the real command line, on a dozen small made-up images."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml

from kdlnet.inference.weights import load_weights
from kdlnet.utils.manifest import strangers

if TYPE_CHECKING:
    from .conftest import Command


def tree(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def epochs_of(run: Path) -> list[int]:
    with (run / "results.csv").open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


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
    assert epochs_of(trained) == [0, 1]
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["epochs"] == 2
    assert config["data"]["name"] == str(dataset)


def test_every_verb_lists_all_that_it_writes(
    kdlnet: Command, trained: Path, dataset: Path, weights: Path, tmp_path: Path
) -> None:
    """Else --overwrite would take a result for somebody's own file."""
    assert strangers(trained) == []
    assert len((trained / ".kdlnet").read_text().splitlines()) > 5
    for line in (
        f"val --weights '{weights}' --data",
        f"compare '{weights}' '{weights}' --data",
        "data show",
        "data check --out runs/check/set",
        f"predict --save images,txt,json,csv,crops --score 0.001 --weights '{weights}'",
    ):
        run = kdlnet(line, dataset / "images" if line.startswith("predict") else dataset)
        assert run.code == 0, run.err
    folders = [mark.parent for mark in tmp_path.glob("runs/*/*/.kdlnet")]
    assert len(folders) == 5
    for folder in folders:
        assert len([*folder.rglob("*.*")]) > 2 and strangers(folder) == []


def test_training_says_which_results_are_among_its_images(
    kdlnet: Command, training: str, dataset: Path, weights: Path, tmp_path: Path
) -> None:
    """As an older version left them there."""
    folder = shutil.copytree(dataset, tmp_path / "own") / "images"
    described = yaml.safe_load((dataset / "data.yaml").read_text())
    whole = {"train": "images", "val": "val/images", "names": described["names"]}
    for part in ("images", "labels"):
        shutil.copytree(dataset / part, tmp_path / "own/val" / part)
    (tmp_path / "own/data.yaml").write_text(yaml.safe_dump(whole))
    before = len(list(folder.rglob("*.png")))
    shutil.copytree(dataset / "images", folder / "runs/predict/x/images")
    (folder / "runs/predict/x/.kdlnet").touch()
    note = "left out a folder of results (with .kdlnet in it), first "
    for line in (f"{training} own --epochs 1 --json", "data check own", "data show own"):
        run = kdlnet(line)
        assert note in run.err, run.err
    assert note in kdlnet("data split own --out parts --folds 2 --json").err
    run = kdlnet("data convert yolo own --out other --json")
    assert note in run.err
    assert run.document["splits"]["train"]["images"] == before
    run = kdlnet(f"val --weights '{weights}' --data own --split train --json")
    assert run.document["images"] == before and note in run.err


def test_train_document_and_numbered_folders(kdlnet: Command, training: str, dataset: Path) -> None:
    for name in ("set", "set-2"):
        run = kdlnet(f"{training} '{dataset}' --epochs 1 --json")
        assert run.code == 0, run.err
        assert run.document["folder"].endswith(f"runs/train/{name}")
        assert Path(run.document["best"]).is_file()
        assert run.document["reason"] == "epochs"
        assert "epoch 1/1" in run.err


def test_train_from_the_resolved_config(kdlnet: Command, trained: Path) -> None:
    """The run folder's config.yaml alone repeats the run."""
    run = kdlnet("train --json --set epochs=1 --config", trained / "config.yaml")
    assert run.code == 0, run.err


def test_init_from_weights(kdlnet: Command, training: str, dataset: Path, weights: Path) -> None:
    run = kdlnet(f"{training} '{dataset}' --epochs 1 --init", weights)
    assert run.code == 0, run.err
    assert "4 of 4 classes taken over" in run.out


def test_val(kdlnet: Command, dataset: Path, weights: Path, tmp_path: Path) -> None:
    before = tree(dataset)
    run = kdlnet("val --json --weights", weights, "--data", dataset)
    assert run.code == 0, run.err
    assert 0 <= run.document["ap"] <= run.document["ap50"] <= 1
    assert run.document["images"] == 2
    page = (tmp_path / "runs/val/set/report.html").read_text(encoding="utf-8")
    assert "May this model go on the line?" in page and 'id="gallery"' in page
    written = json.loads((tmp_path / "runs/val/set/metrics.json").read_text())
    assert written["per_class"] == run.document["per_class"]
    assert tree(dataset) == before


def test_fuse_twice(
    kdlnet: Command, training: str, dataset: Path, weights: Path, tmp_path: Path
) -> None:
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
    refused = kdlnet(f"{training} '{dataset}' --init", fused)
    assert refused.code == 1
    assert "unfused" in refused.error


def test_failed_proof_is_4_and_leaves_no_file(
    kdlnet: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold that forgets a bias must not pass."""
    from kdlnet.models.fuse import fuse_model
    from kdlnet.verbs import fuse

    def wrong(detector: torch.nn.Module) -> torch.nn.Module:
        fused = fuse_model(detector)
        with torch.no_grad():
            next(parameter for parameter in fused.parameters() if parameter.ndim == 1).add_(0.5)
        return fused

    monkeypatch.setattr(fuse, "fuse_model", wrong)
    run = kdlnet("fuse", weights, "--out", tmp_path / "wrong.pt", "--json")
    assert run.code == run.document["error"]["code"] == 4
    assert "no file was written" in run.document["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_interrupted_training_goes_on(
    kdlnet: Command, training: str, dataset: Path, tmp_path: Path
) -> None:
    """Ctrl-C after the first epoch, then the command that the last line names."""
    line = [sys.executable, "-m", "kdlnet_cli", *training.split(), str(dataset), "--out", "run"]
    process = subprocess.Popen(
        [*line, "--epochs", "16"],
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
    saved = load_weights(tmp_path / "run/weights/last.pt").training["state"]["epoch"]
    assert f"run/weights/last.pt is intact and holds {saved} epoch" in error
    assert kdlnet("val --no-pictures run/weights/last.pt --data", dataset).code == 0
    command = error.rstrip().rpartition("go on with: kdlnet ")[2]
    assert command == "train --resume run"
    run = kdlnet(f"{command} --json")
    assert run.code == 0, run.err
    assert epochs_of(tmp_path / "run") == list(range(16))
