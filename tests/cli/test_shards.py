"""``kdlnet predict --shard`` as two processes that are killed, started again and merged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ..support.team import members
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


def _made(folder: Path) -> list[str]:
    """Weights, a list of many images, and their names."""
    make_file(folder / "best.pt")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    names = [f"{number:03}.png" for number in range(MANY)]
    (folder / "line").mkdir()
    for name in names:
        (folder / "line" / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (folder / "list.txt").write_text("\n".join(f"line/{name}" for name in names))
    return names


@pytest.mark.slow
def test_two_processes_killed_and_started_again_answer_each_image_once(tmp_path: Path) -> None:
    names = _made(tmp_path)
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


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (signal.SIGKILL, 1, "process 2 of 2 of this prediction was killed (SIGKILL); give the"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_devices_do_their_shares_and_go_on_where_they_stopped(
    tmp_path: Path, end: signal.Signals, code: int, said: str
) -> None:
    """One of the processes is killed, or the command gets Ctrl-C; given again it ends the work."""
    names = _made(tmp_path)
    line = "predict list.txt --weights best.pt --out lot --devices 2 --save csv --json"
    command = [sys.executable, "-m", "kdlnet_cli", *line.split()]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while min(_lines(tmp_path, n) for n in (1, 2)) < 10:
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid if end == signal.SIGINT else members(running.pid)[1], end)
    problems = running.communicate(timeout=300)[1]
    assert running.returncode == code and said in problems
    assert not (tmp_path / "lot/verdicts.csv").exists()
    found = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True, timeout=300)
    assert json.loads(found.stdout)["images"] == MANY
    rows = (tmp_path / "lot/verdicts.csv").read_text().splitlines()[1:]
    assert [Path(row.split(",")[0]).name for row in rows] == names
    other = [*command[:-3], "--devices", "3"]
    again = subprocess.run(other, cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=300)
    assert again.returncode == 1 and "of another number of parts than 3" in again.stderr


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a.png --weights w.pt --devices 2", "--devices needs a folder"),
        ("a.png --weights w.pt --devices 2 --shard 1/2", "--devices and --shard exclude"),
        ("--watch . --devices 2", "--watch and --devices exclude each other"),
        ("--merge lot --devices 2", "--merge and --devices exclude each other"),
        ("--merge lot --shard 1/2", "--merge and --shard exclude each other"),
        ("--merge lot --strict", "--merge and --strict exclude each other"),
        ("--merge lot --overwrite", "--merge and --overwrite exclude each other"),
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
