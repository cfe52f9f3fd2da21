"""How unlike the good parts an image is: a normal distribution of what the backbone sees there.

Oliver Rippel, Patrick Mertens, Dorit Merhof: Modeling the Distribution of Normal Data in
Pre-Trained Deep Features for Anomaly Detection, ICPR 2020 (arXiv:2005.14140), has one Gaussian of
each level of a backbone; here it is that of every position, and the largest distance counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2
"""The coarsest maps of the backbone that are looked at: strides 16 and 32."""
LOGITS = 0.125
"""By so much a class logit changes for each standard deviation."""
MOST = 2.0
"""Standard deviations; what is beyond counts as so many: a strange image is no defect by itself."""
_FLOOR = 1e-6


class Normality(nn.Module):
    """Maps of the backbone, fine to coarse, to what each class logit of an image gains (B,).

    ``widths`` are the channels of the coarsest, which alone are looked at. The distance of each
    less ``center``, times ``slope``, summed, counts standard deviations of good parts that the
    network has not learned from. Fresh, it gives 0 for all.
    """

    center: Tensor
    slope: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(LevelDistance(width) for width in widths)
        self.register_buffer("center", torch.zeros(len(widths)))
        self.register_buffer("slope", torch.zeros(len(widths)))
        self.requires_grad_(False)

    def distances(self, maps: Sequence[Tensor]) -> Tensor:
        """Of each level (B, levels)."""
        coarsest = maps[-len(self.levels) :]
        return torch.stack([far(x) for far, x in zip(self.levels, coarsest, strict=True)], 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        unlike = ((self.distances(maps) - self.center) * self.slope).sum(1)
        return LOGITS * unlike.clamp(-MOST, MOST)


class LevelDistance(nn.Module):
    """A map (B, C, H, W) to the logarithm of its largest Mahalanobis distance (B,).

    It is that of the 3x3 means around all positions from what good parts show there, in units of
    sqrt(C). After ``whiten`` the good have length 1.
    """

    mean: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, 1, 1))
        # Not named "conv": 8 bits are for what ends in an activation.
        self.whiten = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, level: Tensor) -> Tensor:
        # The mean goes first: of a thousand deviations the convolution's fewer bits leave noise.
        squares: Tensor = self.whiten(around(level) - self.mean).square().sum(1)
        return squares.amax((1, 2)).clamp_min(_FLOOR).log() / 2


def around(level: Tensor) -> Tensor:
    """The mean of each position of a map (B, C, H, W) and its neighbours."""
    return F.avg_pool2d(level, 3, 1, 1)
