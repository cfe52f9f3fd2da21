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
from kdlnet.report.training import training_curves
from kdlnet.training.augment import Augmenter
from kdlnet.training.batches import TrainBatches
from kdlnet.training.checkpoints import Keeper, last_weights, saved_config
from kdlnet.training.loop import Loop, LoopState, Plan
from kdlnet.training.optim import make_optimizer
from kdlnet.training.parts import Setup, prepare_run, updated
from kdlnet.training.steps import Step, SupervisedStep
from kdlnet.types import Batch, Forward
from kdlnet.utils.device import autocast_dtype
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json, write_yaml
from kdlnet.utils.output import new_folder


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

    ``resume`` is a run folder or its last.pt: the run goes on there with its own config. ``init``
    are weights to start from. Raises ConfigError, DataError or WeightsError before the first step.
    """
    saved = None if resume is None else load_weights(last_weights(resume))
    if saved is not None:
        config = saved_config(saved)
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
    keeper = Keeper(setup, folder, optimizer, scaler, state)
    if saved is not None:
        keeper.restore(saved)
        _warn_of_other_images(saved, setup, on_event)
    on_event(_started(setup, folder, len(batches)))
    loop = Loop(
        step,
        setup.detector,
        setup.average,
        optimizer,
        batches,
        _plan(config, lr),
        state,
        lambda: _measure(keeper, setup),
        keeper.save,
        on_event,
        scaler,
    )
    if saved is None:
        keeper.save(best=False, over=False)
    reason = loop.run()
    training_curves(folder / "results.png", folder / "results.csv")
    best, last = folder / "weights" / "best.pt", folder / "weights" / "last.pt"
    metrics = state.rows[state.best_epoch] if state.rows else {}
    on_event(RunFinished(folder, best, metrics, loop.elapsed(), reason))
    return TrainResult(folder, best, last, metrics, reason)


def _plan(config: TrainConfig, lr: float) -> Plan:
    optim = config.optim
    return Plan(
        config.epochs,
        lr,
        optim.final_lr,
        optim.warmup,
        optim.tail,
        optim.accumulate,
        optim.clip_norm,
        config.time,
        config.patience,
        config.val_every,
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
) -> Path:
    if saved is not None and saved.path is not None:
        return saved.path.absolute().parent.parent
    images = [*setup.train.paths, *setup.val.paths]
    reads = [setup.info.source, *reads]
    folder = new_folder(runs / setup.info.name, out, overwrite, reads=reads, images=images)
    write_yaml(folder / "config.yaml", setup.config.to_dict())
    write_json(folder / "environment.json", environment())
    return folder


def _measure(keeper: Keeper, setup: Setup) -> dict[str, float | None]:
    """AP of the averaged weights on val; also keeps the score with the best F1 for predict."""
    results = detect(keeper.average.model, setup.val, setup.config.batch, setup.device)
    measured = average_precision(results, setup.info.names)
    best = curves(results, setup.info.names).overall.best
    keeper.thresholds = {} if best is None else {"score": round(best.score, 4)}
    return {"ap": measured.ap, "ap50": measured.ap50, "ap75": measured.ap75}


def _started(setup: Setup, folder: Path, steps: int) -> RunStarted:
    cost = model_cost(setup.detector, setup.config.image_size)
    return RunStarted(
        folder,
        setup.config.model.name,
        cost.parameters,
        cost.gflops,
        len(setup.train),
        len(setup.val),
        str(setup.device),
        setup.config.epochs,
        steps,
    )
