"""The day on a GPU, as far as a CPU can show it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from kdlnet.inference.weights import load_weights

from ..support.weights_file import make_file

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu_day(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_day")


def test_the_budgets_fit_into_nine_minutes(gpu_day, tmp_path):
    options = gpu_day.argparse.Namespace(toy=False)
    found = gpu_day.jobs(tmp_path, "data", gpu_day.REAL, options)
    assert sum(job.seconds for job in found) * gpu_day.REAL.budget <= 9 * 60
    assert len({job.name for job in found}) == len(found) == 8


def test_a_job_that_fails_or_hangs_does_not_stop_the_next(gpu_day, tmp_path, monkeypatch):
    def program(name: str, text: str) -> object:
        return gpu_day.Job(name, 1, [sys.executable, "-S", "-c", text])

    made = [
        program("broken", "raise SystemExit('no memory')"),
        program("hanging", "import time; time.sleep(60)"),
        program("good", "print(1)"),
        gpu_day.Job("absent", 1, [str(tmp_path / "nothing")]),
    ]
    monkeypatch.setattr(gpu_day, "jobs", lambda *_: made)
    words = ["--data", "none", "--out", str(tmp_path / "out"), "--minutes", "1"]
    assert gpu_day.main(words) == 1
    results = json.loads((tmp_path / "out" / "summary.json").read_text())["jobs"]
    codes = {result["job"]: result["code"] for result in results}
    assert (codes["broken"], codes["good"], codes["hanging"]) == (1, 0, "stopped after 1 s")
    assert "No such file" in codes["absent"]
    assert "no memory" in (tmp_path / "out" / "broken.log").read_text()
    assert (tmp_path / "out" / "good.json").read_text() == "1\n"


def test_no_job_begins_when_the_time_is_over(gpu_day, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_day, "jobs", lambda *_: [gpu_day.Job("late", 9, ["never"])])
    assert gpu_day.main(["--data", "a", "--out", str(tmp_path), "--minutes", "0"]) == 1
    (result,) = json.loads((tmp_path / "summary.json").read_text())["jobs"]
    assert result["code"] == "no time left"


def test_weights_are_kept_in_half_precision(gpu_day, tmp_path):
    file = make_file(tmp_path / "best.pt")
    assert gpu_day.keep_half(file, tmp_path / "kept.safetensors") == "kept.safetensors"
    kept, before = (tmp_path / name for name in ("kept.safetensors", "best.pt"))
    assert kept.stat().st_size < 0.6 * before.stat().st_size
    assert load_weights(kept).names == load_weights(file).names
    assert "does not exist" in gpu_day.keep_half(tmp_path / "none.pt", tmp_path / "b.safetensors")


@pytest.mark.slow
def test_a_toy_day(gpu_day, tmp_path):
    """Every job runs, on the CPU."""
    out = tmp_path / "out"
    assert gpu_day.main(["--toy", "--out", str(out), "--minutes", "30"]) == 0
    results = json.loads((out / "summary.json").read_text())["jobs"]
    assert all(result["code"] == 0 for result in results), results
    assert json.loads((out / "paper.json").read_text())["protocol"] == "paper"
    steps = json.loads((out / "steps.json").read_text())
    assert all("images_per_second" in found for found in steps.values()), steps
    for name in ("neu-det", "train", "distill"):
        assert load_weights(out / f"{name}.safetensors").model == "lightnet-n"
