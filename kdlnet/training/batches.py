"""Batches of an epoch, in an order that depends on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.training.augment import Augmenter
from kdlnet.types import Batch
from kdlnet.utils.ranks import share


class HasImages(Protocol):
    """A batch: ``images`` (B, channels, H, W), and what its step needs beside them."""

    @property
    def images(self) -> Tensor: ...


Shown = TypeVar("Shown", bound=HasImages)
Shows = TypeVar("Shows", bound=HasImages, covariant=True)


class Batches(Protocol[Shows]):
    """What the loop goes through: ``len()`` batches an epoch, each with whatever the step needs.

    ``mixing`` False leaves out what puts several images into one.
    """

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, mixing: bool) -> Iterator[Shows]: ...


class TrainBatches:
    """``epoch(n, mixing)`` yields the batches of epoch n.

    A last batch that would not be full is left out (its images come in another epoch), unless the
    set is smaller than one batch. Several ranks share each batch: together they see what one would,
    in the same order.
    """

    def __init__(self, augmenter: Augmenter, batch: int, device: torch.device) -> None:
        self.augmenter = augmenter
        self.batch = min(batch, len(augmenter.dataset))
        self.device = device

    def __len__(self) -> int:
        return len(self.augmenter.dataset) // self.batch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """What this epoch shows, see :meth:`Sampler.order`."""
        return self.augmenter.sampler.order(self.augmenter.seed, epoch)

    def epoch(self, epoch: int, mixing: bool) -> Iterator[Batch]:
        """Batches of ``epoch``, augmented on the training device."""
        order, own = self.order(epoch), share(self.batch)
        for start in range(0, len(self) * self.batch, self.batch):
            shown = order[start + own.start : start + own.stop]
            yield self.augmenter(epoch, shown, mixing, self.device)
