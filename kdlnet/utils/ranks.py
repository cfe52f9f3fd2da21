"""Several processes that train one model: who writes, what is summed, whose word counts.

Where torch.distributed is not running there is one process of rank 0, and every function here gives
back what it was given, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

Made = TypeVar("Made")


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _together() else 1


def is_writer() -> bool:
    """Whether this process makes folders and writes files: rank 0 alone does."""
    return not _together() or dist.get_rank() == 0


def summed(value: Tensor) -> Tensor:
    """The sum of ``value`` over the ranks, without a gradient. Every rank must call it."""
    if not _together():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def agreed(value: float) -> float:
    """What rank 0 says, for every rank: its clock is the one that counts."""
    if not _together():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    word = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(word, src=0)
    return float(word)


def from_writer(make: Callable[[], Made]) -> Made:
    """What ``make`` returns in the process that writes: called there alone, known to all ranks."""
    if not _together():
        return make()
    made = [make() if is_writer() else None]
    dist.broadcast_object_list(made, src=0)
    return cast(Made, made[0])


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
