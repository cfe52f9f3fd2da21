"""One model trained by several processes, each with a copy of it."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kdlnet.errors import ConfigError
from kdlnet.utils.ranks import ranks


def require_even(batch: int) -> None:
    """Raises ConfigError where the ranks cannot share ``batch`` images evenly."""
    if batch % ranks():
        fits = max(batch - batch % ranks(), ranks())
        raise ConfigError(
            f"a batch of {batch} images cannot be shared by {ranks()} devices evenly: "
            f"give --batch {fits}, or another multiple of {ranks()}"
        )


def distributed(model: nn.Module, device: torch.device, *, idle: bool = False) -> nn.Module:
    """``model`` whose gradients are averaged over the ranks; alone it is given back.

    ``idle`` says that some of its parameters are of no use to the loss.

    On CUDA its batch norms see the images of all ranks from then on; on a CPU, which torch has no
    such norm for, those of their own rank.
    """
    if ranks() == 1:
        return model
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    # Of 1x1 kernels in channels_last it finds the strides of the gradient odd: a copy, no error.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=idle)
