"""What a run is made of: its data, its model, its device. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import torch

from kdlnet.config import TrainConfig
from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.joined import described
from kdlnet.data.labels import FEW, Split, count_boxes
from kdlnet.data.learned import Learned
from kdlnet.data.listing import label_path
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Listener, Message, Progress
from kdlnet.images.window import image_depth, measured_window
from kdlnet.inference.released import START
from kdlnet.inference.transfer import begin, starting_weights
from kdlnet.inference.weights import Weights
from kdlnet.models.network import Network
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training.average import WeightAverage
from kdlnet.training.loop import LoopState
from kdlnet.training.masks import MaskLayer
from kdlnet.training.parallel import require_even, require_same
from kdlnet.training.places import (
    find_data,
    run_splits,
    with_absolute_data,
    with_data_found_again,
)
from kdlnet.types import Preprocess, Tiling
from kdlnet.utils.device import find_device, prepare
from kdlnet.utils.words import counted

_FEW_STEPS = 4000
"""From scratch AP still grew here on NEU-DET, with all of its images and with a quarter of them."""


@dataclass
class RunParts:
    """The parts of a run, ready for the loop.

    ``init`` are the weights that somebody named to start from, ``thresholds`` those that the run
    keeps until its validation finds some of its own. ``learned`` are the images that the weights it
    begins with have learned from. ``masks`` is the layer that learns by the outlines of defects,
    where there are any.
    """

    config: TrainConfig
    device: torch.device
    info: DatasetInfo
    train: DetectionDataset
    val: DetectionDataset
    detector: Network
    average: WeightAverage[Network]
    masks: MaskLayer | None = None
    init: Path | None = None
    thresholds: dict[str, Any] = field(default_factory=dict)
    learned: Learned = field(default_factory=Learned)
    state: LoopState = field(default_factory=LoopState)


def prepare_run(
    config: TrainConfig,
    saved: Weights | None,
    init: Path | None,
    on_event: Listener,
    found: tuple[Split, Split] | None = None,
) -> RunParts:
    """Reads the data and builds the model; writes nothing.

    Without ``init`` a new run begins at the released start of its model, unless the settings say
    otherwise. ``found`` are the two splits of the run where they were read before.
    """
    device = find_device(config.device)
    prepare(device)
    config = with_absolute_data(config) if saved is None else with_data_found_again(config)
    info = find_data(config)
    for line in described(info):
        on_event(Message(line))
    if saved is not None:
        _require_same_classes(saved, info)
    channels = config.model.channels or info.channels or 3
    start = None if saved is not None else starting_weights(config.model, init)
    trained = start is not None and start.purpose != START
    rate = config.optim.base_lr(from_weights=trained)
    config = config.changed(model={"channels": channels}, optim={"lr": rate})
    arguments = ModelArguments(len(info.names), channels, config.model.block)
    detector = build_model(config.model.name, arguments, config.seed)
    roi, seed = config.data.roi, config.seed
    begun = [] if saved else begin(start, detector, info.names, config.model, init, roi, seed)
    train, val = run_splits(config) if found is None else found
    config, contract = _contract(config, channels, train, on_event)
    train_set = _open(train, config.data.train_split, contract, config, on_event, training=True)
    _require_boxes(train_set, info, config)
    for line in begun:
        on_event(Message(line))
    if saved is None and start is None and not config.distill.taught:
        _say_if_short(config, len(train_set), on_event)
    val_set = _open_val(val, contract, config, on_event)
    if not config.data.with_val and (saved is None or not len(val_set.labels)):
        _say_what_is_rare(val, val_set, config.data.val_split, info, on_event)
    require_even(min(config.batch, len(train_set)))
    detector.to(device).to(memory_format=torch.channels_last)
    average = WeightAverage(detector, config.optim.ema_decay)
    masks = _mask_layer(config, train_set, detector, saved, on_event)
    parts = RunParts(config, device, info, train_set, val_set, detector, average, masks, init)
    if before := saved or start:
        parts.learned = before.learned
    return parts


def _mask_layer(
    config: TrainConfig,
    train: DetectionDataset,
    detector: Network,
    saved: Weights | None,
    on_event: Listener,
) -> MaskLayer | None:
    """What learns by the outlines of defects; a run that goes on has one if it began with one."""
    learns = config.loss.mask_weight > 0 and any(train.outlines)
    if not learns if saved is None else saved.training.get("masks") is None:
        return None
    known, boxes = sum(map(bool, train.outlines)), counted(len(train.labels), "box", "boxes")
    text = f"outlines of {known} of {boxes} are learned too, by a layer that is dropped at the end"
    on_event(Message(f"{text} (--set loss.mask_weight=0: boxes alone)"))
    width = detector.neck.widths[0]
    return MaskLayer(width, detector.head.num_classes, config.seed).to(find_device(config.device))


def _require_same_classes(saved: Weights, info: DatasetInfo) -> None:
    if tuple(info.names) != saved.names:
        raise DataError(
            f"the run was started with the classes {', '.join(saved.names)}, its dataset now has "
            f"{', '.join(info.names)}: start a new run with --init instead of --resume"
        )


def _contract(
    config: TrainConfig, channels: int, found: Split, on_event: Listener
) -> tuple[TrainConfig, Preprocess]:
    """The config with its window, measured if none is given, and how the run sees images."""
    window = config.data.window
    if window is not None:
        depth = image_depth(found.paths)
        if depth == 8 and window[1] > 255:
            low, high = window
            raise ConfigError(
                f"data.window {low:g}-{high:g} for 8-bit images: allowed is 0 to 255; leave it out "
                "to have it measured. Where the teacher brought it, that one has learned from "
                "images of more bits: train one on these"
            )
    else:
        window, depth = measured_window(found.paths, config.data.roi)
        config = config.changed(data={"window": window})
    if depth > 8:
        low, high = window
        on_event(Message(f"{depth}-bit images, intensity window {low:g} to {high:g}"))
    size, overlap = config.tile.size, config.tile.overlap
    tiling = None if size is None else Tiling(size, overlap)
    seen = (config.image_size, channels, window)
    return config, Preprocess(*seen, depth=depth, tiling=tiling, roi=config.data.roi)


def _open(
    found: Split,
    split: str,
    contract: Preprocess,
    config: TrainConfig,
    on_event: Listener,
    training: bool = False,
) -> DetectionDataset:
    for line in found.warnings:
        on_event(Message(f"{split}: {line}", "warning"))
    dataset = DetectionDataset(
        found,
        contract,
        config.data.cache,
        config.data.cache_gb,
        config.data.strict,
        on_progress=lambda done, total: on_event(Progress(f"read {split} images", done, total)),
        min_visible=config.tile.min_visible,
        background=config.tile.background if training else None,
    )
    if contract.tiling is not None:
        height, width = contract.tiling.size
        text = f"{split}: {counted(len(dataset), 'tile')} of {height}x{width} from "
        on_event(Message(text + counted(len(dataset.paths), "image")))
    for line in dataset.unreadable:
        on_event(Message(f"left out: {line}", "warning"))
    require_same(split, dataset)
    return dataset


def _open_val(
    found: Split, contract: Preprocess, config: TrainConfig, on_event: Listener
) -> DetectionDataset:
    split = config.data.val_split
    if not config.data.with_val:
        return _open(found, split, contract, config, on_event)
    seldom = config.changed(data={"cache": "none"})  # nobody measures on it but a teacher, once
    val = _open(found, split, contract, seldom, on_event)
    text = f"learns from {split}, too: nothing is measured, and the last epoch is kept"
    on_event(Message(text))
    return val


def _require_boxes(dataset: DetectionDataset, info: DatasetInfo, config: TrainConfig) -> None:
    if not len(dataset.labels):
        image = dataset.paths[0]
        file = str(label_path(image))
        empty = label_path(image).is_file()
        why = f"{file!r} is empty" if empty else f"the labels of {str(image)!r} belong in {file!r}"
        if roi := config.data.roi:
            why = f"none has its middle in the region {','.join(map(str, roi))}; --roi"
        raise DataError(
            f"split {config.data.train_split!r} of {info.name!r} has no box to learn from; {why}"
        )


def _say_if_short(config: TrainConfig, images: int, on_event: Listener) -> None:
    per_epoch = ceil(max(1, images // config.batch) / config.optim.accumulate)
    steps, wanted = config.epochs * per_epoch, ceil(_FEW_STEPS / per_epoch)
    if config.time is None and steps < _FEW_STEPS:
        text = f"{counted(steps, 'step')} in {counted(config.epochs, 'epoch')}, few from scratch"
        text = f"{text}: try --epochs {wanted}"
        on_event(Message(f"{text} or more, or --init with weights of another set"))


def _say_what_is_rare(
    found: Split, val: DetectionDataset, split: str, info: DatasetInfo, on_event: Listener
) -> None:
    """Warns of classes whose AP on val will be unknown, or mostly chance."""
    if not len(val.labels):
        text = f"no box in {split}: AP is unknown and best.pt the newest epoch"
        on_event(Message(text, "warning"))
        return
    counts = count_boxes(found.labels, info.names)
    rare = ", ".join(f"{name} {count}" for name, count in counts.items() if 0 < count < FEW)
    absent = ", ".join(name for name, count in counts.items() if not count)
    if absent:
        text = f"no box in {split} of: {absent}; AP is the mean of the other classes"
        on_event(Message(text, "warning"))
    if rare:
        text = f"few boxes in {split}: {rare}; their AP is mostly chance and so is a mean over them"
        on_event(Message(f"{text}: look at every class (kdlnet val) before you compare", "warning"))
