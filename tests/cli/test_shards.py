"""``kdlnet predict --shard`` as two processes that are killed, started again and merged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ..support.weights_file import make_file

if TYPE_CHECKING:
    from .conftest import Command

MANY = 600


def _start(folder: Path, number: int) -> subprocess.Popen[bytes]:
    line = f"predict list.txt --weights best.pt --out lot --shard {number}/2 --save csv --quiet"
    return subprocess.Popen([sys.executable, "-m", "kdlnet_cli", *line.split()], cwd=folder)


def _lines(folder: Path, number: int) -> int:
    book = folder / f"lot/shard-{number}-of-2/predictions.jsonl"
    return book.read_bytes().count(b"\n") if book.exists() else 0


@pytest.mark.slow
def test_two_processes_killed_and_started_again_answer_each_image_once(tmp_path: Path) -> None:
    make_file(tmp_path / "best.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    names = [f"{number:03}.png" for number in range(MANY)]
    (tmp_path / "line").mkdir()
    for name in names:
        (tmp_path / "line" / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (tmp_path / "list.txt").write_text("\n".join(f"line/{name}" for name in names))
    for least in (1, 60):
        children = [_start(tmp_path, number) for number in (1, 2)]
        while min(_lines(tmp_path, n) for n in (1, 2)) < least:
            assert all(child.poll() is None for child in children)
            time.sleep(0.02)
        for child in children:
            child.kill()
            child.wait()
        assert all(least <= _lines(tmp_path, n) < MANY / 2 for n in (1, 2))
    assert [child.wait(300) for child in [_start(tmp_path, n) for n in (1, 2)]] == [0, 0]
    merge = [sys.executable, "-m", "kdlnet_cli", "predict", "--merge", "lot", "--json"]
    said = subprocess.run(merge, cwd=tmp_path, stdout=subprocess.PIPE, check=True, timeout=300)
    assert json.loads(said.stdout)["images"] == MANY
    rows = (tmp_path / "lot/verdicts.csv").read_text().splitlines()[1:]
    assert [Path(row.split(",")[0]).name for row in rows] == names


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--merge lot --shard 1/2", "--merge and --shard exclude each other"),
        ("--merge lot --score 0.5", "--merge and a choice of how to predict exclude each other"),
        ("a.png --weights w.pt --shard 1/2 --overwrite", "--shard and --overwrite exclude"),
        ("--watch . --shard 1/2", "--watch and --shard exclude each other"),
    ],
)
def test_what_excludes_each_other(kdlnet: Command, line: str, complaint: str) -> None:
    result = kdlnet(f"predict {line}")
    assert result.code == 2 and complaint in result.error


def test_a_merge_needs_shards(kdlnet: Command) -> None:
    result = kdlnet("predict --merge lot")
    assert result.code == 1 and "holds no shards" in result.error
