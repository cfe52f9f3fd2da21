"""The page of a distillation, from the folders of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdlnet.config import TrainConfig
from kdlnet.errors import WeightsError
from kdlnet.inference.weights import load_weights
from kdlnet.metrics.comparison import Comparison
from kdlnet.report.pages.distillation import Arm, Distilled, write_distillation
from kdlnet.training.parts import find_data
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
    shown = [
        _arm(role if len(files) == 1 else f"{role} {number}", file)
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


def _arm(role: str, weights: Path) -> Arm:
    """What is known of one training: its weights may have been moved out of their run."""
    try:
        metrics = load_weights(weights).metrics
    except WeightsError:
        metrics = {}
    try:
        rows = RunFolder.around(weights).rows()
        seconds: float | None = float(rows[-1]["seconds"])
        epochs: int | None = int(rows[-1]["epoch"]) + 1
        curve = [(int(row["epoch"]) + 1, float(row["ap"])) for row in rows if row.get("ap")]
    except (OSError, IndexError, KeyError, ValueError):
        seconds, epochs, curve = None, None, []
    return Arm(role, weights, metrics.get("ap"), metrics.get("ap50"), epochs, seconds, curve)
