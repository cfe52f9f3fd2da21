"""The network: a backbone, a neck and a head."""

from __future__ import annotations

from torch import Tensor, nn

from kdlnet.models.backbone import Backbone
from kdlnet.models.head import Head
from kdlnet.models.neck import Neck
from kdlnet.types import RawPredictions


class Network(nn.Module):
    """Images (B, channels, H, W), window mapped to [0, 1], to RawPredictions.

    H and W must be multiples of 32.
    """

    def __init__(self, backbone: Backbone, neck: Neck, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the network input between points, one number a level, fine to coarse."""
        return self.head.strides

    def forward(self, images: Tensor) -> RawPredictions:
        result: RawPredictions = self.head(self._neck_maps(images))
        return result

    def levels(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What the last convolutions give, level by level: see :meth:`Head.levels`."""
        return self.head.levels(self._neck_maps(images))

    def _neck_maps(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.neck(self.backbone(images)[-len(self.strides) :])
        return maps
