"""Distillation: trained detectors teach a fresh one, of the same structure or a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig, build_config
from kdlnet.errors import ConfigError, unknown
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.window import full_window
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.losses.distill_loss import DistillLoss
from kdlnet.models.zoo import model_strides
from kdlnet.training.checkpoints import last_weights, saved_config
from kdlnet.training.parts import prepare_run, run_place, updated, with_absolute_data
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.series import Series, resumed_series, stage
from kdlnet.training.steps import DistillStep
from kdlnet.training.teacher import Ensemble, Member, load_teachers
from kdlnet.training.trainer import TrainResult, run_training, supervised_step, train

RECIPES: dict[str, dict[str, Any]] = {
    "kdlnet": {},
    "paper": {"classification": "softmax", "temperature": 2.0, "beta": 0.0},
    "cross": {"cross": True},
    "features": {"class_weight": 0.0, "bins_weight": 0.0, "pkd_weight": 2.0},
}
"""Named values of the config's section ``distill``; ``kdlnet`` are its defaults."""

_TEACHER_SEED = 1000
"""Added to the seed of the run for a teacher made on the way: it must not start as its student."""


def teacher_defaults(teacher: Path) -> dict[str, Any]:
    """Settings that a student takes from its teacher unless told otherwise, as nested values."""
    weights = load_weights(teacher)
    model = {
        "name": weights.model,
        "block": weights.arguments.block,
        "channels": weights.arguments.channels,
    }
    contract = weights.preprocess
    values = {"model": model, "image_size": list(contract.image_size)}
    if contract.depth == 16 or contract.window != full_window(8):
        values["data"] = {"window": list(contract.window)}
    if contract.tiling is not None:
        tiling = contract.tiling
        values["tile"] = {"size": list(tiling.size), "overlap": tiling.overlap}
    return values


def recipe_defaults(name: str) -> dict[str, Any]:
    """The nested values of the recipe ``name``. Raises ConfigError for an unknown one."""
    if name not in RECIPES:
        raise ConfigError(unknown("recipe", name, RECIPES))
    return {"distill": dict(RECIPES[name])}


def distill(
    config: TrainConfig,
    *,
    teachers: Sequence[Path] = (),
    teacher_model: str | None = None,
    generations: int = 1,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    init: Path | None = None,
    on_event: Listener = ignore,
) -> TrainResult:
    """Trains the detector of ``config`` under ``teachers``; the run folder is as train's.

    Several teachers are averaged. Without one, one is trained first, with the same settings and
    another seed, of the structure ``teacher_model`` or the student's; with ``distill.own_average``
    the average of the student's own weights teaches.
    With ``generations`` above 1 each student teaches the next, which has its own seed (born-again
    networks, arXiv 1805.04770). Where there are several trainings the folder holds one folder
    each: ``teacher``, ``student`` or ``student-1``, ``student-2`` and so on; the last student
    is the result. ``init`` are weights that each of them starts from. ``resume`` goes on with a
    folder's own settings and teachers, as in train. Raises WeightsError or ConfigError before the
    first step for a teacher that does not fit: a missing class, other strides, another
    preprocessing.
    """
    if resume is not None:
        return _resumed(config, resume, on_event)
    teachers = teachers or named_teachers(config)
    series = Series(
        teachers=tuple(teachers),
        teacher_model=teacher_model,
        init=init,
        generations=generations,
    )
    check_series(series, config)
    if config.distill.own_average or (teachers and generations == 1):
        return _taught(config, teachers, None, init, out, overwrite, on_event)
    config, folder = begin_series(series, "distill", config, out, overwrite)
    return _in_turn(config, series, folder, on_event)


def named_teachers(config: TrainConfig) -> list[Path]:
    """The teachers in the settings, where a distillation's own config.yaml was given."""
    return [Path(teacher) for teacher in config.distill.teachers]


def begin_series(
    series: Series, kind: str, config: TrainConfig, out: Path | None, overwrite: bool
) -> tuple[TrainConfig, Path]:
    """The folder of a new series of ``kind``, and the settings its trainings share.

    Nothing is made when weights that the series needs cannot be read: WeightsError.
    """
    needed = [*series.teachers, *([] if series.init is None else [series.init])]
    for weights in needed:
        load_weights(weights, start=weights == series.init)
    default, source, images = run_place(config, kind)
    folder = RunFolder.new(default, out, overwrite, reads=[source, *needed], images=images).path
    config = with_absolute_data(config)
    series.save(folder, config)
    return config, folder


def check_series(series: Series, config: TrainConfig) -> None:
    """Raises ConfigError for what would come out only after the teacher has been trained."""
    if config.compile and config.distill.balance is not None:
        raise ConfigError("distill.balance measures gradients inside the model: set compile=false")
    if config.distill.own_average and (series.teachers or series.generations > 1):
        raise ConfigError(
            "distill.own_average: the student is its own teacher, so there is no --teacher and no "
            "--generations: leave them out, or set it to false"
        )
    _check_teacher_model(series, config)


def _check_teacher_model(series: Series, config: TrainConfig) -> None:
    wanted, student = series.teacher_model, config.model.name
    if wanted is None:
        return
    clash = None
    teaches, taught = model_strides(wanted), model_strides(student)
    if series.teachers:
        clash = f"with the trained teacher {series.teachers[0].name!r}: leave one out"
    elif config.distill.own_average:
        clash = "with distill.own_average, where the student is its own teacher: leave one out"
    elif series.init is not None and wanted != student:
        clash = f"with --init: weights fit one structure, not {student!r} as well; leave one out"
    elif distill_loss(config).uses_features and wanted != student:
        clash = f"over {student!r}: terms on features (pkd, cwd, cross) need the same structure"
    elif teaches != taught:
        clash = f"has strides {teaches}, the student {student!r} {taught}: choose one with the same"
    if clash:
        raise ConfigError(f"--teacher-model {wanted!r} {clash}")


def _in_turn(config: TrainConfig, series: Series, out: Path, on_event: Listener) -> TrainResult:
    """The trainings of a series, those that are finished left as they are."""
    folder = RunFolder(out)
    teachers: Sequence[Path] = series.teachers
    if not teachers:
        on_event(Message("no --teacher given: training one first"))
        teachers = [train_teacher(config, series, folder.teacher.path, on_event)]
    for number in range(1, series.generations + 1):
        if series.generations > 1:
            on_event(Message(f"generation {number} of {series.generations}"))
        settings = _reseeded(config, number - 1)
        place = folder.student(number, series.generations).path
        result = train_student(settings, teachers, series.init, place, on_event)
        teachers = [result.best]
    return result


def train_teacher(config: TrainConfig, series: Series, out: Path, on_event: Listener) -> Path:
    """The best weights of a plain training with the settings of ``config`` and another seed."""
    settings = _reseeded(config, _TEACHER_SEED)
    settings = updated(settings, "model", name=series.teacher_model or config.model.name)
    return train_plain(settings, series.init, out, on_event).best


def train_plain(
    config: TrainConfig, init: Path | None, out: Path, on_event: Listener
) -> TrainResult:
    """One training of a series without a teacher."""
    return stage(
        out,
        lambda: train(config, init=init, out=out, overwrite=True, on_event=on_event),
        lambda: train(config, resume=out, on_event=on_event),
    )


def train_student(
    config: TrainConfig,
    teachers: Sequence[Path],
    init: Path | None,
    out: Path,
    on_event: Listener,
) -> TrainResult:
    """One training of a series under ``teachers``."""
    return stage(
        out,
        lambda: _taught(config, teachers, None, init, out, True, on_event),
        lambda: _resumed(config, out, on_event),
    )


def _resumed(config: TrainConfig, resume: Path, on_event: Listener) -> TrainResult:
    found = resumed_series(resume, config)
    if found is not None:
        return _in_turn(*found, resume, on_event)
    saved = load_weights(last_weights(resume))
    config = saved_config(saved, config)
    if not config.distill.taught:
        raise ConfigError(f"{str(resume)!r} is no distillation: use kdlnet train --resume")
    return _taught(config, named_teachers(config), saved, None, None, False, on_event)


def _taught(
    config: TrainConfig,
    teachers: Sequence[Path],
    saved: Weights | None,
    init: Path | None,
    out: Path | None,
    overwrite: bool,
    on_event: Listener,
) -> TrainResult:
    """One student under ``teachers``, that goes on from ``saved`` or starts from ``init``."""
    values = config.to_dict()
    values["distill"]["teachers"] = [str(teacher.absolute()) for teacher in teachers]
    setup = prepare_run(build_config(values), saved, init, on_event)
    loss = distill_loss(config)
    if config.distill.own_average:
        teacher = Ensemble([Member(setup.average.model, None)], config.distill.mirrored)
    else:
        teacher = load_teachers(teachers, setup, loss.uses_features, on_event)
    step = DistillStep(
        supervised_step(setup),
        teacher,
        loss,
        config.distill.balance,
        measure=not config.compile,
    )
    runs = Path("runs/distill")
    reads = [*teachers, init]
    result = run_training(setup, step, saved, out, overwrite, on_event, runs, reads)
    ap = result.metrics.get("ap")
    if ap is not None and teacher.ap is not None:
        split, gain = config.data.val_split, ap - teacher.ap
        text = f"student AP {ap:.3f}, teacher {teacher.ap:.3f} on {split}: {gain:+.3f}"
        on_event(Message(f"{text}; what a baseline of both budgets reaches, --baseline tells"))
    return result


def distill_loss(config: TrainConfig) -> DistillLoss:
    """The teacher's terms with the weights of the config."""
    values = {field.name: getattr(config.distill, field.name) for field in fields(DistillLoss)}
    return DistillLoss(**values)


def _reseeded(config: TrainConfig, more: int) -> TrainConfig:
    return build_config({**config.to_dict(), "seed": config.seed + more})
