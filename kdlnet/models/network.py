"""The network: a backbone, a neck and a head."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from kdlnet.models.backbone import Backbone
from kdlnet.models.head import Head
from kdlnet.models.neck import Neck
from kdlnet.models.normality import Normality
from kdlnet.types import RawPredictions


class Network(nn.Module):
    """Images (B, channels, H, W), window mapped to [0, 1], to RawPredictions.

    H and W must be multiples of 32. With a ``normality`` all class logits of an image rise or fall
    by how unlike the good parts it is.
    """

    def __init__(
        self, backbone: Backbone, neck: Neck, head: Head, normality: Normality | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.normality = normality

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the network input between points, one number a level, fine to coarse."""
        return self.head.strides

    def forward(self, images: Tensor) -> RawPredictions:
        maps = self.backbone(images)
        result: RawPredictions = self.head(self._neck_maps(maps))
        if self.normality is None:
            return result
        return replace(result, logits=result.logits + self.normality(maps)[:, None, None])

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What the last convolutions give, level by level: see :meth:`Head.levels`."""
        maps = self.backbone(images)
        levels = self.head.levels(self._neck_maps(maps))
        if self.normality is None:
            return levels
        gained = self.normality(maps)[:, None, None, None]
        return [(logits + gained, bins) for logits, bins in levels]

    def _neck_maps(self, maps: list[Tensor]) -> list[Tensor]:
        merged: list[Tensor] = self.neck(maps[-len(self.strides) :])
        return merged
