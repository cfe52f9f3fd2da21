"""The page of a distillation, from the folders of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig
from kdlnet.errors import WeightsError
from kdlnet.inference.released import from_anywhere
from kdlnet.inference.weights import load_weights
from kdlnet.metrics.comparison import Comparison
from kdlnet.report.pages.distillation import Arm, Distilled, write_distillation
from kdlnet.training.places import find_data
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.series import saved_series
from kdlnet.training.taught import named_teachers
from kdlnet.utils.ranks import is_writer


def write_gain_page(
    folder: RunFolder,
    config: TrainConfig,
    arms: Mapping[str, Sequence[Path]],
    comparison: Comparison | None = None,
) -> None:
    """``report.html`` into ``folder``: ``arms`` are best weights by role, in order of training."""
    if not is_writer():
        return
    here = {"split": config.data.val_split}
    measured = _measured(arms["Student"])
    shown = [
        _arm(
            role if len(files) == 1 else f"{role} {number}",
            file,
            here if role != "Teacher" or file.is_relative_to(folder.path) else None,
            measured,
        )
        for role, files in arms.items()
        for number, file in enumerate(files, start=1)
    ]
    settings = [
        ("Data", ", ".join(config.data.names)),
        ("Model of the student", config.model.name),
        ("Picture size", " x ".join(str(side) for side in reversed(config.image_size))),
        ("Teacher’s terms", f"{config.distill.classification}, cross-head {config.distill.cross}"),
        ("Every setting", "config.yaml"),
    ]
    name = find_data(config).name
    write_distillation(folder.path, Distilled(name, shown, settings, comparison))


def arms_of(folder: RunFolder, config: TrainConfig) -> tuple[RunFolder, dict[str, list[Path]]]:
    """Where the page of the run in ``folder`` belongs, and teachers and students by role."""
    whole = folder.whole
    found = None if whole is None else saved_series(whole.path)
    if whole is None or found is None or found[1].seeds:
        return folder, {"Teacher": named_teachers(config), "Student": [folder.best]}
    series = found[1]
    teachers = list(series.teachers) or [whole.teacher.best]
    count = series.generations
    students = [whole.student(number, count).best for number in range(1, count + 1)]
    return whole, {"Teacher": teachers, "Student": students}


def _measured(students: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """What the teachers of ``students`` reached on the images of these, by file."""
    rows = [row for student in students for row in RunFolder.around(student).taught_by()]
    return {Path(row["weights"]): row for row in rows}


def _arm(
    role: str,
    weights: Path,
    here: Mapping[str, Any] | None,
    measured: Mapping[Path, Mapping[str, Any]],
) -> Arm:
    """What is known of one training: its weights may have been moved out of their run.

    The file tells what it reached ``here``. Where it was trained elsewhere (None), the file tells
    of other images, and what was ``measured`` counts.
    """
    try:
        metrics = load_weights(weights).metrics
    except WeightsError:
        metrics = {}
    known = measured.get(from_anywhere(weights), {}) if here is None else {**metrics, **here}
    try:
        rows = RunFolder.around(weights).rows()
        seconds: float | None = float(rows[-1]["seconds"])
        epochs: int | None = int(rows[-1]["epoch"]) + 1
        curve = [(int(row["epoch"]) + 1, float(row["ap"])) for row in rows if row.get("ap")]
    except (OSError, IndexError, KeyError, ValueError):
        seconds, epochs, curve = None, None, []
    figures = known.get("ap"), known.get("ap50"), known.get("split", "")
    return Arm(role, weights, *figures, epochs, seconds, curve)
