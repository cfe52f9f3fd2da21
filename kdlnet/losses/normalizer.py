"""What a sum over points is divided by: the one place that knows of other ranks."""

from __future__ import annotations

from torch import Tensor

from kdlnet.utils.ranks import ranks, summed


def normalizer(amount: Tensor) -> Tensor:
    """The divisor of a loss that is a sum, from the ``amount`` it is a sum over, a scalar.

    The amount of the whole batch, at least 1 so that good parts alone do not blow the loss up, as
    the share of one rank: gradients are averaged over the ranks, and the mean of sums divided by
    this is the sum over all ranks divided by the whole amount. Without a gradient. Batches whose
    gradients are accumulated are each divided by their own.
    """
    return summed(amount.detach()).clamp(min=1) / ranks()
