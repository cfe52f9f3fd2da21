"""What people give by mistake: one line that names it, exit code 1, nothing written."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from .conftest import Command

BAD_FLAGS = [
    ("--model lightnt", ["'lightnt'", "did you mean 'lightnet'"]),
    ("--device cudda", ["'cudda'", "cpu"]),
    ("--data neu-dett", ["'neu-dett'", "did you mean 'neu-det'"]),
    ("--data nowhere/data.yaml", ["nowhere/data.yaml"]),
    ("--data .", ["'.'"]),
    ("--set optim.lrr=1", ["optim.lrr", "optim.lr"]),
    ("--set lr=1", ["'lr'; did you mean 'optim.lr'?"]),
    ("--init nowhere.pt", ["nowhere.pt", "does not exist"]),
    ("--init .", ["'.'", "folder"]),
    ("--resume nowhere", ["nowhere", "does not exist: give the folder of a run"]),
    ("--set data.val_split=vall", ["'vall'", "val"]),
]


@pytest.mark.parametrize(("flags", "words"), BAD_FLAGS, ids=[flags for flags, _ in BAD_FLAGS])
def test_train_user_errors(
    kdlnet: Command, training: str, dataset: Path, tmp_path: Path, flags: str, words: list[str]
) -> None:
    known = "train" if "--resume" in flags else f"{training} '{dataset}'"
    run = kdlnet(f"{known} {flags}")
    assert run.code == 1, run.err
    assert all(word in run.error for word in words), run.error
    assert not list(tmp_path.rglob("*.pt"))


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


ENGINE_WORDS = ["TensorRT engine", "no runtime", ".onnx", "--device tensorrt", "docs/deploy.md"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("predict '{data}' --weights best.engine", ENGINE_WORDS),
        ("val best.engine --data '{data}'", ENGINE_WORDS),
        ("bench best.engine '{data}'", ENGINE_WORDS),
        ("compare '{weights}' best.engine --data '{data}'", ENGINE_WORDS),
        ("calibrate best.engine --data '{data}' --f1", ENGINE_WORDS),
        ("fuse best.engine", ["TensorRT engine", "give the .pt"]),
        ("export best.engine", ["exported file", "give the .pt"]),
        ("val missing.engine --data '{data}'", ["no file 'missing.engine'"]),
    ],
)
def test_an_engine_of_tensorrt(
    kdlnet: Command, dataset: Path, weights: Path, tmp_path: Path, line: str, words: list[str]
) -> None:
    (tmp_path / "best.engine").write_bytes(b"built on a card")
    run = kdlnet(line.format(data=dataset, weights=weights))
    assert run.code == 1
    assert all(word in run.err.splitlines()[-1] for word in words), run.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.engine"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--split tset", ["'tset'", "train, val"]),
        ("--device cudda", ["'cudda'", "cpu"]),
        ("--image-size 65", ["'65'", "multiple"]),
        ("--data-root nowhere --data neu-det", ["nowhere", "is not a folder"]),
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
        ("data synth new --onto empty", ["empty", "no good part"]),
        ("data convert vocc full --out new", ["'vocc'", "did you mean 'voc'"]),
        ("data convert voc nowhere --out new", ["nowhere", "does not exist"]),
        ("data convert voc empty --out new", ["empty"]),
        ("data convert voc file --out new", ["file", "not a folder"]),
        ("data convert coco file --out new", ["inside each other", "--images"]),
        ("data convert coco file --images empty --out new", ["file", "is not JSON"]),
        ("data convert coco empty --out new", ["no .json", "empty"]),
        ("data convert cvat empty --out new", ["no .xml", "empty"]),
        ("data convert labelme empty --out new", ["no .json", "empty"]),
        ("data convert csv empty --out new", ["no .csv", "empty"]),
        ("data convert csv file --images empty --out new", ["file", "no column of images"]),
        ("data convert yolo full --out new --to cooc", ["'cooc'", "did you mean 'coco'"]),
        ("data convert coco empty --images nowhere --out new", ["nowhere", "not a folder"]),
        ("data prepare neu-dte --from empty --out new", ["neu-dte", "did you mean 'neu-det'"]),
        ("data prepare neu-det --from empty --out new", ["IMAGES, ANNOTATIONS"]),
        ("data prepare synth --from empty --out new", ["kdlnet data synth"]),
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


def test_spoiled_data_is_told_and_left_out(kdlnet: Command, training: str, spoiled: Path) -> None:
    run = kdlnet(f"{training} '{spoiled}' --epochs 1 --json")
    assert run.code == 0, run.err
    warnings = [line for line in run.err.splitlines() if line.startswith("warning: ")]
    assert any("000000.txt:1" in line for line in warnings), warnings
    assert any("000001.png" in line for line in warnings), warnings
    assert any("000002.png" in line for line in warnings), warnings


def test_spoiled_data_fails_with_strict(kdlnet: Command, training: str, spoiled: Path) -> None:
    run = kdlnet(f"{training} '{spoiled}' --epochs 1 --strict")
    assert run.code == 1
    assert "000000.txt:1" in run.error
