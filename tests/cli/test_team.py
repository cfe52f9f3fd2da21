"""``--devices``: processes that begin and end as one, however they end."""

from __future__ import annotations

import csv
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest

from kdlnet.inference.weights import load_weights
from kdlnet_cli import team  # noqa: TID251

from ..support.squares import make_dataset
from ..support.team import members

if TYPE_CHECKING:
    from .conftest import Command

LONGEST = 300  # seconds for anything on a loaded machine
DEADLINE = 30  # seconds from the end of one process to that of all


@contextmanager
def _training(folder: Path, line: str) -> Iterator[subprocess.Popen[str]]:
    """``kdlnet`` in ``folder``; whatever happens, nothing of it is left."""
    with subprocess.Popen(
        [sys.executable, "-m", "kdlnet_cli", *line.split()],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def _rows(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / "run/results.csv").open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def _wait_for_rows(folder: Path, running: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + LONGEST
    while len(_rows(folder)) < count:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
def test_a_run_survives_what_happens_to_its_processes(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    line = "train --model lightnet-n --data data/data.yaml --image-size 64 --batch 4 --device cpu"
    line += " --epochs 5000 --init none --quiet --out run --devices 2"
    resume = "train --resume run --quiet"
    last = tmp_path / "run/weights/last.pt"

    with _training(tmp_path, line) as running:  # another process than the first is killed
        _wait_for_rows(tmp_path, running, 2)
        started = members(running.pid)
        os.kill(started[1], signal.SIGKILL)
        began = time.monotonic()
        _, said = running.communicate(timeout=LONGEST)
        assert time.monotonic() - began < DEADLINE
    complaints = [one for one in said.splitlines() if not one.startswith("warning: ")]
    assert len(complaints) == 1 and running.returncode == 1, said
    assert "process 2 of 2 of this training was killed (SIGKILL); go on with" in complaints[0]
    assert all(map(_gone, started))
    epoch = load_weights(last).training["state"]["epoch"]

    with _training(tmp_path, f"{resume} --devices 2") as running:  # and the first one
        _wait_for_rows(tmp_path, running, len(_rows(tmp_path)) + 1)
        started = members(running.pid)
        os.kill(started[0], signal.SIGKILL)
        began = time.monotonic()
        _, said = running.communicate(timeout=LONGEST)
        assert time.monotonic() - began < DEADLINE
    complaints = [one for one in said.splitlines() if not one.startswith("warning: ")]
    assert len(complaints) == 1 and "process 1 of 2" in complaints[0], said
    assert load_weights(last).training["state"]["epoch"] >= epoch
    assert all(map(_gone, started))

    with _training(tmp_path, resume) as running:  # alone, and stopped as by Ctrl-C
        _wait_for_rows(tmp_path, running, len(_rows(tmp_path)) + 1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=LONGEST)
    assert running.returncode == 130 and "--resume" in said

    with _training(tmp_path, f"{resume} --devices 2") as running:  # the same with two of them
        _wait_for_rows(tmp_path, running, len(_rows(tmp_path)) + 1)
        started = members(running.pid)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=LONGEST)
    assert running.returncode == 130 and said.count("--resume") == 1 and "error" not in said, said
    assert all(map(_gone, started))

    with _training(tmp_path, f"{resume} --devices 2") as running:  # the team itself is killed
        _wait_for_rows(tmp_path, running, len(_rows(tmp_path)) + 1)
        started = members(running.pid)
        running.kill()
        deadline = time.monotonic() + LONGEST
        while not all(map(_gone, started)) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert all(map(_gone, started))
    epochs = [int(row["epoch"]) for row in _rows(tmp_path)]
    assert epochs == list(range(len(epochs)))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
def test_a_stop_while_its_processes_start_is_one_line(tmp_path: Path) -> None:
    """Python itself starts in them; the others do not wait for the first one, which has gone."""
    make_dataset(tmp_path / "data")
    line = "train --data data/data.yaml --image-size 64 --batch 4 --device cpu --devices 2"
    with _training(tmp_path, line) as running:
        while len(started := members(running.pid)) < 2:
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = running.communicate(timeout=LONGEST)
        assert time.monotonic() - began < 10  # seconds; the grace of those that fail is longer
    assert (running.returncode, said) == (130, "interrupted\n")
    assert all(map(_gone, started)) and not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
@pytest.mark.parametrize("number", [1, 2])
def test_a_stop_between_the_starts_of_its_processes_leaves_none_behind(
    tmp_path: Path, number: int
) -> None:
    """It is raised only once all are started, and then there is somebody to hear it."""
    make_dataset(tmp_path / "data")
    code = (
        "import os, signal, subprocess, sys\nfrom kdlnet_cli.__main__ import run\n"
        "class Popen(subprocess.Popen):\n    count = 0\n    def __init__(self, *args, **more):\n"
        "        super().__init__(*args, **more)\n        Popen.count += 1\n"
        f"        if Popen.count == {number}: os.kill(os.getpid(), signal.SIGINT)\n"
        "subprocess.Popen = Popen\nrun()\n"
    )
    line = "train --data data/data.yaml --image-size 64 --batch 4 --device cpu --devices 2"
    with subprocess.Popen(
        [sys.executable, "-c", code, *line.split()], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        said = running.stderr.read()  # until the last process that holds it has ended
    assert (running.returncode, said) == (130, "interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a process keeps its parent there")
def test_a_process_ends_with_the_torchrun_that_started_it() -> None:
    member = (
        "import signal, sys, time\n"
        "from kdlnet_cli.team import heard_once\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "with heard_once():\n    print('at work', flush=True)\n    time.sleep(300)\n"
    )
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {member!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", launcher],
        env={**os.environ, "TORCHELASTIC_RUN_ID": "none", "RANK": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as torchrun:
        assert torchrun.stdout is not None
        assert torchrun.stdout.readline() == "at work\n"
        torchrun.kill()
        killed = time.monotonic()
        assert torchrun.stdout.read() == ""  # the pipe ends with the last process that holds it
        assert time.monotonic() - killed < DEADLINE


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data")
    line = "train --model lightnet-n --data data/data.yaml --image-size 64 --device cpu --devices 2"
    for more, complaint in (
        (" --batch 3 --epochs 1", "error: a batch of 3 images cannot be shared by 2 devices"),
        (" --device cpu:7", "error: device 'cpu:7' for several processes"),
    ):
        with _training(tmp_path, line + more) as running:
            _, said = running.communicate(timeout=LONGEST)
        assert running.returncode == 1
        (error,) = (one for one in said.splitlines() if one.startswith("error: "))
        assert error.startswith(complaint), said


def test_torchrun_has_started_them_already(
    kdlnet: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    result = kdlnet("train --data parts --devices 2")
    assert result.code == 2 and "--devices and torchrun exclude each other" in result.error


def test_on_windows_a_member_waits_for_the_team_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent may be the python.exe of a venv, which ends after it."""
    waited = []

    class Kernel:
        def __init__(self, name: str) -> None:
            self.OpenProcess = MagicMock(side_effect=lambda right, inherit, process: process)

        def WaitForSingleObject(self, handle: ctypes.c_void_p, milliseconds: int) -> None:
            waited.append(handle.value)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", Kernel, raising=False)
    monkeypatch.setattr(team, "ctypes", ctypes, raising=False)
    monkeypatch.setenv("KDLNET_TEAM", "4711")
    team._team_is_gone()
    team._parent_is_gone()
    assert waited == [4711, os.getppid()]


def test_members_are_told_which_process_their_team_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, str]] = []
    monkeypatch.setattr(team.subprocess, "Popen", lambda *_, **how: told.append(how["env"]))
    members = team._Team(2, ["predict"], team.PREDICTION)
    members._begin()
    for said in members._said:
        said.close()
    assert [(each["RANK"], each["KDLNET_TEAM"]) for each in told] == [
        ("0", str(os.getpid())),
        ("1", str(os.getpid())),
    ]
