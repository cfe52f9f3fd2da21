"""What a model costs: parameters and arithmetic, as it is or after fusing.

The counter of operations brings Triton along, a quarter of a second: what only looks at images does
without this file.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.models.zoo import MODELS, ModelArguments
from kdlnet.types import ImageSize


@dataclass(frozen=True, slots=True)
class ModelCost:
    """``parameters`` as a count, ``gflops`` as 1e9 operations an image (2 x multiply-adds)."""

    parameters: int
    gflops: float


def cost_of(network: Network, image_size: ImageSize) -> ModelCost:
    """Cost of ``network`` as it is, for one image of ``image_size`` (H, W).

    Nothing is computed: a copy runs on the meta device.
    """
    empty = copy.deepcopy(network).to("meta")
    parameters = sum(parameter.numel() for parameter in empty.parameters())
    channels = next(empty.parameters()).shape[1]
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        empty(torch.empty(1, channels, *image_size, device="meta"))
    return ModelCost(parameters, counter.get_total_flops() / 1e9)


def model_cost(detector: Network, image_size: ImageSize) -> ModelCost:
    """Cost of ``detector`` after fusing, for one image of ``image_size`` (H, W)."""
    return cost_of(fuse_model(copy.deepcopy(detector).to("meta")), image_size)


def model_table() -> list[dict[str, Any]]:
    """One row a model: name, parameters, gflops, strides, purpose.

    Counted fused, with 80 classes, at 640 x 640; GFLOPs are 2 x multiply-adds.
    """
    rows = []
    for name, entry in MODELS.items():
        with torch.device("meta"):
            detector = entry.build(ModelArguments(num_classes=80))
        cost = model_cost(detector, (640, 640))
        rows.append(
            {
                "name": name,
                "parameters": cost.parameters,
                "gflops": cost.gflops,
                "strides": detector.strides,
                "purpose": entry.purpose,
            }
        )
    return rows
