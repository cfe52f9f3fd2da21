"""``kdlnet data show`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Command


def test_page_and_sheets(kdlnet: Command, dataset: Path) -> None:
    run = kdlnet("data show", dataset)
    assert run.code == 0, run.err
    folder = Path("runs/show") / dataset.name
    assert run.out.splitlines()[:2] == [f"sheet {folder}/sheet-{s}.png" for s in ("train", "val")]
    assert f"page {folder}/index.html: 12 images of up to 96 px" in run.out
    assert kdlnet("data show", dataset).out.count(f"{folder}-2/") == 3  # counts up


def test_document(kdlnet: Command, dataset: Path) -> None:
    run = kdlnet("data show", dataset, "--out", "look", "--limit", 5, "--split", "train", "--json")
    assert run.code == 0, run.err
    assert (run.document["images"], run.document["side"]) == (5, 96)
    assert run.document["page"] == str(Path("look/index.html").absolute())
    assert run.document == json.loads(Path("look/show.json").read_text())
    assert "5 of" in run.err
    assert kdlnet("data show", dataset, "--out", "look", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ("--limit 0", 2, ["0", "1 or more"]),
        ("--megabytes 0", 2, ["0", "more than 0"]),
        ("--megabytes nan", 2, ["nan", "more than 0"]),
        ("--megabytes inf", 2, ["inf", "finite"]),
        ("--split tets", 1, ["'tets'", "train, val"]),
        ("--findings no.json", 1, ["'no.json'", "No such file"]),
        ("--findings bad.json", 1, ["'bad.json'", "key findings"]),
        ("--out bad.json", 1, ["bad.json", "is a file"]),
        ("--out mine --overwrite", 1, ["mine", "not made by kdlnet"]),
    ],
)
def test_user_errors(
    kdlnet: Command, dataset: Path, tmp_path: Path, flags: str, code: int, words: list[str]
) -> None:
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    run = kdlnet(f"data show '{dataset}' {flags}")
    assert run.code == code, run.err
    assert all(word in run.err for word in words), run.err
    assert not Path("runs").exists()


def test_never_into_the_dataset(kdlnet: Command, dataset: Path) -> None:
    run = kdlnet("data show", dataset, "--out", dataset / "look")
    assert run.code == 1
    assert "lie inside each other" in run.error
    assert not (dataset / "look").exists()
