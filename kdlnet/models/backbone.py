"""LightNet's backbone: re-parameterizable 3x3 blocks go down, cross-stage blocks think."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kdlnet.nn.blocks import PyramidPool, RepStage
from kdlnet.nn.rep import RepBlock


class Backbone(nn.Module):
    """(B, channels, H, W) to the maps of strides 4, 8, 16 and 32, in this order.

    ``widths`` are the channels at strides 4, 8, 16, 32; ``depths`` the chain lengths there (0: the
    strided block alone). ``stem`` is the width of the block at stride 2 that comes first: on a CPU
    that one layer, bound by memory, can take a fifth of a training step, so it stays narrow.
    """

    def __init__(
        self,
        block: type[RepBlock],
        channels: int,
        stem: int,
        widths: Sequence[int],
        depths: Sequence[int],
    ) -> None:
        super().__init__()
        self.stem = block(channels, stem, 2)
        self.stages = nn.ModuleList()
        before = stem
        for width, depth in zip(widths, depths, strict=True):
            layers: list[nn.Module] = [block(before, width, 2)]
            before = width
            if depth:
                layers.append(RepStage(block, width, width, width // 2, depth))
            self.stages.append(nn.Sequential(*layers))
        self.pool = PyramidPool(widths[-1], widths[-1] // 2)
        self.widths = tuple(widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        maps[-1] = self.pool(maps[-1])
        return maps
