"""Distillation: trained detectors teach a fresh one, of the same structure or a smaller one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig, stored_config
from kdlnet.errors import ConfigError, unknown
from kdlnet.events import Listener, ignore
from kdlnet.images.window import full_window
from kdlnet.inference.released import from_anywhere
from kdlnet.inference.weights import load_weights
from kdlnet.training.final import repeated
from kdlnet.training.gain_page import arms_of, write_gain_page
from kdlnet.training.places import run_splits
from kdlnet.training.run import TrainResult
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.series import Series, begin_series, check_series, resumed_series, run_series
from kdlnet.training.suited import suited
from kdlnet.training.taught import (
    named_teachers,
    require_teachers,
    resumed_taught_run,
    taught_run,
)
from kdlnet.utils.device import find_device
from kdlnet.utils.given import AnyPath, as_path, as_paths, checked
from kdlnet.utils.ranks import is_writer, together

RECIPES: dict[str, dict[str, Any]] = {
    "kdlnet": {},
    "paper": {"classification": "softmax", "temperature": 2.0, "beta": 0.0},
    "cross": {"cross": True},
    "features": {"class_weight": 0.0, "bins_weight": 0.0, "pkd_weight": 2.0},
}
"""Named values of the config's section ``distill``; ``kdlnet`` are its defaults."""


def teacher_defaults(teacher: Path) -> dict[str, Any]:
    """Settings that a student takes from its teacher unless told otherwise, as nested values."""
    weights = load_weights(teacher)
    model = {
        "name": weights.model,
        "block": weights.arguments.block,
        "channels": weights.arguments.channels,
    }
    contract = weights.preprocess
    data: dict[str, Any] = {}
    if contract.roi is not None:
        data["roi"] = list(contract.roi)
    if contract.depth == 16 or contract.window != full_window(8):
        data["window"] = list(contract.window)
    values = {"model": model, "data": data, "image_size": list(contract.image_size)}
    if contract.tiling is not None:
        tiling = contract.tiling
        values["tile"] = {"size": list(tiling.size), "overlap": tiling.overlap}
    return values


def recipe_defaults(name: str) -> dict[str, Any]:
    """The nested values of the recipe ``name``. Raises ConfigError for an unknown one."""
    if name not in RECIPES:
        raise ConfigError(unknown("recipe", name, RECIPES))
    return {"distill": dict(RECIPES[name])}


@checked
def distill(
    config: TrainConfig,
    *,
    teachers: AnyPath | Sequence[AnyPath] = (),
    teacher_model: str | None = None,
    generations: int = 1,
    out: AnyPath | None = None,
    overwrite: bool = False,
    resume: AnyPath | None = None,
    init: AnyPath | None = None,
    final: AnyPath | None = None,
    on_event: Listener = ignore,
) -> TrainResult:
    """Trains the detector of ``config`` under ``teachers``; the folder is as train's, with a page.

    Several teachers are averaged. Without one, one is trained first, with the same settings and
    another seed, of the structure ``teacher_model`` or the student's; with ``distill.own_average``
    the average of the student's own weights teaches.
    With ``generations`` above 1 each student teaches the next, which has its own seed (born-again
    networks, arXiv 1805.04770). Where there are several trainings the folder holds one folder
    each: ``teacher``, ``student`` or ``student-1``, ``student-2`` and so on; the last student
    is the result. ``init`` are weights that each of them starts from. ``resume`` goes on with a
    folder's own settings and teachers, and ``final`` is a run to repeat, as in train. Raises
    WeightsError or ConfigError before the first step for a teacher that does not fit: a missing
    class, other strides, another preprocessing. Several processes share the work of one training as
    in train, not of a series.
    """
    out, resume, init, final = as_path(out), as_path(resume), as_path(init), as_path(final)
    teachers = as_paths(teachers)
    with together(find_device(config.device)):
        on_event = on_event if is_writer() else ignore
        if resume is None:
            thresholds = None
            if final is not None:
                config, init, thresholds = repeated(final, config, init, on_event)
                if not (config.distill.taught or teachers):
                    raise ConfigError(
                        f"{str(final)!r} has no teacher: use kdlnet train --final, or name a "
                        "teacher with --teacher"
                    )
                if not teachers:
                    _require_same(named_teachers(config), final)
            series = Series(
                teachers=tuple(teachers),
                teacher_model=teacher_model,
                init=init,
                generations=generations,
            )
            result = _begun(config, series, final, thresholds, out, overwrite, on_event)
        else:
            result = _resumed(config, resume, on_event)
        run = RunFolder(result.folder)
        settings = stored_config(run.config)
        place, arms = arms_of(run, settings)
        write_gain_page(place, settings, arms)
        return result


def _require_same(teachers: Sequence[Path], final: Path) -> None:
    """Raises WeightsError for a teacher of the run ``final`` that is gone, or another by now."""
    known = {row["weights"]: row for row in RunFolder.around(final).taught_by()}
    rows = [known.get(str(teacher), {}) for teacher in teachers]
    require_teachers(teachers, rows, "name one with --teacher")


def _resumed(config: TrainConfig, resume: Path, on_event: Listener) -> TrainResult:
    found = resumed_series(resume, config)
    if found is not None:
        return run_series(*found, RunFolder(resume), on_event)
    return resumed_taught_run(resume, config, on_event)


def _begun(
    config: TrainConfig,
    series: Series,
    final: Path | None,
    thresholds: Mapping[str, Any] | None,
    out: Path | None,
    overwrite: bool,
    on_event: Listener,
) -> TrainResult:
    found = run_splits(config)
    config = suited(config, found, series.init, on_event)
    if not series.teachers:
        named = tuple(map(from_anywhere, named_teachers(config)))
        series = series.model_copy(update={"teachers": named})
    teachers = series.teachers
    check_series(series, config)
    if config.distill.own_average or (teachers and series.generations == 1):
        return taught_run(
            config,
            teachers,
            init=series.init,
            out=out,
            overwrite=overwrite,
            on_event=on_event,
            found=found,
            thresholds=thresholds,
            repeats=final,
        )
    config, folder = begin_series(series, "distill", config, out, overwrite)
    return run_series(config, series, folder, on_event)
