"""A larger network that answers as a trained smaller one does, and has room to learn.

Channels and blocks that the smaller one lacks are computed, but nobody listens to them yet: their
own kernels stay what they were, and what others read of them is zero until the first step. Growth
that keeps the function is Net2Net's (arXiv 1511.05641), fresh channels that begin unread are
GradMax's (arXiv 2201.05125), without its choice of their kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdlnet.errors import ConfigError
from kdlnet.models.network import Network
from kdlnet.nn.rep import SummedBlock


def grow(small: Network, large: Network) -> None:
    """Writes ``small`` into ``large``, which answers as it does from then on, to rounding.

    What ``small`` knows of good parts is left. Raises ConfigError where classes, channels of images
    or strides differ, where ``large`` has not all that ``small`` has, or a stage more, and where a
    block is not a summed one; ``large`` is of no use then.
    """
    for what, mine, other in (
        ("classes", small.head.num_classes, large.head.num_classes),
        ("strides", small.strides, large.strides),
    ):
        if mine != other:
            raise ConfigError(f"{what} {mine} do not grow into {other}")
    with torch.no_grad():
        maps = _backbone(small.backbone, large.backbone)
        merged = _neck(small.neck, large.neck, maps[-len(small.strides) :])
        _head(small.head, large.head, merged)


class _Places:
    """Where the channels of a map of the small network lie in that of the large one."""

    def __init__(self, at: Sequence[int], width: int) -> None:
        self.at = torch.tensor(at, dtype=torch.long)
        self.width = width

    @classmethod
    def first(cls, small: int, large: int) -> _Places:
        if small > large:
            raise ConfigError(f"{small} channels do not fit into {large}")
        return cls(range(small), large)

    @classmethod
    def joined(cls, *parts: _Places) -> _Places:
        """Those of concatenated maps."""
        at: list[int] = []
        width = 0
        for part in parts:
            at += (part.at + width).tolist()
            width += part.width
        return cls(at, width)


# Layers are Any below: of what a ModuleList holds torch says no more than that they are modules.


def _backbone(small: Any, large: Any) -> list[_Places]:
    x = _block(small.stem, large.stem)
    maps = []
    for mine, other in zip(small.stages, large.stages, strict=True):
        if len(mine) != len(other):
            raise ConfigError("one has a stage in its backbone that the other lacks")
        x = _block(mine[0], other[0], x)
        for stage, larger in zip(mine[1:], other[1:], strict=True):
            x = _stage(stage, larger, x)
        maps.append(x)
    reduced = _conv(small.pool.reduce, large.pool.reduce, x)
    maps[-1] = _conv(small.pool.expand, large.pool.expand, _Places.joined(*[reduced] * 4))
    return maps


def _neck(small: Any, large: Any, maps: Sequence[_Places]) -> list[_Places]:
    merged = [_conv(*layers) for layers in zip(small.lateral, large.lateral, maps, strict=True)]
    for i in reversed(range(len(merged) - 1)):
        coarse = _conv(small.reduce[i], large.reduce[i], merged[i + 1])
        both = _Places.joined(merged[i], coarse)
        merged[i] = _stage(small.top_down[i], large.top_down[i], both)
    for i in range(len(merged) - 1):
        fine = _block(small.down[i], large.down[i], merged[i])
        both = _Places.joined(fine, merged[i + 1])
        merged[i + 1] = _stage(small.bottom_up[i], large.bottom_up[i], both)
    return merged


def _head(small: Any, large: Any, maps: Sequence[_Places]) -> None:
    for blocks, last in (("class_blocks", "class_logits"), ("box_blocks", "box_bins")):
        for i, x in enumerate(maps):
            read = _block(getattr(small, blocks)[i], getattr(large, blocks)[i], x)
            mine, other = getattr(small, last)[i], getattr(large, last)[i]
            _kernel(mine.weight, other.weight, read, _Places.first(len(mine.bias), len(mine.bias)))
            other.bias.copy_(mine.bias)


def _stage(small: Any, large: Any, x: _Places) -> _Places:
    more = len(large.chain) - len(small.chain)
    if more < 0:
        raise ConfigError(f"{len(small.chain)} blocks in a row do not fit into {len(large.chain)}")
    half = _Places.first(small.split.conv.out_channels // 2, large.split.conv.out_channels // 2)
    _conv(small.split, large.split, x, _Places.joined(half, half))
    for mine, other in zip(small.chain, large.chain, strict=False):
        _block(mine, other, half)
    read = [half] * (2 + len(small.chain)) + [_Places((), half.width)] * more
    return _conv(small.join, large.join, _Places.joined(*read))


def _conv(small: Any, large: Any, x: _Places, out: _Places | None = None) -> _Places:
    out = out or _Places.first(small.conv.out_channels, large.conv.out_channels)
    _kernel(small.conv.weight, large.conv.weight, x, out)
    _norm(small.norm, large.norm, out)
    return out


def _block(small: Any, large: Any, x: _Places | None = None) -> _Places:
    """Without ``x`` it reads the image."""
    if not isinstance(small, SummedBlock) or not isinstance(large, SummedBlock):
        raise ConfigError("only unfused blocks of the kind 'summed' grow")
    channels = small.dense.shape[1], large.dense.shape[1]
    if x is None and channels[0] != channels[1]:
        raise ConfigError(f"images of {channels[0]} channels, not of {channels[1]}")
    x = x or _Places.first(*channels)
    out = _Places.first(len(small.dense), len(large.dense))
    _kernel(small.dense, large.dense, x, out)
    _kernel(small.pointwise, large.pointwise, x, out)
    large.gain[0, out.at] = small.gain[0]
    if large.has_identity:
        large.gain[1, out.at] = small.gain[1] if small.has_identity else 0
    elif small.has_identity:
        large.dense[out.at, x.at, 1, 1] += small.gain[1]
    _norm(small.norm, large.norm, out)
    return out


def _kernel(small: Tensor, large: Tensor, x: _Places, out: _Places) -> None:
    """The channels ``out`` read the channels ``x`` as before, and nothing else."""
    large[out.at] = 0
    large[out.at[:, None], x.at] = small


def _norm(small: nn.BatchNorm2d, large: nn.BatchNorm2d, out: _Places) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(large, name)[out.at] = getattr(small, name)
