"""``kdlnet data split`` as a person types it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Command


def test_table_and_lists(kdlnet: Command, dataset: Path) -> None:
    """The synthetic set has 12 images: without shares 80, 10 and 10 % of them."""
    run = kdlnet("data split", dataset, "--out", "new")
    assert run.code == 0, run.err
    cells = [line.split() for line in run.out.splitlines()]
    assert [
        "all",
        "train",
        "80",
        "%",
        "val",
        "10",
        "%",
        "test",
        "10",
        "%",
        "groups",
        "off",
        "by",
    ] in cells
    (images,) = [row for row in cells if row[:1] == ["images"] and row[1] == "12"]
    assert sum(map(int, images[2:5])) == 12
    assert "give --group-by" in run.out
    assert run.out.rstrip().endswith("dataset new/data.yaml")
    assert kdlnet("data split new --out again --folds 2 --quiet").code == 0


def test_document(kdlnet: Command, dataset: Path) -> None:
    flags = ["--val", "0.5", "--group-by", r"(\d)\.png$", "--seed", 3, "--json"]
    run = kdlnet("data split", dataset, "--out", "new", *flags)
    assert run.code == 0, run.err
    assert [(part["share"]) for part in run.document["parts"].values()] == [0.5, 0.5]
    assert run.document["groups"] == 10
    assert run.document["files"] == [str(Path("new/data.yaml").absolute())]


def test_keep(kdlnet: Command, dataset: Path) -> None:
    run = kdlnet("data split", dataset, "--out", "new", "--keep", "val")
    assert run.code == 0, run.err
    assert "val (kept)" in run.out
    assert Path("new/val.txt").read_text().count("\n") == len(
        (dataset / "val.txt").read_text().split()
    )


@pytest.mark.parametrize(
    ("flags", "shares"),
    [
        ("--test 0", {"train": 0.9, "val": 0.1}),
        ("--val 0.25 --test 0", {"train": 0.75, "val": 0.25}),
        ("--val 0 --test 0", {"train": 1.0}),
        ("--keep train --test 0", {"val": 1.0, "train": None}),
    ],
)
def test_a_share_of_0_makes_no_such_split(
    kdlnet: Command, dataset: Path, flags: str, shares: dict[str, float | None]
) -> None:
    run = kdlnet(f"data split '{dataset}' --out new --json {flags}")
    assert run.code == 0, run.err
    assert {name: part["share"] for name, part in run.document["parts"].items()} == shares
    assert {file.stem for file in Path("new").glob("*.txt")} == shares.keys()


def test_keep_train(kdlnet: Command, dataset: Path) -> None:
    """What val and test get by default is the half of the rest for each."""
    run = kdlnet("data split", dataset, "--out", "new", "--keep", "train", "--json")
    assert run.code == 0, run.err
    shares = {name: part["share"] for name, part in run.document["parts"].items()}
    assert shares == {"val": 0.5, "test": 0.5, "train": None}


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ("--folds 2 --val 0.1", 2, ["--folds", "--val", "one of the two"]),
        ("--keep val --val 0.1", 2, ["--keep val", "--val"]),
        ("--folds 2 --keep val", 2, ["--keep val", "--folds", "--keep test"]),
        ("--folds 2 --keep train", 2, ["--keep train", "--folds", "--keep test"]),
        ("--val 0.7 --test 0.3", 2, ["--val 0.7 --test 0.3", "train"]),
        ("--train 0.8 --val 0.1", 2, ["--train 0.8 --val 0.1 sum to 0.9", "leave --train out"]),
        ("--train 0.5", 2, ["--train 0.5 sum to 0.5", "--val", "--test"]),
        ("--train 0.8 --val 0.3", 1, ["train 0.8, val 0.3", "sum to 1.1"]),
        ("--val -0.1", 1, ["share of val is -0.1"]),
        ("--folds 1", 1, ["1 folds", "2 or more"]),
        ("--folds 0", 1, ["0 folds", "2 or more"]),
        ("--folds 99", 1, ["12 groups cannot fill 99 parts"]),
        ("--group-by '(x)y'", 1, ["'(x)y'", "12 of 12"]),
        ("--group-by no.csv", 1, ["'no.csv'", "No such file"]),
        ("--keep test", 1, ["'test'", "train, val"]),
    ],
)
def test_user_errors(
    kdlnet: Command, dataset: Path, flags: str, code: int, words: list[str]
) -> None:
    run = kdlnet(f"data split '{dataset}' --out new {flags}")
    assert run.code == code, run.err
    assert all(word in run.err for word in words), run.err
    assert not Path("new").exists()
