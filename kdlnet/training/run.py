"""One training run: its parts are handed to the loop, its folder gets what the loop comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdlnet.config import TrainConfig
from kdlnet.data.folders import image_folders
from kdlnet.data.labels import Split
from kdlnet.errors import ConfigError
from kdlnet.events import Listener, Message, RunFinished, RunStarted, ignore
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.losses.assigner import TaskAlignedAssigner
from kdlnet.losses.detection import DetectionLoss
from kdlnet.models.cost import model_cost
from kdlnet.training.augment import Augmenter
from kdlnet.training.batches import TrainBatches
from kdlnet.training.checkpoints import Checkpoints, last_weights, saved_config
from kdlnet.training.loop import Loop, LoopState
from kdlnet.training.masks import MaskLesson, Masks
from kdlnet.training.optim import make_optimizer
from kdlnet.training.parallel import distributed
from kdlnet.training.parts import RunParts, prepare_run
from kdlnet.training.recorded import is_recordable, recorded_detector
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.sampling import balanced, describe
from kdlnet.training.schedule import Schedule
from kdlnet.training.steps import Step, SupervisedStep
from kdlnet.training.validation import Validation
from kdlnet.types import Batch, Forward
from kdlnet.utils.device import autocast_dtype, precision_name
from kdlnet.utils.ranks import ranks


@dataclass(frozen=True)
class TrainResult:
    """Where the run is, its two checkpoints, the best epoch's metrics and why it ended."""

    folder: Path
    best: Path
    last: Path
    metrics: dict[str, Any]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        places = {name: str(getattr(self, name)) for name in ("folder", "best", "last")}
        return {**places, "reason": self.reason, "metrics": self.metrics}


def plain_run(
    config: TrainConfig,
    *,
    init: Path | None,
    out: Path | None,
    overwrite: bool,
    on_event: Listener,
    found: tuple[Split, Split] | None = None,
    thresholds: Mapping[str, Any] | None = None,
    repeats: Path | None = None,
) -> TrainResult:
    """A new run without a teacher, whatever the settings say of one; ``init`` are weights.

    ``found`` are its two splits where they were read before, ``thresholds`` those that it keeps
    until val tells others. ``repeats`` is the run it repeats, which it does not replace.
    """
    config = config.changed(distill={"teachers": (), "own_average": False})
    parts = prepare_run(config, None, init, on_event, found)
    parts.thresholds = dict(thresholds or {})
    folder = run_folder(parts, Path("runs/train"), out, overwrite, reads=[init, repeats])
    return run_training(parts, supervised_step(parts), folder, None, on_event)


def resumed_plain_run(resume: Path, asked: TrainConfig, on_event: Listener) -> TrainResult:
    """The run of the folder or last.pt ``resume`` goes on, with its own settings.

    Its dataset is where ``asked``, if it names one, says: it may have been moved since.
    """
    file = last_weights(resume)
    saved = load_weights(file)
    config = saved_config(saved, asked)
    if config.distill.taught:
        raise ConfigError(f"{str(resume)!r} has a teacher: use kdlnet distill --resume")
    parts = prepare_run(config, saved, None, on_event)
    return run_training(parts, supervised_step(parts), RunFolder.around(file), saved, on_event)


def supervised_step(parts: RunParts, *, features: bool = False) -> SupervisedStep:
    """The step of plain training; ``features`` says that somebody looks at the neck's maps."""
    config, settings = parts.config, parts.config.loss
    masks = None
    if parts.masks is not None:
        masks = MaskLesson(distributed(parts.masks, parts.device), settings.mask_weight)
    loss = DetectionLoss(
        TaskAlignedAssigner(settings.topk, settings.alpha, settings.beta),
        settings.classification,
        settings.class_weight,
        settings.box_weight,
        settings.bins_weight,
    )
    detector: Forward = distributed(parts.detector, parts.device)
    recorded: Forward | None = None
    if config.compile:
        detector = torch.compile(detector)
    elif is_recordable(parts.device, config.optim.accumulate):
        recorded = recorded_detector(parts.detector, features=features or masks is not None)
    return SupervisedStep(detector, loss, autocast_dtype(config.amp, parts.device), recorded, masks)


def run_folder(
    parts: RunParts,
    runs: Path,
    out: Path | None,
    overwrite: bool,
    reads: Sequence[Path | None],
) -> RunFolder:
    """The folder of a new run, ``out`` or one in ``runs``; replaces none that holds ``reads``."""
    images = [*parts.train.paths, *parts.val.paths]
    reads = [*parts.info.sources, *reads]
    default, wholes = runs / parts.info.name, image_folders(parts.info)
    folder = RunFolder.new(default, out, overwrite, reads=reads, images=images, folders=wholes)
    folder.begin(parts.config.to_dict(), precision_name(parts.config.amp, parts.device))
    return folder


def run_training(
    parts: RunParts,
    step: Step[Batch],
    folder: RunFolder,
    saved: Weights | None,
    on_event: Listener,
) -> TrainResult:
    """Runs the loop with ``step`` to its end, from ``saved`` on; with a teacher or without.

    Raises KdlnetError where another process is at work in ``folder``, before anything is written.
    """
    with folder.held():
        loop = _loop(parts, step, folder, saved, on_event)
        reason = loop.run()
        folder.draw()
        return finished(folder, parts.state, reason, on_event)


def _loop(
    parts: RunParts,
    step: Step[Batch],
    folder: RunFolder,
    saved: Weights | None,
    on_event: Listener,
) -> Loop[Batch]:
    """The loop at the beginning, its first last.pt written, or where ``saved`` left it."""
    config = parts.config
    balance = balanced(parts.train, **config.sampling.model_dump())
    line = describe(balance, parts.train, parts.info.names)
    if line is not None:
        on_event(Message(line))
    masks = None
    if parts.masks is not None:
        masks = Masks(parts.train, len(parts.info.names), parts.detector.strides[0])
    settings = config.augment.model_dump()
    augmenter = Augmenter(parts.train, config.seed, balance, masks, **settings)
    batches = TrainBatches(augmenter, config.batch, parts.device)
    schedule = _schedule(config, batches.batch)
    optimizer, scaler = _optimizer(parts, schedule.lr)
    validation = Validation(parts)
    checkpoints = Checkpoints(parts, folder, optimizer, scaler, validation)
    if saved is None:
        checkpoints.save(best=False, over=False)  # before the loop's clock begins
    else:
        if checkpoints.moved(saved):
            folder.settle(config.to_dict())
        checkpoints.restore(saved)
    loop = Loop(
        step=step,
        model=parts.detector,
        average=parts.average,
        optimizer=optimizer,
        scaler=scaler,
        batches=batches,
        schedule=schedule,
        state=parts.state,
        validate=validation,
        save=checkpoints.save,
        on_event=on_event,
    )
    if saved is not None:
        _meet_others(checkpoints.others(saved), saved, parts, loop, on_event)
    on_event(_started(parts, folder, len(batches)))
    return loop


def finished(
    folder: RunFolder, state: LoopState, reason: str, on_event: Listener = ignore
) -> TrainResult:
    """What a run that ended for ``reason`` came to."""
    metrics = state.rows[state.best_epoch] if state.rows else {}
    on_event(
        RunFinished(
            folder=folder.path,
            best=folder.best,
            metrics=metrics,
            seconds=state.seconds,
            reason=reason,
            epochs=state.epoch,
        )
    )
    return TrainResult(
        folder=folder.path, best=folder.best, last=folder.last, metrics=metrics, reason=reason
    )


def _schedule(config: TrainConfig, batch: int) -> Schedule:
    """The schedule of a run in batches of ``batch`` images, which its learning rate goes by."""
    optim = config.optim
    return Schedule(
        epochs=config.epochs,
        lr=optim.base_lr() * (batch * optim.accumulate / 16) ** 0.5,
        final_lr=optim.final_lr,
        warmup=optim.warmup,
        tail=optim.tail,
        accumulate=optim.accumulate,
        clip_norm=optim.clip_norm,
        time=config.time,
        patience=config.patience,
        val_every=config.val_every,
    )


def _optimizer(parts: RunParts, lr: float) -> tuple[torch.optim.Optimizer, torch.amp.GradScaler]:
    optim = parts.config.optim
    layers = [parts.detector] if parts.masks is None else [parts.detector, parts.masks]
    trained = torch.nn.ModuleList(layers)
    optimizer = make_optimizer(trained, optim.name, lr, optim.momentum, optim.weight_decay)
    half = autocast_dtype(parts.config.amp, parts.device) is torch.float16
    return optimizer, torch.amp.GradScaler(parts.device.type, enabled=half)


def _meet_others(
    others: tuple[str, str],
    saved: Weights,
    parts: RunParts,
    loop: Loop[Batch],
    on_event: Listener,
) -> None:
    """Warns where train or val are ``others`` than before; on another val the best begins anew.

    The plan counts in epochs, whatever their length is now: a run that is over stays so.
    """
    train, val = others
    if train == "images":
        parts.state.step = parts.state.epoch * len(loop.batches)
    if loop.is_over():
        if train:
            text = (
                f"the training set holds other {train} than when this run came to its end, and it "
                "is not trained again: to learn from those of now begin a new run with --init"
            )
            on_event(Message(text, "warning"))
        return
    if train:
        text = (
            "the training set has other labels than when the run stopped: the rest of the run "
            "learns from those of now"
            if train == "labels"
            else f"the training set had {saved.training['images']} samples when the run began and "
            f"has {len(parts.train)} now, not all of the same images: the rest of the run is "
            "planned anew and learns from those of now"
        )
        on_event(Message(text, "warning"))
    if val and parts.state.best != LoopState.best and not parts.config.data.with_val:
        parts.state.best, parts.state.stale = LoopState.best, 0
        text = (
            f"val holds other {val} than up to epoch {parts.state.epoch}: figures before and "
            "after do not compare, and best.pt is chosen anew; the one there is stays until the "
            "next validation"
        )
        on_event(Message(text, "warning"))


def _started(parts: RunParts, folder: RunFolder, steps: int) -> RunStarted:
    cost = model_cost(parts.average.model, parts.config.image_size)
    return RunStarted(
        folder=folder.path,
        model=parts.config.model.name,
        parameters=cost.parameters,
        gflops=cost.gflops,
        train_images=len(parts.train.paths),
        val_images=0 if parts.config.data.with_val else len(parts.val.paths),
        device=str(parts.device) if ranks() == 1 else f"{ranks()} x {parts.device.type}",
        precision=precision_name(parts.config.amp, parts.device),
        epochs=parts.config.epochs,
        steps_per_epoch=steps,
    )
