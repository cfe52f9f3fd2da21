"""A small weights file that finds many boxes."""

from __future__ import annotations

from pathlib import Path

import torch

from kdlnet.inference.weights import Weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Preprocess

SIZE = (64, 96)  # not square: swapped sides would be seen


def make_weights(path: Path) -> Path:
    """A model with statistics of its own in every BatchNorm and scores above the threshold."""
    arguments = ModelArguments(2)
    detector = build_model("lightnet-n", arguments, seed=0)
    torch.manual_seed(0)
    for _ in range(4):
        detector(torch.rand(4, 3, *SIZE))
    for layer in detector.head.class_logits:
        layer.weight.data *= 30
        layer.bias.data.zero_()
    for layer in detector.head.box_bins:
        layer.weight.data *= 100
    names = ("square", "disc")
    contract = Preprocess(SIZE, window=(10.0, 240.0))
    weights = Weights(
        detector.eval(), "lightnet-n", arguments, names, contract, thresholds={"score": 0.4}
    )
    save_weights(path, weights)
    return path
