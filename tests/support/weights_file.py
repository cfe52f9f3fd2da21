"""Small weights files that find many boxes; no training needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kdlnet.inference.weights import Weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import ImageSize, Preprocess

SIZE = (64, 96)  # not square: swapped sides would be seen
NAMES = ("square", "disc")


def make_file(path: Path, size: ImageSize = (64, 64)) -> Path:
    """A model with statistics of its own in every BatchNorm and many boxes above 0.5."""
    return save_busy(path, Preprocess(size))


def make_weights(path: Path, channels: int = 3) -> Path:
    """The same, with a window, a threshold of its own and boxes of many sizes."""
    contract = Preprocess(SIZE, channels, window=(10.0, 240.0))
    return save_busy(path, contract, spread=100.0, thresholds={"score": 0.4})


def save_busy(
    path: Path,
    contract: Preprocess,
    spread: float = 1.0,
    thresholds: dict[str, Any] | None = None,
    names: tuple[str, ...] = NAMES,
) -> Path:
    """Saves a `lightnet-n` whose logits are far apart; ``spread`` multiplies those of the bins."""
    arguments = ModelArguments(len(names), channels=contract.channels)
    detector = build_model("lightnet-n", arguments, seed=0)
    torch.manual_seed(0)
    for _ in range(4):
        detector(torch.rand(4, contract.channels, *contract.image_size))
    for layer in detector.head.class_logits:
        layer.weight.data *= 30
        layer.bias.data.zero_()
    for layer in detector.head.box_bins:
        layer.weight.data *= spread
    weights = Weights(
        detector.eval(), "lightnet-n", arguments, names, contract, thresholds=thresholds or {}
    )
    save_weights(path, weights)
    return path
