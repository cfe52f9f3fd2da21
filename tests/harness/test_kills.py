"""Verbs that are killed, terminated and interrupted at random moments, as users and machines do.

A training that goes on afterwards ends with the weights of one that was left alone, to the bit; no
unfinished folder and no temporary file stays behind once the next run has started.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from kdlnet.inference.weights import load_weights
from kdlnet.utils.manifest import DATASET_MARK, MARK

from ..support.squares import make_dataset
from ..support.weights_file import make_weights

pytestmark = pytest.mark.slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ROUNDS = int(os.environ.get("KDLNET_KILLS", "2"))
"""Kills of each verb with each signal; every killed training is killed once more on its way."""
MANY = 120
"""Images that predict goes through."""
LONGEST = 900  # seconds for one command on a loaded machine
TIMES = {"seconds", "images_per_second"}  # columns of results.csv that no two runs share


@dataclass(frozen=True)
class Training:
    """``start`` begins it in ``out``; ``resume`` goes on there; ``marks`` are files it leaves."""

    start: Callable[[Path, Path], list[str]]
    resume: Callable[[Path], list[str]]


def _settings(data: Path, out: Path, epochs: int = 4) -> list[str]:
    line = f"--image-size 64 --batch 4 --epochs {epochs} --device cpu --quiet"
    return [*line.split(), "--data", str(data), "--out", str(out)]


def _distill(*more: str, epochs: int = 3) -> Callable[[Path, Path], list[str]]:
    def start(data: Path, out: Path) -> list[str]:
        return ["distill", "--student", "lightnet-n", *more, *_settings(data, out, epochs)]

    return start


def _pretrain(data: Path, out: Path) -> list[str]:
    images, teacher = data.parent / "images" / "train", data.parents[1] / "weights.pt"
    line = f"pretrain --images {images} --teacher {teacher} --model lightnet-n --image-size 64"
    more = f"--views 8 --batch 8 --epochs 6 --device cpu --quiet --out {out}"
    return [*line.split(), *more.split()]


TRAININGS = {
    "train": Training(
        lambda data, out: ["train", "--model", "lightnet-n", *_settings(data, out)],
        lambda out: ["train", "--resume", str(out), "--quiet"],
    ),
    "series": Training(
        _distill("--generations", "2"), lambda out: ["distill", "--resume", str(out), "--quiet"]
    ),
    "baseline": Training(
        _distill("--baseline", epochs=2), lambda out: ["distill", "--resume", str(out), "--quiet"]
    ),
    "pretrain": Training(_pretrain, lambda out: ["pretrain", "--resume", str(out), "--quiet"]),
}


def _command(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "kdlnet_cli", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _run(arguments: Sequence[str], folder: Path) -> float:
    """Seconds of a command that must succeed."""
    began = time.monotonic()
    running = _command(arguments, folder)
    _, complaint = running.communicate(timeout=LONGEST)
    assert running.returncode == 0, complaint.decode()
    return time.monotonic() - began


def _strike(arguments: Sequence[str], folder: Path, blow: int, after: float) -> tuple[int, str]:
    """Sends ``blow`` after so many seconds; the exit code and what was said."""
    running = _command(arguments, folder)
    try:
        _, said = running.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        running.send_signal(blow)
        _, said = running.communicate(timeout=LONGEST)
    return running.returncode, said.decode()


def _strike_after(arguments: Sequence[str], folder: Path, seen: Callable[[], bool]) -> None:
    """Presses Ctrl-C as soon as something is ``seen``."""
    running = _command(arguments, folder)
    while not seen() and running.poll() is None:
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=LONGEST)


def _prints(out: Path) -> dict[str, str]:
    """A hash for each weights file and table below ``out``: what is left out is time."""
    found = {}
    for file in sorted(out.rglob("*.pt")):
        weights = load_weights(file, start=True)
        tensors = dict(weights.detector.state_dict())
        for part in ("detector", "student", "average"):
            tensors |= {f"{part} {k}": v for k, v in weights.training.get(part, {}).items()}
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
        found[str(file.relative_to(out))] = digest.hexdigest()
    for file in sorted(out.rglob("results.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [
                {k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)
            ]
        found[str(file.relative_to(out))] = json.dumps(rows)
    return found


def _leavings(folder: Path) -> list[str]:
    """Temporary files and unfinished folders below ``folder``."""
    hidden = [path for path in folder.rglob(".*") if path.name not in (MARK, DATASET_MARK)]
    return [str(path.relative_to(folder)) for path in hidden]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    make_dataset(folder / "data", count=8)
    make_weights(folder / "weights.pt")
    return folder


@pytest.mark.parametrize("name", list(TRAININGS))
def test_a_killed_training_goes_on_to_the_same_weights(name: str, place: Path) -> None:
    verb, data = TRAININGS[name], place / "data" / "data.yaml"
    whole = _run(verb.start(data, place / f"{name}-whole"), place)
    wanted = _prints(place / f"{name}-whole")
    assert any(file.endswith("best.pt") for file in wanted)
    rng, codes = random.Random(name), []
    for blow in SIGNALS:
        for number in range(ROUNDS):
            out = place / f"{name}-{blow.name}-{number}"
            code, said = _strike(verb.start(data, out), place, blow, rng.uniform(0, whole))
            codes.append(code)
            assert code in (0, 130, -blow), said
            assert "Traceback" not in said
            again = verb.resume(out) if any(out.rglob("last.pt")) else verb.start(data, out)
            if again[1] != "--resume":
                again.append("--overwrite")
            _strike(again, place, blow, rng.uniform(0, whole))
            again = verb.resume(out) if any(out.rglob("last.pt")) else again
            _run(again, place)
            assert _prints(out) == wanted, (blow, number)
    assert set(codes) - {0}, "no blow fell while a run was going on"
    assert _leavings(place) == []


@pytest.mark.parametrize("blow", SIGNALS, ids=lambda blow: blow.name)
def test_a_stopped_predict_leaves_whole_files(blow: signal.Signals, place: Path) -> None:
    images = place / "many"
    if not images.exists():
        images.mkdir()
        sources = sorted((place / "data/images").rglob("*.png"))
        for number in range(MANY):
            os.link(sources[number % len(sources)], images / f"{number}.png")
    line = ["predict", str(images), "--weights", str(place / "weights.pt"), "--device", "cpu"]
    line += ["--save", "images,txt,json,csv", "--quiet", "--out"]
    whole = _run([*line, str(place / f"all-{blow.name}")], place)
    rng = random.Random(blow.name)
    for number in range(ROUNDS):
        out = place / f"predict-{blow.name}-{number}"
        after = whole * rng.uniform(0.5, 0.95)
        code, said = _strike([*line, str(out)], place, blow, after)
        assert code in (0, 130, -blow), said
        if blow != signal.SIGKILL and any(out.rglob("*.jpg")):
            document = json.loads((out / "predictions.json").read_text())
            assert len(document["predictions"]) > 0
        for file in out.rglob("*.txt"):
            rows = [row.split() for row in file.read_text().splitlines()]
            assert {len(row) for row in rows} <= {6}
        _run([*line, str(out), "--overwrite"], place)
        document = json.loads((out / "predictions.json").read_text())
        assert len(document["predictions"]) == MANY
    assert _leavings(place) == []


@pytest.mark.parametrize("blow", SIGNALS, ids=lambda blow: blow.name)
def test_a_stopped_convert_leaves_all_or_nothing(blow: signal.Signals, place: Path) -> None:
    line = ["data", "convert", "yolo", str(place / "data"), "--quiet", "--out"]
    whole = _run([*line, str(place / f"whole-{blow.name}")], place)
    rng = random.Random(blow.name)
    for number in range(3 * ROUNDS):
        out = place / f"convert-{blow.name}-{number}"
        code, said = _strike([*line, str(out)], place, blow, whole * rng.uniform(0.3, 1.0))
        assert code in (0, 130, -blow), said
        assert not out.exists() or (out / "data.yaml").is_file()
        _run([*line, str(out), "--overwrite"], place)
        assert len(list(out.rglob("*.png"))) == 16
    assert _leavings(place) == []


def test_two_resumes_of_one_run_at_once(place: Path) -> None:
    """The second is refused with a line and writes nothing; the first ends as if it were alone."""
    data, out = place / "data" / "data.yaml", place / "twice"
    line = ["train", "--model", "lightnet-n", *_settings(data, out, epochs=2000)]
    _strike_after(line, place, lambda: (out / "results.csv").is_file())
    settings = (out / "config.yaml").read_bytes()
    shutil.copytree(data.parent, place / "copy")
    resume = ["train", "--resume", str(out), "--quiet"]
    first = _command(resume, place)
    rows = len((out / "results.csv").read_text().splitlines())
    while len((out / "results.csv").read_text().splitlines()) == rows and first.poll() is None:
        time.sleep(0.2)
    moved = [*resume, "--data", str(place / "copy" / "data.yaml")]
    code, said = _strike(moved, place, signal.SIGKILL, LONGEST)
    assert (code, len(said.strip().splitlines())) == (1, 1), said
    assert "another kdlnet is at work" in said
    assert first.poll() is None, "the first ended too soon for this test"
    first.send_signal(signal.SIGINT)
    _, complaint = first.communicate(timeout=LONGEST)
    assert first.returncode == 130, complaint.decode()
    assert (out / "config.yaml").read_bytes() == settings
    detector = load_weights(out / "weights/last.pt").detector
    assert torch.isfinite(next(iter(detector.parameters()))).all()
