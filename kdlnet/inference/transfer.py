"""What a new training takes over from weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from kdlnet.config import ModelConfig
from kdlnet.errors import ConfigError, WeightsError
from kdlnet.inference.released import START, find_start
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.grow import grow
from kdlnet.models.network import Network
from kdlnet.models.zoo import build_model
from kdlnet.types import Roi
from kdlnet.utils.words import counted

_NORMALITY = "normality."
"""Layers of another training: what good parts look like depends on all of the backbone."""


def starting_weights(model: ModelConfig, init: Path | None) -> Weights | None:
    """What a new run begins with: ``init``, else the released start of its model, else nothing."""
    if init is None and model.start == "released":
        init = find_start(model.name, model.block)
    return None if init is None else load_weights(init, start=True)


def model_of(weights: Weights, model: ModelConfig) -> dict[str, str]:
    """Name and block of the model that ``weights`` belong to, but for a block that was given."""
    block = model.block if "block" in model.model_fields_set else weights.arguments.block
    return {"name": weights.model, "block": block}


def transfer(weights: Weights, detector: Network, names: tuple[str, ...]) -> list[str]:
    """Copies into ``detector`` what ``weights`` has of it; lines that say what was done.

    Rows of the class layer are matched by class name, others start fresh; the rest must have the
    same structure, but for what ``weights`` know of good parts, which is left. A model of one
    channel takes the sum of the stem's kernels over the three: on a grey image that is the same.
    Raises WeightsError where the structure differs, and for a fused source.
    """
    if weights.fused:
        raise WeightsError(
            f"{str(weights.path)!r} is fused and cannot be trained; start from the unfused file "
            "it was made from"
        )
    had, target = weights.detector.state_dict(), detector.state_dict()
    source = {key: value for key, value in had.items() if not key.startswith(_NORMALITY)}
    for key in source.keys() & target.keys():
        if key.startswith("backbone.stem.") and target[key].shape[1:2] == (1,):
            source[key] = source[key].sum(1, keepdim=True)
    odd = sorted(set(source) ^ set(target)) + [
        key for key in source if key in target and source[key].shape[1:] != target[key].shape[1:]
    ]
    if odd:
        own = weights.arguments
        raise WeightsError(
            f"{str(weights.path)!r} is a {weights.model!r} with blocks {own.block!r} for "
            f"{counted(own.channels, 'channel')}; its layer {odd[0]!r} does not fit the model to "
            "train. Use the same --model, block and channels; 1 channel may start from 3, and "
            "lightnet from lightnet-n where both have blocks 'summed'"
        )
    rows = {name: row for row, name in enumerate(weights.names)}
    found = [(i, rows[name]) for i, name in enumerate(names) if name in rows]
    for key, value in target.items():
        _copy_rows(value, source[key], found) if "class_logits" in key else value.copy_(source[key])
    if weights.purpose == START:
        name = "" if weights.path is None else weights.path.name
        return [f"started from {name}, which has learned from other images"]
    fresh = [name for name in names if name not in rows]
    lines = [f"started from {str(weights.path)!r}: {len(found)} of {len(names)} classes taken over"]
    if fresh:
        lines.append(f"classes that start fresh: {', '.join(fresh)}")
    if weights.arguments.normality:
        lines.append("what it knows of good parts is not taken over: kdlnet anomaly learns it anew")
    return lines


def begin(
    start: Weights | None,
    detector: Network,
    names: tuple[str, ...],
    model: ModelConfig,
    init: Path | None,
    roi: Roi | None = None,
    seed: int = 0,
) -> list[str]:
    """:func:`transfer` of what a new run begins with; lines that say so, or that it is nothing.

    With a start that nobody named the line says how to go without it. Without ``names`` of classes
    the run makes a start itself. Weights of a smaller model grow (:mod:`kdlnet.models.grow`) into a
    network that ``seed`` makes.
    """
    if start is not None:
        without = "" if init is not None else "; --init none: from scratch"
        grown, line = _grown(start, model, seed)
        lines = [line + without for line in transfer(grown, detector, names)]
        if line:
            lines.append(line)
        if (region := start.preprocess.roi) not in (None, roi):
            corners = ",".join(map(str, region))
            lines.append(f"these look at the region {corners} alone, this run does not; --roi")
        return lines
    if model.start == "none":
        return []
    what = f"{model.name} with blocks {model.block}"
    advice = "; kdlnet pretrain makes one" if names else ""
    return [f"no start comes with kdlnet for {what}: from scratch{advice}"]


def _grown(weights: Weights, model: ModelConfig, seed: int) -> tuple[Weights, str]:
    """The same in the network of a larger ``model``, and a line that says so; else as they are.

    What the smaller network lacks begins at the released start, if there is one.
    """
    if weights.model == model.name:
        return weights, ""
    detector = build_model(model.name, replace(weights.arguments, normality=False), seed)
    released = None if model.start == "none" else find_start(model.name, weights.arguments.block)
    rest = "random"
    if released is not None:
        transfer(load_weights(released, start=True), detector, ())
        rest = released.name
    try:
        grow(weights.detector, detector)
    except ConfigError:
        return weights, ""
    line = f"{weights.model} has grown into {model.name}: what was taken over is as it was"
    return replace(weights, detector=detector), f"{line}, the rest begins at {rest}"


def _copy_rows(target: Tensor, source: Tensor, rows: list[tuple[int, int]]) -> None:
    for to, start in rows:
        target[to].copy_(source[start])
