"""Means over the steps of an epoch, and over the ranks that took them."""

from __future__ import annotations

import torch
from torch import Tensor

from kdlnet.types import StepOutput
from kdlnet.utils.ranks import summed


class Meter:
    """Running means of loss parts, summed on the device so that a step waits for nothing.

    A part that not every step reports is averaged over those that do. ``images`` counts what the
    steps saw.
    """

    def __init__(self) -> None:
        self.images = 0
        self.counts: dict[str, int] = {}
        self.sums: dict[str, Tensor] = {}

    def add(self, output: StepOutput, images: int) -> None:
        self.images += images
        for name, value in {"loss": output.loss.detach(), **output.parts}.items():
            self.counts[name] = self.counts.get(name, 0) + 1
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()

    def means(self) -> dict[str, float]:
        """The means so far of this process alone."""
        if not self.sums:
            return {}
        return self._means(torch.stack(list(self.sums.values())), list(self.counts.values()))

    def all_means(self) -> tuple[dict[str, float], int]:
        """The means and the number of images of all ranks; every rank must call it."""
        sums = torch.stack(list(self.sums.values()))
        counts = torch.tensor([*self.counts.values(), self.images], device=sums.device)
        *shared, images = summed(counts).tolist()
        return self._means(summed(sums), shared), images

    def _means(self, sums: Tensor, counts: list[int]) -> dict[str, float]:
        rows = zip(self.sums, sums.tolist(), counts, strict=True)
        return {name: value / count for name, value, count in rows}
