"""Several processes that train one model: who writes, what is summed, whose word counts.

Where torch.distributed is not running there is one process of rank 0, and every function here gives
back what it was given, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from kdlnet.errors import AGAIN, ConfigError, KdlnetError

Made = TypeVar("Made")
_PATIENCE = timedelta(days=1)
"""For what rank 0 does alone. That a process has died is told by those who started it, at once."""

_ENDS = ("closed by peer", "reset by peer", "broken pipe", "gloo", "nccl", "timed out")
"""Words by which an error of a connection is known: most backends raise RuntimeError."""


class PeerLost(KdlnetError):
    """Another process of this training has ended. Its own line says why, where it had one."""


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started, or ``--devices``, for the block.

    They are told by RANK and WORLD_SIZE in the environment; without them, or inside of another
    such block, there is nothing to do. Raises PeerLost where one of them ends too soon.
    """
    if local_rank() is None or _together():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        yield
    except RuntimeError as error:
        if not (
            isinstance(error, dist.DistError) or any(end in str(error).lower() for end in _ENDS)
        ):
            raise
        raise PeerLost(f"another process of this training ended; {AGAIN}") from None
    # After an error the others may not answer any more: the end of the process will do.
    dist.destroy_process_group()


def local_rank() -> int | None:
    """Which of the processes on this machine this is, None where it was started alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return None
    return int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))


def require_alone(what_to_do: str) -> None:
    """Raises ConfigError, which says ``what_to_do``, where several processes were started."""
    if local_rank() is not None:
        raise ConfigError(what_to_do)


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if _together() else 0


def share(count: int) -> range:
    """Which of ``count`` things in a row are this rank's: as many as the others', or one more."""
    return range(count * rank() // ranks(), count * (rank() + 1) // ranks())


def is_writer() -> bool:
    """Whether this process makes folders and writes files: rank 0 alone does."""
    return rank() == 0


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


def as_of_writer(values: Iterable[Tensor]) -> None:
    """Makes ``values`` in place what they are on rank 0. Every rank must call it."""
    if _together():
        for value in values:
            dist.broadcast(value, src=0)


def gathered(own: list[Made]) -> list[Made]:
    """The lists of all ranks, one behind the other, on rank 0; an empty one on the others."""
    if not _together():
        return own
    lists: list[list[Made]] | None = [[] for _ in range(ranks())] if is_writer() else None
    dist.gather_object(own, lists)
    return [one for each in lists or () for one in each]


def from_writer(make: Callable[[], Made]) -> Made:
    """What ``make`` returns in the process that writes: called there alone, known to all ranks."""
    if not _together():
        return make()
    made = [make() if is_writer() else None]
    dist.broadcast_object_list(made, src=0)
    return cast(Made, made[0])


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
