"""LightNet's neck: top-down, then bottom-up, joined by concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlnet.nn.blocks import RepStage
from kdlnet.nn.conv import ConvNormAct
from kdlnet.nn.rep import RepBlock


class MergeStage(RepStage):
    """A stage on a map (B, C, H, W) and a coarser one (B, D, H / 2, W / 2), which it enlarges."""

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:  # type: ignore[override]
        coarse = F.interpolate(coarse, size=fine.shape[-2:])
        return super().forward(torch.cat((fine, coarse), dim=1))


class Neck(nn.Module):
    """Maps of L levels, fine to coarse, to L maps of the same sizes with ``widths`` channels.

    A path aggregation network (arXiv 1803.01534): the coarse maps are enlarged by nearest
    neighbour and merged downwards, then the fine ones are reduced by strided blocks and merged
    upwards.
    """

    def __init__(
        self,
        block: type[RepBlock],
        channels: Sequence[int],
        widths: Sequence[int],
        depth: int,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        levels = range(len(widths))
        self.lateral = nn.ModuleList(ConvNormAct(channels[i], widths[i]) for i in levels)
        self.reduce = nn.ModuleList(ConvNormAct(widths[i + 1], widths[i]) for i in levels[:-1])
        self.top_down = nn.ModuleList(
            MergeStage(block, 2 * widths[i], widths[i], widths[i] // 2, depth) for i in levels[:-1]
        )
        self.down = nn.ModuleList(block(widths[i], widths[i], 2) for i in levels[:-1])
        self.bottom_up = nn.ModuleList(
            RepStage(block, widths[i] + widths[i + 1], widths[i + 1], widths[i + 1] // 2, depth)
            for i in levels[:-1]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        merged = [layer(x) for layer, x in zip(self.lateral, maps, strict=True)]
        for i in reversed(range(len(merged) - 1)):
            merged[i] = self.top_down[i](merged[i], self.reduce[i](merged[i + 1]))
        for i in range(len(merged) - 1):
            fine = self.down[i](merged[i])
            merged[i + 1] = self.bottom_up[i](torch.cat((fine, merged[i + 1]), dim=1))
        return merged
