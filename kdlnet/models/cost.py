"""What a model costs: parameters and arithmetic of its fused form."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.types import ImageSize


@dataclass(frozen=True, slots=True)
class ModelCost:
    """``parameters`` as a count, ``gflops`` as 1e9 operations an image (2 x multiply-adds)."""

    parameters: int
    gflops: float


def model_cost(detector: Network, image_size: ImageSize) -> ModelCost:
    """Cost of ``detector`` after fusing, for one image of ``image_size`` (H, W).

    Nothing is computed: the fused copy runs on the meta device.
    """
    fused = fuse_model(copy.deepcopy(detector).to("meta"))
    parameters = sum(parameter.numel() for parameter in fused.parameters())
    channels = next(fused.parameters()).shape[1]
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        fused(torch.empty(1, channels, *image_size, device="meta"))
    return ModelCost(parameters, counter.get_total_flops() / 1e9)
