"""The registry: every model by name, built with literal numbers.

All widths, and the halves of them that the cross-stage blocks work on, are multiples of 16: the
processor multiplies vectors of that length, and 36 channels take as long as 48.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from kdlnet.errors import ConfigError, unknown
from kdlnet.models.backbone import Backbone
from kdlnet.models.head import Head
from kdlnet.models.neck import Neck
from kdlnet.models.network import Network
from kdlnet.models.normality import LEVELS, Normality
from kdlnet.nn.rep import BLOCKS


@dataclass(frozen=True, slots=True)
class ModelArguments:
    """What a structure depends on, besides its name. Stored in every weights file.

    ``normality``: it knows what good parts look like.
    """

    num_classes: int
    channels: int = 3
    block: str = "summed"
    normality: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Builtins; without a normality as versions before there was one write and read it."""
        values = asdict(self)
        return values if self.normality else {k: values[k] for k in values if k != "normality"}


def _lightnet_n(arguments: ModelArguments, p2: bool = False) -> Network:
    return _assemble(
        arguments,
        stem=16,
        widths=(16, 64, 96, 192),
        depths=(0, 1, 2, 2),
        neck=(32, 32, 64, 128)[0 if p2 else 1 :],
        neck_depth=1,
        head=(32, 32),
    )


def _lightnet(arguments: ModelArguments, p2: bool = False) -> Network:
    return _assemble(
        arguments,
        stem=32,
        widths=(32, 64, 160, 384),
        depths=(0, 2, 3, 3),
        neck=(32, 64, 128, 288)[0 if p2 else 1 :],
        neck_depth=2,
        head=(64, 48),
    )


def _lightnet_l(arguments: ModelArguments, p2: bool = False) -> Network:
    return _assemble(
        arguments,
        stem=32,
        widths=(64, 128, 256, 512),
        depths=(2, 4, 6, 3),
        neck=(64, 128, 224, 352)[0 if p2 else 1 :],
        neck_depth=3,
        head=(128, 96),
    )


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A builder and what its model is for."""

    build: Callable[[ModelArguments], Network]
    purpose: str


MODELS: dict[str, ModelEntry] = {
    "lightnet-n": ModelEntry(_lightnet_n, "CPUs and small boards"),
    "lightnet": ModelEntry(_lightnet, "the paper's size: GPUs, Jetson, fast CPUs"),
    "lightnet-l": ModelEntry(_lightnet_l, "a larger teacher"),
    "lightnet-n-p2": ModelEntry(lambda a: _lightnet_n(a, p2=True), "tiny defects on CPUs"),
    "lightnet-p2": ModelEntry(lambda a: _lightnet(a, p2=True), "tiny defects"),
    "lightnet-l-p2": ModelEntry(lambda a: _lightnet_l(a, p2=True), "a teacher for tiny defects"),
}


def build_model(name: str, arguments: ModelArguments, seed: int | None = None) -> Network:
    """A fresh detector in float32, whatever torch's default.

    With ``seed`` it neither depends on nor moves the global random state.
    Raises ConfigError for an unknown name or block, or fewer than one class.
    """
    if name not in MODELS:
        raise ConfigError(unknown("model", name, MODELS))
    if arguments.block not in BLOCKS:
        raise ConfigError(unknown("block", arguments.block, BLOCKS))
    if arguments.num_classes < 1:
        raise ConfigError(f"{arguments.num_classes} classes: a detector needs at least one")
    if seed is None:
        return MODELS[name].build(arguments).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name].build(arguments).float()


def model_strides(name: str) -> tuple[int, ...]:
    """The strides of the model ``name``, without its weights. Raises ConfigError if unknown."""
    with torch.device("meta"):
        strides: tuple[int, ...] = build_model(name, ModelArguments(num_classes=1)).strides
    return strides


def _assemble(
    arguments: ModelArguments,
    stem: int,
    widths: Sequence[int],
    depths: Sequence[int],
    neck: Sequence[int],
    neck_depth: int,
    head: tuple[int, int],
    bins: int = 16,
) -> Network:
    block = BLOCKS[arguments.block]
    levels = len(neck)
    backbone = Backbone(block, arguments.channels, stem, widths, depths)
    detector = Network(
        backbone,
        Neck(block, backbone.widths[-levels:], neck, neck_depth),
        Head(block, neck, head, (4, 8, 16, 32)[-levels:], arguments.num_classes, bins),
        Normality(backbone.widths[-LEVELS:]) if arguments.normality else None,
    )
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 1e-3, 0.03
    return detector
