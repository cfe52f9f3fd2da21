"""The gain of a teacher beside a baseline of the same budget."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kdlnet.config import TrainConfig, build_config
from kdlnet.engine.distiller import distill
from kdlnet.engine.events import Message
from kdlnet.engine.proof import Spent, prove, spent_by
from kdlnet.engine.trainer import train
from kdlnet.errors import ConfigError

from .interrupt import StopAt


def _epochs(run: Path) -> int:
    with (run / "results.csv").open() as stream:
        return len(list(csv.DictReader(stream)))


def test_the_baseline_gets_what_teacher_and_student_used(
    config: TrainConfig, tmp_path: Path
) -> None:
    short = build_config({**config.to_dict(), "epochs": 1})
    init = train(short, out=tmp_path / "init").best
    events: list[object] = []
    proof = prove(short, seeds=[0, 3], init=init, out=tmp_path / "proof", on_event=events.append)
    texts = [event.text for event in events if isinstance(event, Message)]
    assert sum(text.startswith("started from") for text in texts) == 6
    for seed in (0, 3):
        folder = tmp_path / "proof" / f"seed-{seed}"
        assert [_epochs(folder / arm) for arm in ("teacher", "student", "baseline")] == [1, 1, 2]
    assert {name: value.epochs for name, value in proof.spent.items()} == {
        "teachers": 2,
        "students": 2,
        "baselines": 4,
    }
    found = proof.comparison
    assert len(found.a) == len(found.b) == 2 and found.verdict.startswith("no gain shown")
    assert all("baseline" in str(path) for path in found.a)
    written = json.loads((tmp_path / "proof" / "proof.json").read_text())
    assert written["spent"]["baselines"]["epochs"] == 4
    assert (tmp_path / "proof" / "comparison" / "comparison.png").is_file()


def test_a_given_teacher_counts_and_must_say_what_it_cost(
    config: TrainConfig, tmp_path: Path
) -> None:
    teacher = train(build_config({**config.to_dict(), "epochs": 2}), out=tmp_path / "t").best
    spent = spent_by(teacher)
    assert spent.epochs == 2 and spent.seconds > 0
    assert spent + Spent(1, 0.5) == Spent(3, spent.seconds + 0.5)
    short = build_config({**config.to_dict(), "epochs": 1})
    proof = prove(short, teachers=[teacher], seeds=[0, 1], out=tmp_path / "proof")
    assert proof.spent["teachers"] == spent  # one teacher, however many students
    assert _epochs(tmp_path / "proof" / "seed-0" / "baseline") == 3
    stray = tmp_path / "stray.pt"
    stray.write_bytes(teacher.read_bytes())
    with pytest.raises(ConfigError, match="budget of a fair baseline is unknown"):
        prove(short, teachers=[stray], out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_cut_proof_goes_on(config: TrainConfig, tmp_path: Path) -> None:
    """Cut in the baseline: teacher and student are not trained again, the figures are the same."""
    short = build_config({**config.to_dict(), "epochs": 1})
    whole = prove(short, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        prove(short, out=tmp_path / "cut", on_event=StopAt(3))
    student = tmp_path / "cut" / "seed-0" / "student" / "weights" / "last.pt"
    written = student.stat().st_mtime_ns
    resumed = prove(config, resume=tmp_path / "cut")
    assert student.stat().st_mtime_ns == written
    assert resumed.comparison.differences == whole.comparison.differences
    assert [_epochs(student.parents[2] / arm) for arm in ("student", "baseline")] == [1, 2]
    assert distill(config, resume=student.parents[1]).folder == student.parents[1]
    with pytest.raises(ConfigError, match="no folder of kdlnet distill --baseline"):
        prove(config, resume=student.parents[1])
