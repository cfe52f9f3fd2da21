"""One model trained by several processes, each with a copy of it."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.digest import images_digest
from kdlnet.errors import ConfigError, DataError
from kdlnet.utils.ranks import from_writer, gathered, ranks
from kdlnet.utils.words import counted


def require_even(batch: int) -> None:
    """Raises ConfigError where the ranks cannot share ``batch`` images evenly."""
    if batch % ranks():
        fits = max(batch - batch % ranks(), ranks())
        raise ConfigError(
            f"a batch of {batch} images cannot be shared by {ranks()} devices evenly: "
            f"give --batch {fits}, or another multiple of {ranks()}; a run that goes on keeps its "
            f"batch of {batch}: give --devices that divide it"
        )


def require_same(split: str, dataset: DetectionDataset) -> None:
    """Raises DataError, in every process, where not all have read the same images and labels.

    Each would take its share of an order of its own, or wait for batches that others do not have.
    """
    if ranks() == 1:
        return
    found = gathered([_read(dataset)])
    difference = from_writer(lambda: _difference(found))
    if difference is not None:
        raise DataError(
            f"the processes of this training do not read the same in {split!r}: {difference}; give "
            "all of them the same files, which nothing changes while the training begins"
        )


def _read(dataset: DetectionDataset) -> tuple[str, str]:
    """What tells ``dataset`` from another one, and what to say of it."""
    digest = images_digest(dataset.paths) + dataset.labels_digest
    images = counted(len(dataset.paths), "image")
    line = f"{images} with {counted(len(dataset.labels), 'box', 'boxes')}"
    if dataset.unreadable:
        line = f"{line} (left out: {dataset.unreadable[0]})"
    return digest, line


def _difference(found: list[tuple[str, str]]) -> str | None:
    """The first of the processes that has not read what process 1 has."""
    (own, line), *others = found
    for number, (digest, other) in enumerate(others, start=2):
        if digest != own:
            what = f"other files, boxes or outlines, {other}" if other == line else other
            return f"process {number} of {len(found)} has {what}, process 1 has {line}"
    return None


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
