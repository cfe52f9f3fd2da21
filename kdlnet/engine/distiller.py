"""Prepared self-distillation: a trained detector teaches a fresh one of the same structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdlnet.config import TrainConfig, build_config
from kdlnet.engine.checkpoint import Weights, load_weights
from kdlnet.engine.evaluator import detect
from kdlnet.engine.events import Listener, Message, ignore
from kdlnet.engine.keeper import last_weights, saved_config
from kdlnet.engine.run import new_folder, protect
from kdlnet.engine.setup import Setup, data_name, prepare_run
from kdlnet.engine.steps import DistillStep, Forward
from kdlnet.engine.trainer import TrainResult, run_training, supervised_step, train
from kdlnet.errors import ConfigError, WeightsError
from kdlnet.losses.distillation import DistillLoss
from kdlnet.metrics.average_precision import average_precision
from kdlnet.models.fuse import fuse_model
from kdlnet.types import RawPredictions

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
    if contract.depth == 16:
        values["data"] = {"window": list(contract.window)}
    if contract.tiling is not None:
        tiling = contract.tiling
        values["tile"] = {"size": list(tiling.size), "overlap": tiling.overlap}
    return values


def distill(
    config: TrainConfig,
    *,
    teacher: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    on_event: Listener = ignore,
) -> TrainResult:
    """Trains the detector of ``config`` under ``teacher``; the run folder is as train's.

    Without ``teacher`` one is trained first, with the same settings and another seed: the folder
    then holds ``teacher/`` and ``student/``. ``resume`` goes on with the run's own settings and
    teacher. Raises WeightsError or ConfigError before the first step for a teacher that does not
    fit: a missing class, other strides, another preprocessing.
    """
    if overwrite:
        protect(out, [teacher])
    saved = None if resume is None else load_weights(last_weights(resume))
    if saved is not None:
        config = saved_config(saved)
        if config.distill.teacher is None:
            raise ConfigError(f"{str(resume)!r} is no distillation: use kdlnet train --resume")
        teacher = Path(config.distill.teacher)
    if teacher is None:
        out = new_folder(Path("runs/distill") / data_name(config), out, overwrite)
        on_event(Message("no --teacher given: training one first"))
        prepared = build_config({**config.to_dict(), "seed": config.seed + _TEACHER_SEED})
        teacher = train(prepared, out=out / "teacher", on_event=on_event).best
        out = out / "student"
    weights = load_weights(teacher)
    values = config.to_dict()
    values["distill"]["teacher"] = str(teacher.absolute())
    setup = prepare_run(build_config(values), saved, None, on_event)
    check_teacher(weights, setup)
    step = DistillStep(
        supervised_step(setup), frozen_teacher(weights, setup, on_event), _loss(setup.config)
    )
    return run_training(setup, step, saved, out, overwrite, on_event, Path("runs/distill"))


def check_teacher(teacher: Weights, setup: Setup) -> None:
    """Raises WeightsError unless teacher and student see the same pixels, points and classes."""
    name = repr(str(teacher.path))
    missing = [wanted for wanted in setup.info.names if wanted not in teacher.names]
    if missing:
        raise WeightsError(
            f"teacher {name} does not know the class {missing[0]!r} (it knows "
            f"{', '.join(teacher.names)}): train a teacher on this dataset"
        )
    if teacher.detector.strides != setup.detector.strides:
        raise WeightsError(
            f"teacher {name} has strides {teacher.detector.strides}, the student "
            f"{setup.detector.strides}: choose a student with the same, such as {teacher.model!r}"
        )
    if teacher.preprocess != setup.train.preprocess:
        raise WeightsError(
            f"teacher {name} was trained on {teacher.preprocess.to_dict()}, the student would see "
            f"{setup.train.preprocess.to_dict()}: use the same --image-size, --tile, channels and "
            "window"
        )


def frozen_teacher(teacher: Weights, setup: Setup, on_event: Listener) -> Forward:
    """The teacher fused, in eval mode, its classes in the student's order; says its AP on val."""
    detector = fuse_model(teacher.detector).to(setup.device).requires_grad_(False)
    detector.to(memory_format=torch.channels_last)
    forward = _reordered(detector, teacher.names, setup.info.names)
    results = detect(forward, setup.val, setup.config.batch, setup.device)
    measured = average_precision(results, setup.info.names)
    on_event(
        Message(
            f"teacher {str(teacher.path)!r}: AP {_shown(measured.ap)}, "
            f"AP50 {_shown(measured.ap50)} on {setup.config.data.val_split}"
        )
    )
    return forward


def _reordered(detector: Forward, names: tuple[str, ...], wanted: tuple[str, ...]) -> Forward:
    if names == wanted:
        return detector
    order = torch.tensor([names.index(name) for name in wanted])

    def forward(images: Tensor) -> RawPredictions:
        raw = detector(images)
        logits = raw.logits.index_select(2, order.to(raw.logits.device))
        return RawPredictions(logits, raw.bins, raw.points, raw.strides, raw.features)

    return forward


def _loss(config: TrainConfig) -> DistillLoss:
    settings = config.distill
    return DistillLoss(
        settings.class_weight, settings.bins_weight, settings.beta, settings.temperature
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
