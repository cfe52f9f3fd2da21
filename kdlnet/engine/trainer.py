"""Training from a config: builds the parts, hands them to the loop, keeps the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kdlnet.config import TrainConfig, build_config, load_config
from kdlnet.data.augment import Augmenter
from kdlnet.data.cache import measured_window
from kdlnet.data.catalog import DatasetInfo, find_dataset, label_path
from kdlnet.data.dataset import DetectionDataset, Split, load_split
from kdlnet.data.labels import summarize
from kdlnet.data.loader import TrainBatches
from kdlnet.engine.checkpoint import Weights, load_weights, save_weights, transfer
from kdlnet.engine.device import autocast_dtype, find_device, prepare
from kdlnet.engine.ema import WeightAverage
from kdlnet.engine.evaluator import detect
from kdlnet.engine.events import Listener, Message, Progress, RunFinished, RunStarted, ignore
from kdlnet.engine.loop import Loop, LoopState, Plan
from kdlnet.engine.optim import make_optimizer
from kdlnet.engine.run import environment, new_folder, protect, write_csv, write_json, write_yaml
from kdlnet.engine.steps import Forward, Step, SupervisedStep
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.losses.assigner import TaskAlignedAssigner
from kdlnet.losses.detection import DetectionLoss
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.curves import curves
from kdlnet.models.cost import model_cost
from kdlnet.models.detector import Detector
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.report.training import training_curves
from kdlnet.types import Preprocess


@dataclass(frozen=True)
class TrainResult:
    """Where the run is, its two checkpoints, the best epoch's metrics and why it ended."""

    folder: Path
    best: Path
    last: Path
    metrics: dict[str, Any]
    reason: str


@dataclass
class Setup:
    """The parts of a run, ready for the loop."""

    config: TrainConfig
    device: torch.device
    info: DatasetInfo
    train: DetectionDataset
    val: DetectionDataset
    detector: Detector


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
    if overwrite:
        protect(out, [init])
    saved = None if resume is None else load_weights(last_weights(resume))
    if saved is not None:
        config = saved_config(saved)
        if config.distill.teacher is not None:
            raise ConfigError(f"{str(resume)!r} has a teacher: use kdlnet distill --resume")
    setup = prepare_run(config, saved, None if saved else init, on_event)
    return run_training(setup, supervised_step(setup), saved, out, overwrite, on_event)


def last_weights(resume: Path) -> Path:
    """The last.pt meant by a run folder, its weights folder or the file itself."""
    for file in (resume / "weights" / "last.pt", resume / "last.pt", resume):
        if file.is_file():
            folder = file.absolute().parent
            if folder.name == "weights" and (folder.parent / "config.yaml").is_file():
                return file
            raise WeightsError(
                f"{str(file)!r} is not inside its run folder, where the run would go on: give the "
                "folder that kdlnet train made, or start a new run from the file with --init"
            )
    if resume.is_dir():
        raise WeightsError(
            f"{str(resume)!r} holds no weights/last.pt to resume from: give the folder of a run "
            "that kdlnet train began"
        )
    return resume


def prepare_run(
    config: TrainConfig, saved: Weights | None, init: Path | None, on_event: Listener
) -> Setup:
    """Reads the data and builds the model; writes nothing."""
    device = find_device(config.device)
    prepare(device)
    config = _with_absolute_data(config)
    info = _find_data(config)
    channels = config.model.channels or info.channels or 3
    config = _updated(config, "model", channels=channels)
    if saved is not None and tuple(info.names) != saved.names:
        raise DataError(
            f"the run was started with the classes {', '.join(saved.names)}, its dataset now has "
            f"{', '.join(info.names)}: start a new run with --init instead of --resume"
        )
    arguments = ModelArguments(len(info.names), channels, config.model.block)
    detector = build_model(config.model.name, arguments, config.seed)
    if init is not None:
        for line in transfer(load_weights(init), detector, info.names):
            on_event(Message(line))
    found = load_split(info, config.data.train_split, config.data.strict)
    window = config.data.window or measured_window(found.paths)
    config = _updated(config, "data", window=window)
    contract = Preprocess(config.image_size, channels, window)
    train_set = _open(found, config.data.train_split, contract, config, on_event)
    _require_boxes(train_set, info, config)
    found = load_split(info, config.data.val_split, config.data.strict)
    val_set = _open(found, config.data.val_split, contract, config, on_event)
    if not len(val_set.labels):
        text = f"no box in {config.data.val_split}: AP is unknown and best.pt the newest epoch"
        on_event(Message(text, "warning"))
    detector.to(device).to(memory_format=torch.channels_last)
    return Setup(config, device, info, train_set, val_set, detector)


def data_name(config: TrainConfig) -> str:
    """The name of the dataset, after which run folders are called."""
    return _find_data(config).name


def _find_data(config: TrainConfig) -> DatasetInfo:
    root = None if config.data.root is None else Path(config.data.root)
    return find_dataset(config.data.name, root)


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
    step: Step,
    saved: Weights | None,
    out: Path | None,
    overwrite: bool,
    on_event: Listener,
    runs: Path = Path("runs/train"),
) -> TrainResult:
    """Makes the run folder and runs the loop with ``step`` to its end.

    The same for training and distillation. A run that goes on from ``saved`` keeps its folder.
    """
    folder = _run_folder(setup, saved, out, overwrite, runs)
    config = setup.config
    optim = config.optim
    augmenter = Augmenter(setup.train, config.seed, **config.augment.model_dump())
    batches = TrainBatches(augmenter, config.batch, setup.device)
    lr = optim.lr * (batches.batch * optim.accumulate / 16) ** 0.5
    optimizer = make_optimizer(setup.detector, optim.name, lr, optim.momentum, optim.weight_decay)
    average = WeightAverage(setup.detector, optim.ema_decay)
    scaler = torch.amp.GradScaler(
        setup.device.type, enabled=autocast_dtype(config.amp, setup.device) is torch.float16
    )
    state = LoopState()
    keeper = Keeper(setup, folder, average, optimizer, scaler, state)
    if saved is not None:
        keeper.restore(saved)
        if saved.training["images"] != len(setup.train):
            on_event(
                Message(
                    f"the training set had {saved.training['images']} images when the run began "
                    f"and has {len(setup.train)} now: the rest of the run is planned anew",
                    "warning",
                )
            )
    plan = Plan(
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
    on_event(_started(setup, folder, len(batches)))
    loop = Loop(
        step,
        setup.detector,
        average,
        optimizer,
        batches,
        plan,
        state,
        lambda: _measure(keeper, setup),
        keeper.save,
        on_event,
        scaler,
    )
    if saved is None:
        keeper.save(best=False)
    reason = loop.run()
    training_curves(folder / "results.png", folder / "results.csv")
    best, last = folder / "weights" / "best.pt", folder / "weights" / "last.pt"
    metrics = state.rows[state.best_epoch] if state.rows else {}
    on_event(RunFinished(folder, best, metrics, loop.elapsed(), reason))
    return TrainResult(folder, best, last, metrics, reason)


def _run_folder(
    setup: Setup, saved: Weights | None, out: Path | None, overwrite: bool, runs: Path
) -> Path:
    if saved is not None and saved.path is not None:
        return saved.path.absolute().parent.parent
    folder = new_folder(runs / setup.info.name, out, overwrite)
    write_yaml(folder / "config.yaml", setup.config.to_dict())
    write_json(folder / "environment.json", environment())
    return folder


class Keeper:
    """Saves and restores what resume needs: all tensors and counters that training changes."""

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        average: WeightAverage[Detector],
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        state: LoopState,
    ) -> None:
        self.setup = setup
        self.folder = folder
        self.average = average
        self.optimizer = optimizer
        self.scaler = scaler
        self.state = state
        self.thresholds: dict[str, float] = {}

    def save(self, best: bool) -> None:
        """Writes results.csv and last.pt, and best.pt when this epoch is the best."""
        folder = self.folder
        weights = self._weights()
        if best:
            save_weights(folder / "weights" / "best.pt", weights)
        weights.training = {
            "config": self.setup.config.to_dict(),
            "images": len(self.setup.train),
            "detector": self.setup.detector.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "state": self.state.state_dict(),
        }
        save_weights(folder / "weights" / "last.pt", weights)
        if self.state.rows:
            write_csv(folder / "results.csv", self.state.rows)

    def restore(self, saved: Weights) -> None:
        """Takes over everything ``save`` wrote."""
        training = saved.training
        self.setup.detector.load_state_dict(training["detector"])
        self.average.model.load_state_dict(saved.detector.state_dict())
        self.average.updates = training["updates"]
        self.optimizer.load_state_dict(training["optimizer"])
        self.scaler.load_state_dict(training["scaler"])
        for name, value in training["state"].items():
            setattr(self.state, name, value)

    def _weights(self) -> Weights:
        setup = self.setup
        row = self.state.rows[-1] if self.state.rows else {}
        arguments = ModelArguments(
            len(setup.info.names), setup.train.preprocess.channels, setup.config.model.block
        )
        return Weights(
            self.average.model,
            setup.config.model.name,
            arguments,
            tuple(setup.info.names),
            setup.train.preprocess,
            thresholds=self.thresholds,
            metrics={key: row[key] for key in ("epoch", "ap", "ap50", "ap75") if key in row},
        )


def _open(
    found: Split, split: str, contract: Preprocess, config: TrainConfig, on_event: Listener
) -> DetectionDataset:
    if found.problems:
        on_event(Message(f"{split}: {summarize(found.problems)}", "warning"))
    dataset = DetectionDataset(
        found,
        contract,
        config.data.cache,
        config.data.cache_gb,
        config.data.strict,
        on_progress=lambda done, total: on_event(Progress(f"read {split} images", done, total)),
    )
    for line in dataset.unreadable:
        on_event(Message(f"left out: {line}", "warning"))
    return dataset


def _require_boxes(dataset: DetectionDataset, info: DatasetInfo, config: TrainConfig) -> None:
    if not len(dataset.labels):
        raise DataError(
            f"split {config.data.train_split!r} of {info.name!r} has no box to learn from; the "
            f"labels of {str(dataset.paths[0])!r} belong in {str(label_path(dataset.paths[0]))!r}"
        )


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


def saved_config(saved: Weights) -> TrainConfig:
    """The settings of a run that can be resumed. Raises WeightsError when ``saved`` is no such."""
    if not saved.training:
        raise WeightsError(
            f"{str(saved.path)!r} holds no training state; resume from weights/last.pt of a run, "
            "or start a new run from it with --init"
        )
    config = build_config(saved.training["config"])
    file = (saved.path or Path()).absolute().parent.parent / "config.yaml"
    if load_config(file) != config:
        raise ConfigError(
            f"{str(file)!r} was changed after the run began; a run goes on with the settings it "
            "had: undo the change, or start a new run with --config and --init"
        )
    return config


def _with_absolute_data(config: TrainConfig) -> TrainConfig:
    """Dataset paths made absolute, so that a run can be resumed from any folder."""
    name, root = Path(config.data.name), config.data.root
    changes: dict[str, str] = {}
    file = name / "data.yaml" if name.is_dir() else name
    source = _find_data(config).source
    if file.is_file() and file.resolve() == source.resolve():
        changes["name"] = str(source.absolute())
    if root is not None:
        changes["root"] = str(Path(root).absolute())
    return _updated(config, "data", **changes)


def _updated(config: TrainConfig, section: str, **values: Any) -> TrainConfig:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})
