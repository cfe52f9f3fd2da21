"""Training from a config: builds the parts, hands them to the loop, keeps the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdlnet.config import TrainConfig
from kdlnet.errors import ConfigError
from kdlnet.events import Listener, Message, RunFinished, RunStarted, ignore
from kdlnet.inference.evaluate import detect
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.losses.assigner import TaskAlignedAssigner
from kdlnet.losses.detection import DetectionLoss
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.curves import curves
from kdlnet.models.cost import model_cost
from kdlnet.training.augment import Augmenter
from kdlnet.training.batches import TrainBatches
from kdlnet.training.checkpoints import Checkpoints, last_weights, saved_config
from kdlnet.training.loop import Loop, LoopState
from kdlnet.training.optim import make_optimizer
from kdlnet.training.parts import Setup, prepare_run, updated
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.schedule import Schedule
from kdlnet.training.steps import Step, SupervisedStep
from kdlnet.types import Batch, Forward
from kdlnet.utils.device import autocast_dtype


@dataclass(frozen=True)
class TrainResult:
    """Where the run is, its two checkpoints, the best epoch's metrics and why it ended."""

    folder: Path
    best: Path
    last: Path
    metrics: dict[str, Any]
    reason: str


def train(
    config: TrainConfig,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    resume: Path | None = None,
    init: Path | None = None,
    on_event: Listener = ignore,
) -> TrainResult:
    """Trains a detector and leaves a run folder with weights/best.pt and weights/last.pt.

    ``resume`` is a run folder or its last.pt: the run goes on there with its own config, its
    dataset, if ``config`` names one, where that says: it may have been moved since. ``init``
    are weights to start from. Raises ConfigError, DataError or WeightsError before the first step.
    """
    saved = None if resume is None else load_weights(last_weights(resume))
    if saved is not None:
        config = saved_config(saved, config)
        if config.distill.taught:
            raise ConfigError(f"{str(resume)!r} has a teacher: use kdlnet distill --resume")
    else:
        # Also where a distillation's config.yaml was given: a plain training has no teacher.
        config = updated(config, "distill", teachers=(), own_average=False)
    setup = prepare_run(config, saved, None if saved else init, on_event)
    step = supervised_step(setup)
    return run_training(setup, step, saved, out, overwrite, on_event, reads=[init])


def supervised_step(setup: Setup) -> SupervisedStep:
    """The step of plain training."""
    settings = setup.config.loss
    loss = DetectionLoss(
        TaskAlignedAssigner(settings.topk, settings.alpha, settings.beta),
        settings.classification,
        settings.class_weight,
        settings.box_weight,
        settings.bins_weight,
    )
    detector: Forward = setup.detector
    if setup.config.compile:
        detector = torch.compile(detector)
    return SupervisedStep(detector, loss, autocast_dtype(setup.config.amp, setup.device))


def run_training(
    setup: Setup,
    step: Step[Batch],
    saved: Weights | None,
    out: Path | None,
    overwrite: bool,
    on_event: Listener,
    runs: Path = Path("runs/train"),
    reads: Sequence[Path | None] = (),
) -> TrainResult:
    """Makes the run folder and runs the loop with ``step`` to its end.

    The same for training and distillation. A run that goes on from ``saved`` keeps its folder; a
    new one replaces none that holds a file of ``reads``.
    """
    folder = _run_folder(setup, saved, out, overwrite, runs, reads)
    config = setup.config
    optim = config.optim
    augmenter = Augmenter(setup.train, config.seed, **config.augment.model_dump())
    batches = TrainBatches(augmenter, config.batch, setup.device)
    lr = optim.base_lr() * (batches.batch * optim.accumulate / 16) ** 0.5
    optimizer = make_optimizer(setup.detector, optim.name, lr, optim.momentum, optim.weight_decay)
    scaler = torch.amp.GradScaler(
        setup.device.type, enabled=autocast_dtype(config.amp, setup.device) is torch.float16
    )
    state = LoopState()
    checkpoints = Checkpoints(setup, folder, optimizer, scaler, state)
    if saved is not None:
        if checkpoints.moved(saved):
            folder.settle(config.to_dict())
        checkpoints.restore(saved)
        _warn_of_other_images(saved, setup, on_event)
    on_event(_started(setup, folder, len(batches)))
    loop = Loop(
        step=step,
        model=setup.detector,
        average=setup.average,
        optimizer=optimizer,
        scaler=scaler,
        batches=batches,
        schedule=_schedule(config, lr),
        state=state,
        validate=lambda: _measure(checkpoints, setup),
        save=checkpoints.save,
        on_event=on_event,
    )
    if saved is None:
        checkpoints.save(best=False, over=False)
    reason = loop.run()
    folder.draw()
    metrics = state.rows[state.best_epoch] if state.rows else {}
    on_event(
        RunFinished(
            folder=folder.path,
            best=folder.best,
            metrics=metrics,
            seconds=loop.clock.elapsed(),
            reason=reason,
        )
    )
    return TrainResult(
        folder=folder.path, best=folder.best, last=folder.last, metrics=metrics, reason=reason
    )


def _schedule(config: TrainConfig, lr: float) -> Schedule:
    optim = config.optim
    return Schedule(
        epochs=config.epochs,
        lr=lr,
        final_lr=optim.final_lr,
        warmup=optim.warmup,
        tail=optim.tail,
        accumulate=optim.accumulate,
        clip_norm=optim.clip_norm,
        time=config.time,
        patience=config.patience,
        val_every=config.val_every,
    )


def _warn_of_other_images(saved: Weights, setup: Setup, on_event: Listener) -> None:
    if saved.training["images"] != len(setup.train):
        on_event(
            Message(
                f"the training set had {saved.training['images']} images when the run began "
                f"and has {len(setup.train)} now: the rest of the run is planned anew",
                "warning",
            )
        )


def _run_folder(
    setup: Setup,
    saved: Weights | None,
    out: Path | None,
    overwrite: bool,
    runs: Path,
    reads: Sequence[Path | None],
) -> RunFolder:
    if saved is not None and saved.path is not None:
        return RunFolder.around(saved.path)
    images = [*setup.train.paths, *setup.val.paths]
    reads = [setup.info.source, *reads]
    folder = RunFolder.new(runs / setup.info.name, out, overwrite, reads=reads, images=images)
    folder.begin(setup.config.to_dict())
    return folder


def _measure(checkpoints: Checkpoints, setup: Setup) -> dict[str, float | None]:
    """AP of the averaged weights on val; also keeps the score with the best F1 for predict."""
    results = detect(checkpoints.average.model, setup.val, setup.config.batch, setup.device)
    measured = average_precision(results, setup.info.names)
    best = curves(results, setup.info.names).overall.best
    checkpoints.thresholds = {} if best is None else {"score": round(best.score, 4)}
    return {"ap": measured.ap, "ap50": measured.ap50, "ap75": measured.ap75}


def _started(setup: Setup, folder: RunFolder, steps: int) -> RunStarted:
    cost = model_cost(setup.detector, setup.config.image_size)
    return RunStarted(
        folder=folder.path,
        model=setup.config.model.name,
        parameters=cost.parameters,
        gflops=cost.gflops,
        train_images=len(setup.train),
        val_images=len(setup.val),
        device=str(setup.device),
        epochs=setup.config.epochs,
        steps_per_epoch=steps,
    )
