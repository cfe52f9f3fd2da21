"""LightNet's head: decoupled, anchor-free, the same structure on every level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdlnet.nn.rep import RepBlock
from kdlnet.ops.points import make_points
from kdlnet.types import RawPredictions
from kdlnet.utils.device import full_precision


class Head(nn.Module):
    """Maps of the neck, fine to coarse, to RawPredictions.

    Each level has a 3x3 block and a 1x1 for the class logits and the same for the R distance bins
    of the four sides. The class bias starts so that every score is ``prior``.
    """

    def __init__(
        self,
        block: type[RepBlock],
        channels: Sequence[int],
        widths: tuple[int, int],
        strides: Sequence[int],
        num_classes: int,
        bins: int,
        prior: float = 0.01,
    ) -> None:
        super().__init__()
        class_width, box_width = widths
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.bins = bins
        self.class_blocks = nn.ModuleList(block(c, class_width) for c in channels)
        self.box_blocks = nn.ModuleList(block(c, box_width) for c in channels)
        self.class_logits = nn.ModuleList(nn.Conv2d(class_width, num_classes, 1) for _ in channels)
        self.box_bins = nn.ModuleList(nn.Conv2d(box_width, 4 * bins, 1) for _ in channels)
        self._reset(prior)

    def levels(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Class logits (B, C, H, W) and distance bins (B, 4 R, H, W) of each level."""
        return [
            (
                _exact(self.class_logits[i], self.class_blocks[i](x)),
                _exact(self.box_bins[i], self.box_blocks[i](x)),
            )
            for i, x in enumerate(maps)
        ]

    def forward(self, maps: Sequence[Tensor]) -> RawPredictions:
        levels = self.levels(maps)
        logits = [_flat(x) for x, _ in levels]
        # Shaped before they are joined: after it ONNX Runtime copies the whole answer once more.
        bins = [_flat(x).unflatten(2, (4, self.bins)) for _, x in levels]
        sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
        points, strides = make_points(sizes, self.strides, maps[0].device)
        joined = torch.cat(logits, dim=1), torch.cat(bins, dim=1)
        return RawPredictions(*joined, points, strides, tuple(maps))

    def _reset(self, prior: float) -> None:
        for layers, bias in (
            (self.class_logits, -math.log((1 - prior) / prior)),
            (self.box_bins, 0),
        ):
            for layer in layers:
                nn.init.normal_(layer.get_parameter("weight"), std=0.01)
                nn.init.constant_(layer.get_parameter("bias"), bias)


def _exact(layer: nn.Module, x: Tensor) -> Tensor:
    """What ``layer`` says of ``x`` in the precision of its kernel, in mixed precision, too."""
    kernel = layer.get_parameter("weight")
    if x.dtype == kernel.dtype:
        found: Tensor = layer(x)
    else:
        with full_precision(x.device):
            found = layer(x.to(kernel.dtype))
    return found


def _flat(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(1, 2)
