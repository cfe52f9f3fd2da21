"""The gain of a teacher beside a baseline of the same budget."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kdlnet.config import TrainConfig, build_config, load_config
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Message
from kdlnet.inference.weights import load_weights
from kdlnet.verbs.baseline import Spent, measure_gain, spent_by
from kdlnet.verbs.distill import distill
from kdlnet.verbs.train import train

from ..support.interrupt import StopAt
from ..support.squares import make_dataset
from ..support.weights_file import make_file


def _epochs(run: Path) -> int:
    with (run / "results.csv").open() as stream:
        return len(list(csv.DictReader(stream)))


def test_the_baseline_gets_what_teacher_and_student_used(
    config: TrainConfig, tmp_path: Path
) -> None:
    short = build_config({**config.to_dict(), "epochs": 1})
    init = make_file(tmp_path / "init.pt")
    events: list[object] = []
    gain = measure_gain(
        short, seeds=[0, 3], init=init, out=tmp_path / "proof", on_event=events.append
    )
    texts = [event.text for event in events if isinstance(event, Message)]
    assert sum(text.startswith("started from") for text in texts) == 6
    for seed in (0, 3):
        folder = tmp_path / "proof" / f"seed-{seed}"
        assert [_epochs(folder / arm) for arm in ("teacher", "student", "baseline")] == [1, 1, 2]
    assert {name: value.epochs for name, value in gain.spent.items()} == {
        "teachers": 2,
        "students": 2,
        "baselines": 4,
    }
    found = gain.comparison
    assert len(found.a) == len(found.b) == 2 and found.verdict.startswith("no gain shown")
    assert all("baseline" in str(path) for path in found.a)
    written = json.loads((tmp_path / "proof" / "proof.json").read_text())
    assert written["spent"]["baselines"]["epochs"] == 4
    assert (tmp_path / "proof" / "comparison" / "comparison.png").is_file()


def test_a_baseline_beside_own_averages_is_plain_and_goes_on(
    config: TrainConfig, tmp_path: Path
) -> None:
    settings = build_config(
        {**config.to_dict(), "epochs": 1, "patience": 1, "distill": {"own_average": True}}
    )
    with pytest.raises(KeyboardInterrupt):
        measure_gain(settings, out=tmp_path / "proof", on_event=StopAt(2))  # student 1, baseline 1
    baseline = load_config(tmp_path / "proof" / "seed-0" / "baseline" / "config.yaml")
    assert not baseline.distill.taught and baseline.patience == 0
    assert measure_gain(settings, resume=tmp_path / "proof").spent["baselines"].epochs == 1


def test_the_comparison_is_on_the_split_that_is_chosen_on(
    config: TrainConfig, tmp_path: Path
) -> None:
    values = config.to_dict()
    values["data"]["val_split"] = "train"
    settings = build_config({**values, "epochs": 1})
    gain = measure_gain(settings, teacher_model="lightnet", out=tmp_path / "proof")
    assert gain.comparison.split == "train"
    seed = tmp_path / "proof" / "seed-0"
    models = [
        load_weights(seed / arm / "weights" / "best.pt").model for arm in ("teacher", "student")
    ]
    assert models == ["lightnet", "lightnet-n"]
    empty = make_dataset(tmp_path / "set")
    for file in (tmp_path / "set" / "labels" / "val").iterdir():
        file.write_text("")
    values["data"] = {"name": str(empty)}
    with pytest.raises(DataError, match="has no box, so nothing can be compared on it"):
        measure_gain(build_config(values), out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_given_teacher_counts_and_must_say_what_it_cost(
    config: TrainConfig, tmp_path: Path
) -> None:
    teacher = train(build_config({**config.to_dict(), "epochs": 2}), out=tmp_path / "t").best
    spent = spent_by(teacher)
    assert spent.epochs == 2 and spent.seconds > 0
    assert spent + Spent(1, 0.5) == Spent(3, spent.seconds + 0.5)
    short = build_config({**config.to_dict(), "epochs": 1})
    gain = measure_gain(short, teachers=[teacher], seeds=[0, 1], out=tmp_path / "proof")
    assert gain.spent["teachers"] == spent  # one teacher, however many students
    assert _epochs(tmp_path / "proof" / "seed-0" / "baseline") == 3
    both = build_config({**short.to_dict(), "distill": {"own_average": True}})
    with pytest.raises(ConfigError, match="the student is its own teacher"):
        measure_gain(both, teachers=[teacher], out=tmp_path / "other")
    stray = tmp_path / "stray.pt"
    stray.write_bytes(teacher.read_bytes())
    with pytest.raises(ConfigError, match="budget of a fair baseline is unknown"):
        measure_gain(short, teachers=[stray], out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_cut_proof_goes_on(config: TrainConfig, tmp_path: Path) -> None:
    """Cut in the baseline: teacher and student are not trained again, the figures are the same."""
    short = build_config({**config.to_dict(), "epochs": 1})
    whole = measure_gain(short, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        measure_gain(short, out=tmp_path / "cut", on_event=StopAt(3))
    student = tmp_path / "cut" / "seed-0" / "student" / "weights" / "last.pt"
    written = student.stat().st_mtime_ns
    resumed = measure_gain(config, resume=tmp_path / "cut")
    assert student.stat().st_mtime_ns == written
    assert resumed.comparison.differences == whole.comparison.differences
    assert [_epochs(student.parents[2] / arm) for arm in ("student", "baseline")] == [1, 2]
    page = (tmp_path / "cut" / "report.html").read_bytes()
    assert distill(config, resume=student.parents[1]).folder == student.parents[1]
    assert (tmp_path / "cut" / "report.html").read_bytes() == page
    with pytest.raises(ConfigError, match="no folder of kdlnet distill --baseline"):
        measure_gain(config, resume=student.parents[1])
