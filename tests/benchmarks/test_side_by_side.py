"""The bench that many trainings share, with commands of milliseconds in their place."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STAND_IN = """
import pathlib, sys, time
words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--out") + 1])
folder.mkdir(parents=True)
(folder / "results.csv").write_text(words[1])
(folder / "pictures").mkdir()
time.sleep(float(words[1]))
sys.exit(words[0] == "fail")
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("side_by_side")
    monkeypatch.setattr(module, "KDLNET", (sys.executable, "-S", "-c", STAND_IN))
    monkeypatch.chdir(tmp_path)
    return module


def test_needs_come_first_and_failures_cost_their_own(bench, tmp_path: Path) -> None:
    Path("jobs.yaml").write_text(
        "- {name: a, command: 'train 0.2'}\n"
        "- {name: b, command: 'train 0 {runs}/a', needs: [a]}\n"
        "- {name: c, command: 'fail 0'}\n"
        "- {name: d, command: 'train 0', needs: [c]}\n"
    )
    assert bench.main(["jobs.yaml", "--out", "out", "--together", "3"]) == 1
    lines = [line.split("s  ", 1)[1] for line in Path("out/jobs.log").read_text().splitlines()]
    assert lines.index("end a, exit code 0") < lines.index("start b")
    assert "end c, exit code 1" in lines and "left out d: it needs c" in lines
    kept = {p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file()}
    assert kept == {"jobs.log", *(f"{n}/{f}" for n in "abc" for f in ("log", "results.csv"))}


def test_what_still_runs_is_ended_and_said(bench) -> None:
    Path("jobs.yaml").write_text(
        "- {name: long, command: 'train 60'}\n- {name: late, command: 'train 0'}\n"
    )
    assert bench.main(["jobs.yaml", "--out", "out", "--together", "1", "--minutes", "0.02"]) == 1
    assert Path("out/long/cut").is_file() and not Path("out/late").exists()
    assert "over; cut ['long'], not begun ['late']" in Path("out/jobs.log").read_text()


def test_a_need_that_is_no_job(bench) -> None:
    Path("jobs.yaml").write_text("- {name: b, command: 'train 0', needs: [a]}\n")
    with pytest.raises(SystemExit, match="b needs 'a', which is no job above it"):
        bench.main(["jobs.yaml", "--out", "out"])
