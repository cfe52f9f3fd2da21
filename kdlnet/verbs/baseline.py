"""What a teacher is worth: distillation beside one training of the same total budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig
from kdlnet.data.dataset import load_split
from kdlnet.data.roi import inside
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Listener, Message, ignore
from kdlnet.training.gain_page import write_gain_page
from kdlnet.training.places import find_data, run_splits
from kdlnet.training.run import TrainResult
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.series import (
    Series,
    at_work_in,
    begin_series,
    check_series,
    plain_of_series,
    resumed_series,
    saved_series,
    student_of_series,
    teacher_of_series,
)
from kdlnet.training.suited import suited
from kdlnet.training.taught import named_teachers
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
class Gain:
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


def measure_gain(
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
) -> Gain:
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
        return _compared(*found, RunFolder(resume), on_event)
    config = suited(config, run_splits(config), init, on_event)
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
    return _compared(config, series, folder, on_event)


def is_comparison(folder: Path) -> bool:
    """Whether ``folder`` is one of :func:`measure_gain`. Raises ConfigError for a damaged one."""
    found = saved_series(folder)
    return found is not None and bool(found[1].seeds)


@dataclass(frozen=True)
class _Round:
    """What the trainings of one seed came to, and what they used."""

    student: TrainResult
    baseline: TrainResult
    teachers: Spent
    taught_by: tuple[Path, ...]


def _compared(config: TrainConfig, series: Series, folder: RunFolder, on_event: Listener) -> Gain:
    with at_work_in(folder, config):
        return _measured(config, series, folder, on_event)


def _measured(config: TrainConfig, series: Series, folder: RunFolder, on_event: Listener) -> Gain:
    rounds = [_round(config, series, seed, folder, on_event) for seed in series.seeds]
    comparison = compare(
        [done.baseline.best for done in rounds],
        [done.student.best for done in rounds],
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
    teachers = [done.teachers for done in rounds]
    spent = {
        "teachers": teachers[0] if series.teachers else sum(teachers, Spent(0, 0.0)),
        "students": sum((spent_by(done.student.best) for done in rounds), Spent(0, 0.0)),
        "baselines": sum((spent_by(done.baseline.best) for done in rounds), Spent(0, 0.0)),
    }
    gain = Gain(folder.path, comparison, rounds[-1].student, spent)
    write_json(folder.gain, gain.to_dict())
    arms = {
        "Teacher": list(dict.fromkeys(path for done in rounds for path in done.taught_by)),
        "Student": [done.student.best for done in rounds],
        "Baseline": [done.baseline.best for done in rounds],
    }
    write_gain_page(folder, config, arms, comparison)
    return gain


def _round(
    config: TrainConfig, series: Series, seed: int, folder: RunFolder, on_event: Listener
) -> _Round:
    """Teacher (unless there is one), student and baseline of ``seed``."""
    on_event(Message(f"seed {seed}: teacher, student, baseline"))
    place, settings = folder.round(seed), config.changed(seed=seed)
    teachers = list(series.teachers)
    if not teachers and not config.distill.own_average:
        teachers = [teacher_of_series(settings, series, place.teacher, on_event)]
    cost = sum((spent_by(path) for path in teachers), Spent(0, 0.0))
    student = student_of_series(settings, teachers, series, place.student(), on_event)
    alone = _with_budget(settings, cost + spent_by(student.best))
    baseline = plain_of_series(alone, series, place.baseline, on_event)
    return _Round(student, baseline, cost, tuple(teachers))


def _require_boxes(config: TrainConfig, split: str) -> None:
    info = find_data(config)
    looked_for = inside(load_split(info, split), config.data.roi).labels
    if not any(len(found.labels) for found in looked_for):
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
    if config.time is not None:
        return config.changed(patience=0, time=budget.seconds)
    return config.changed(patience=0, epochs=budget.epochs)
