"""What each layer alone loses when its numbers have 8 bits, by pretending."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from kdlnet.inference.layouts import Array
from kdlnet.models.network import Network
from kdlnet.nn.conv import ConvAct
from kdlnet.types import RawPredictions

_IMAGES = 32
_POINTS = 100  # of an image, those with the highest scores: boxes and verdicts come from there

Range = tuple[Tensor, Tensor]


def layer_names(fused: Network) -> list[str]:
    """The convolutions that may have 8 bits: all but the last ones, which give the answer.

    Those have few channels and are a small part of the work, and rounding there moves every score.
    """
    return [name for name, _ in _layers(fused)]


@torch.no_grad()
def layer_costs(fused: Network, images: Iterable[Array]) -> dict[str, float]:
    """For each layer the root mean square change of class and bin logits when it is rounded.

    Looked at are the best points of some images. Weights are rounded by output channel, the input
    of the layer by its range over these images. Errors of several layers do not simply add, so
    this ranks them and no more; it is the same for every runtime.
    """
    network = copy.deepcopy(fused).eval()
    batches = [torch.from_numpy(batch) for batch in islice(images, _IMAGES)]
    ranges = _ranges(network, batches)
    wanted = [_answer(network(batch)) for batch in batches]
    best = [logits.amax(-1).topk(min(_POINTS, logits.shape[1])).indices for logits, _ in wanted]
    costs = {}
    for name, layer in _layers(network):
        with _rounded(layer, ranges[name]):
            pairs = zip(batches, wanted, best, strict=True)
            errors = [_error(_answer(network(batch)), want, at) for batch, want, at in pairs]
        costs[name] = float(torch.stack(errors).mean().sqrt())
    return costs


def _layers(network: Network) -> list[tuple[str, ConvAct]]:
    return [(name, part) for name, part in network.named_modules() if isinstance(part, ConvAct)]


def _answer(raw: RawPredictions) -> tuple[Tensor, Tensor]:
    """Class logits (B, A, C) and bin logits (B, A, 4 R)."""
    return raw.logits, raw.bins.flatten(2)


def _error(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], at: Tensor) -> Tensor:
    """Mean square distance at the points ``at`` (B, P), class and bin logits counted alike."""
    rows = torch.arange(len(at))[:, None]
    parts = [
        (a[rows, at] - b[rows, at]).square().mean() for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(parts).mean()


def _ranges(network: Network, batches: Iterable[Tensor]) -> dict[str, Range]:
    """Lowest and highest input of each layer."""
    found: dict[str, Range] = {}

    def watch(name: str) -> Any:
        def hook(layer: ConvAct, inputs: tuple[Tensor]) -> None:
            low, high = inputs[0].aminmax()
            before = found.get(name, (low, high))
            found[name] = torch.minimum(low, before[0]), torch.maximum(high, before[1])

        return hook

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in _layers(network)]
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    return found


@contextmanager
def _rounded(layer: ConvAct, limits: Range) -> Iterator[None]:
    """``layer`` as if its weights and its input had 8 bits."""
    weight = layer.conv.weight
    before = weight.detach().clone()
    hook = layer.register_forward_pre_hook(lambda _, inputs: (_round_input(inputs[0], limits),))
    weight.copy_(_round_weight(before))
    try:
        yield
    finally:
        hook.remove()
        weight.copy_(before)


def _round_input(x: Tensor, limits: Range) -> Tensor:
    low, high = limits[0].clamp(max=0), limits[1].clamp(min=0)
    step = ((high - low) / 255).clamp(min=1e-12)
    return ((x - low) / step).round().clamp(0, 255) * step + low


def _round_weight(weight: Tensor) -> Tensor:
    step = (weight.abs().amax((1, 2, 3), keepdim=True) / 127).clamp(min=1e-12)
    return (weight / step).round() * step
