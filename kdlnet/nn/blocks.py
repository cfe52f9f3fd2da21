"""Blocks made of convolutions and re-parameterizable blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlnet.nn.conv import ConvNormAct
from kdlnet.nn.rep import RepBlock


class RepStage(nn.Module):
    """Cross-stage block: a chain of ``depth`` re-parameterizable blocks on half of the channels.

    (B, in, H, W) to (B, out, H, W). A 1x1 splits the input into two halves of ``hidden`` channels;
    the chain works on the second; every link's output is kept and a 1x1 joins them all
    (the aggregation of ELAN, arXiv 2211.04800). The 3x3 links are the only spatial layers.
    """

    def __init__(
        self, block: type[RepBlock], channels_in: int, channels_out: int, hidden: int, depth: int
    ) -> None:
        super().__init__()
        self.split = ConvNormAct(channels_in, 2 * hidden)
        self.chain = nn.ModuleList(block(hidden, hidden) for _ in range(depth))
        self.join = ConvNormAct((2 + depth) * hidden, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.split(x)
        parts = [x]
        last = x[:, x.shape[1] // 2 :]
        for link in self.chain:
            last = link(last)
            parts.append(last)
        result: Tensor = self.join(torch.cat(parts, dim=1))
        return result


class PyramidPool(nn.Module):
    """Spatial pyramid pooling, three 5x5 max-pools in a row: (B, C, H, W) to the same shape.

    Chained pools see 5, 9 and 13 pixels, as the parallel ones of SPP (arXiv 1406.4729) do.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(channels, hidden)
        self.expand = ConvNormAct(4 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, stride=1, padding=2))
        result: Tensor = self.expand(torch.cat(parts, dim=1))
        return result
