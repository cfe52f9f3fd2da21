"""Exponential moving average of a model's weights and buffers."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class WeightAverage(Generic[Model]):
    """Averages parameters and floating-point buffers of ``model``; ``model`` here is the average.

    The decay grows as ``(1 + n) / (10 + n)`` up to ``decay``, so that short runs are not held back
    by their first steps.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model: Model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes one step towards ``model``."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self._pairs is None:
            self._pairs = _floats(self.model), _floats(model)
        averages, values = self._pairs
        torch._foreach_lerp_(averages, values, 1 - decay)


def _floats(model: nn.Module) -> list[Tensor]:
    return [value for value in model.state_dict().values() if value.dtype.is_floating_point]
