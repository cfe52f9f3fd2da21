"""``kdlnet data check`` as a user calls it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from .conftest import Command


@pytest.fixture
def leaky(dataset: Path, tmp_path: Path) -> Path:
    """The synthetic set with its first image of train in val, too."""
    folder = tmp_path / "leaky"
    shutil.copytree(dataset, folder)
    line = (folder / "train.txt").read_text().splitlines()[0]
    with (folder / "val.txt").open("a") as file:
        file.write(f"{line}\n")
    return folder


@pytest.fixture
def fixture(tmp_path: Path) -> Path:
    """Six parts with one background, two of them in val."""
    folder, rng = tmp_path / "fixture", np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    base = 120 + 900 * cv2.GaussianBlur(rng.normal(size=(200, 240)), (0, 0), 2)
    for part in range(6):
        file = folder / "images" / f"part-{part}.png"
        cv2.imwrite(str(file), np.clip(base * (1 - 0.05 * part), 0, 255).astype(np.uint8))
        (folder / "labels" / f"part-{part}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "train.txt").write_text("".join(f"images/part-{n}.png\n" for n in range(4)))
    (folder / "val.txt").write_text("images/part-4.png\nimages/part-5.png\n")
    (folder / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [pit]\n")
    return folder


def test_the_table_says_the_worst_first(kdlnet: Command, leaky: Path) -> None:
    run = kdlnet("data check --out found", leaky)
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert any(line.startswith("error") and "split" in line for line in lines)
    assert lines[2].startswith("error"), "worst first"
    assert "found/findings.json" in run.out
    assert Path("found/groups.csv").is_file()


def _last_column(table: str) -> str:
    """Its cells on one line, however they are broken."""
    lines = table.splitlines()
    at = lines[0].index("what to do")
    return " ".join(" ".join(line[at:] for line in lines).split())


@pytest.mark.parametrize(("sides", "told"), [((6, 12), True), ((6, 6), False)])
def test_advice_that_holds_for_the_first_finding_alone_says_so(
    kdlnet: Command, dataset: Path, tmp_path: Path, sides: tuple[int, int], told: bool
) -> None:
    """Boxes of 6 and 12 of 96 pixels have the 8 that are wanted at 128 and at 64."""
    folder = tmp_path / "small"
    shutil.copytree(dataset, folder)
    for file in (folder / "labels").rglob("*.txt"):
        file.write_text("")
    for file, side in zip(sorted((folder / "labels").rglob("*.txt")), sides, strict=False):
        file.write_text(f"0 .5 .5 {side / 96} {side / 96}\n")
    run = kdlnet("data check --only small-box --image-size 32", folder)
    assert "0 errors, 2 warnings" in run.out, run.err
    assert "--image-size 128" in run.out
    assert ("others" in run.out) is told


def test_the_document(kdlnet: Command, leaky: Path) -> None:
    run = kdlnet("data check --json --only split", leaky)
    assert "1 error, 0 warnings, 0 notes" in run.err
    assert [finding["check"] for finding in run.document["findings"]] == ["split"]
    assert run.document["counts"] == {"error": 1, "warning": 0, "info": 0}


def test_the_groups_of_a_check_divide_a_set_of_lists(kdlnet: Command, dataset: Path) -> None:
    """A set that `data split` wrote has its images outside its own folder."""
    assert kdlnet("data split", dataset, "--out", "lists").code == 0
    check = kdlnet("data check lists --only rows --out found")
    assert check.code == 0, check.err
    split = kdlnet("data split lists --group-by found/groups.csv --out again")
    assert split.code == 0, split.err
    assert kdlnet("data show lists --findings found/findings.json --out page").code == 0
    text = Path("found/groups.csv").read_text()
    assert "../" not in text and text.splitlines()[1].startswith("images/")


def test_parts_on_one_fixture_are_told_the_way_that_ends(kdlnet: Command, fixture: Path) -> None:
    """They are one group, which cannot be divided; divided by copies, they look alike still."""
    run = kdlnet("data check", fixture)
    advice = "different parts on one fixture? kdlnet data split --group-by copies"
    assert "near-duplicate" in run.out and _last_column(run.out).count(advice) == 3, run.out
    for rule, told in (("duplicates", True), ("'^(p)'", False)):
        run = kdlnet(f"data split '{fixture}' --out none --group-by {rule}")
        assert run.code == 1 and "1 group cannot fill 3 parts" in run.err
        assert ("--group-by copies" in run.err) is told, run.err
    for out in ("--out lists", "--out folds --folds 2"):
        assert kdlnet(f"data split '{fixture}' {out} --group-by copies").code == 0
    for data in ("lists", "folds/fold-1"):
        run = kdlnet(f"data check {data} --fail-on error")
        assert run.code == 0, run.out
        again = run.out
        assert "near-duplicate" in again and "data split --group-by copies" not in again
        assert _last_column(again).count("one fixture? divided by copies, they may stay") == 3


@pytest.mark.parametrize(
    ("data", "level", "code"),
    [("leaky", "error", 4), ("leaky", "warning", 4), ("sound", "error", 0)],
)
def test_fail_on(
    kdlnet: Command, leaky: Path, dataset: Path, data: str, level: str, code: int
) -> None:
    folder = leaky if data == "leaky" else dataset
    run = kdlnet(f"data check --json --only split --fail-on {level}", folder)
    assert run.code == code
    assert run.document["dataset"] == folder.name, "the document comes all the same, and alone"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("data check nowhere/", 1, ["nowhere", "does not exist"]),
        ("data check neu-dett", 1, ["neu-dett", "did you mean 'neu-det'"]),
        ("data check empty", 1, ["empty", "neither a data.yaml nor images"]),
        ("data check SET --only splt", 1, ["splt", "did you mean 'split'"]),
        ("data check SET --fail-on eror", 2, ["eror", "error or warning"]),
        ("data check SET --image-size 65", 1, ["65", "multiple of 32"]),
        ("data check SET --out SET/found", 1, ["nothing is ever written"]),
    ],
)
def test_user_errors(
    kdlnet: Command, dataset: Path, tmp_path: Path, line: str, code: int, words: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    run = kdlnet(line.replace("SET", str(dataset)))
    assert run.code == code, run.err
    assert all(word in run.error for word in words), run.error
