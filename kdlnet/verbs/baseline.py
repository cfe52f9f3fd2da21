"""What a teacher is worth: distillation beside one training of the same total budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig, build_config
from kdlnet.data.dataset import load_split
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Listener, Message, ignore
from kdlnet.training.distiller import (
    begin_series,
    check_series,
    named_teachers,
    train_plain,
    train_student,
    train_teacher,
)
from kdlnet.training.parts import find_data
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.series import Series, resumed_series
from kdlnet.training.trainer import TrainResult
from kdlnet.utils.files import write_json
from kdlnet.verbs.compare import Comparison, compare


@dataclass(frozen=True)
class Spent:
    """What trainings used: ``epochs`` over the data and ``seconds`` of wall time."""

    epochs: int
    seconds: float

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.epochs + other.epochs, self.seconds + other.seconds)


@dataclass(frozen=True)
class Proof:
    """The comparison of baselines (A) and students (B), and the last student.

    ``spent`` by arm: teachers, students and baselines, all seeds together.
    """

    folder: Path
    comparison: Comparison
    student: TrainResult
    spent: dict[str, Spent]

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        spent = {
            name: {"epochs": value.epochs, "seconds": round(value.seconds, 1)}
            for name, value in self.spent.items()
        }
        return {**self.comparison.to_dict(), "spent": spent}


def prove(
    config: TrainConfig,
    *,
    teachers: Sequence[Path] = (),
    teacher_model: str | None = None,
    seeds: Sequence[int] = (0,),
    split: str | None = None,
    group_by: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    init: Path | None = None,
    on_event: Listener = ignore,
) -> Proof:
    """For each seed a teacher (unless given), a student and a baseline; then the comparison.

    A teacher has the structure ``teacher_model``, or the student's. The baseline is one plain
    training with as many epochs, or as much time, as teacher and student together, in one schedule,
    with the student's seed. What a given teacher used is read from its run folder. Leaves
    ``seed-N/teacher``, ``/student``, ``/baseline`` and ``comparison/``. ``init`` are weights that
    every training starts from; ``split`` is where they are compared, by default the one that
    best.pt is chosen on. ``resume`` is such a folder: it goes on with its own settings.
    Raises ConfigError when the teacher's budget is unknown.
    """
    if resume is not None:
        found = resumed_series(resume, config)
        if found is None or not found[1].seeds:
            raise ConfigError(f"{str(resume)!r} is no folder of kdlnet distill --baseline")
        return _prove(*found, resume, on_event)
    teachers = teachers or named_teachers(config)
    for path in teachers:
        spent_by(path)
    series = Series(
        teachers=tuple(teachers),
        teacher_model=teacher_model,
        init=init,
        seeds=tuple(seeds),
        split=split or config.data.val_split,
        group_by=group_by,
    )
    check_series(series, config)
    _require_boxes(config, series.split)
    config, folder = begin_series(series, "proof", config, out, overwrite)
    return _prove(config, series, folder, on_event)


def _prove(config: TrainConfig, series: Series, out: Path, on_event: Listener) -> Proof:
    folder = RunFolder(out)
    given = sum((spent_by(path) for path in series.teachers), Spent(0, 0.0))
    totals = dict.fromkeys(("teachers", "students", "baselines"), Spent(0, 0.0))
    students, baselines = [], []
    for seed in series.seeds:
        place = folder.round(seed)
        on_event(Message(f"seed {seed}: teacher, student, baseline"))
        settings = build_config({**config.to_dict(), "seed": seed})
        taught_by, cost = list(series.teachers), given
        if not taught_by and not config.distill.own_average:
            taught_by = [train_teacher(settings, series, place.teacher.path, on_event)]
            cost = spent_by(taught_by[0])
        student = train_student(settings, taught_by, series.init, place.student().path, on_event)
        cost_of_student = spent_by(student.best)
        alone = _with_budget(settings, cost + cost_of_student)
        baseline = train_plain(alone, series.init, place.baseline.path, on_event)
        students.append(student)
        baselines.append(baseline)
        totals["teachers"] = given if series.teachers else totals["teachers"] + cost
        totals["students"] += cost_of_student
        totals["baselines"] += spent_by(baseline.best)
    comparison = compare(
        [run.best for run in baselines],
        [run.best for run in students],
        data=config.data.name,
        data_root=None if config.data.root is None else Path(config.data.root),
        split=series.split,
        group_by=series.group_by,
        batch=config.batch,
        device=config.device,
        out=folder.comparison,
        overwrite=True,
        on_event=on_event,
    )
    proof = Proof(out, comparison, students[-1], totals)
    write_json(folder.gain, proof.to_dict())
    return proof


def _require_boxes(config: TrainConfig, split: str) -> None:
    info = find_data(config)
    if not any(len(found.labels) for found in load_split(info, split).labels):
        raise DataError(
            f"split {split!r} of {info.name!r} has no box, so nothing can be compared on it: name "
            "another with --set data.val_split=SPLIT"
        )


def spent_by(weights: Path) -> Spent:
    """What the run of ``weights`` used, from the results.csv of its folder."""
    try:
        last = RunFolder.around(weights).rows()[-1]
        return Spent(int(last["epoch"]) + 1, float(last["seconds"]))
    except (OSError, IndexError, KeyError, ValueError):
        raise ConfigError(
            f"teacher {str(weights)!r} is not in the folder of its run (no usable results.csv), so "
            "the budget of a fair baseline is unknown: leave --teacher out, or train a baseline "
            "yourself and use kdlnet compare"
        ) from None


def _with_budget(config: TrainConfig, budget: Spent) -> TrainConfig:
    values = config.to_dict()
    values["patience"] = 0
    if config.time is not None:
        values["time"] = budget.seconds
    else:
        values["epochs"] = budget.epochs
    return build_config(values)
