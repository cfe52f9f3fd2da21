"""``kdlnet predict --watch`` as a process: told to stop, killed, started again."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..support.weights_file import make_file

if TYPE_CHECKING:
    from .conftest import Command


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kdlnet_cli", "predict", "--watch", "line", "--settle", "0.1"]
    command += ["--weights", "best.pt", "--out", "out", "--json", "--quiet"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def _images(folder: Path, names: list[str]) -> None:
    for name in names:
        pixels = np.random.default_rng(len(name)).integers(0, 255, (64, 64), np.uint8)
        (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _rows(folder: Path) -> list[str]:
    files = sorted((folder / "out").glob("????-??-??.csv"))
    return [row["name"] for file in files for row in csv.DictReader(file.read_text().splitlines())]


def test_killed_and_told_to_stop_no_image_is_lost_or_answered_twice(tmp_path: Path) -> None:
    make_file(tmp_path / "best.pt")
    line = tmp_path / "line"
    line.mkdir()
    names = [f"{number:03}.png" for number in range(60)]
    _images(line, names)
    with _start(tmp_path) as child:
        assert child.stdout is not None
        first = json.loads(child.stdout.readline())
        child.kill()
    assert first["name"] == names[0] and first["verdict"] in ("OK", "NG")
    answered = _rows(tmp_path)
    assert answered and len(answered) < 60
    _images(line, ["late.png"])
    with _start(tmp_path) as child:
        deadline = time.monotonic() + 60
        while len(_rows(tmp_path)) < 61 and time.monotonic() < deadline:
            time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert sorted(_rows(tmp_path)) == [*names, "late.png"]
    assert len(list((tmp_path / "out" / "verdicts").iterdir())) == 61


def test_what_does_not_go_with_watch(kdlnet: Command) -> None:
    run = kdlnet("predict --watch line --weights w.pt --fail-on ng")
    assert run.code == 2 and "--watch and --fail-on exclude each other" in run.err
    run = kdlnet("predict --watch line --weights w.pt --save crops")
    assert run.code == 2 and "--save crops with --watch: give images or json" in run.err
    run = kdlnet("predict parts --settle 1 --weights w.pt")
    assert run.code == 2 and "--settle belongs to --watch" in run.err


def test_a_folder_that_is_not_there_is_not_said_to_be_watched(kdlnet: Command) -> None:
    make_file(Path("best.pt"))
    run = kdlnet("predict --watch line --weights best.pt")
    assert run.code == 1 and "'line' is no folder" in run.err and "watching" not in run.out
