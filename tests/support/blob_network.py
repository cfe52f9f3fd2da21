"""Networks whose boxes a test can know: one of a single point, and a weights file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kdlnet.inference.predictor import Predictor
from kdlnet.inference.weights import Weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Preprocess, RawPredictions

NAMES = ("square", "disc")


def make_file(path: Path) -> Path:
    """A model with statistics of its own and many boxes above 0.5; no training needed."""
    arguments = ModelArguments(2)
    detector = build_model("lightnet-n", arguments, seed=0)
    torch.manual_seed(0)
    for _ in range(3):
        detector(torch.rand(4, 3, 64, 64))
    for layer in detector.head.class_logits:
        layer.weight.data *= 30
        layer.bias.data.zero_()
    weights = Weights(detector.eval(), "lightnet-n", arguments, NAMES, Preprocess((64, 64)))
    save_weights(path, weights)
    return path


def blob(images: torch.Tensor) -> RawPredictions:
    """A network of one point that calls class 0 by the mean, class 1 by one minus the mean.

    Its box reaches 8 pixels from the middle of a 64 x 64 input to each side.
    """
    mean = images.mean(dim=(1, 2, 3)).clamp(0.01, 0.99)
    logits = torch.stack((mean, 1 - mean), dim=1)[:, None].logit()
    bins = torch.full((len(images), 1, 4, 3), -50.0)
    bins[..., 1] = 50.0  # all weight on a distance of 1 stride
    return RawPredictions(logits, bins, torch.tensor([[32.0, 32.0]]), torch.tensor([8.0]))


def make_predictor() -> Predictor:
    """Of :func:`blob`, one channel, 64 x 64."""
    return Predictor(blob, NAMES, Preprocess((64, 64), 1))


def grey(value: int, height: int = 64, width: int = 64, dtype=np.uint8):
    return np.full((height, width, 1), value, dtype)
