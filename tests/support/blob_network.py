"""A network of a single point, whose boxes a test can know."""

from __future__ import annotations

import numpy as np
import torch

from kdlnet.inference.predictor import Predictor
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.types import Preprocess, RawPredictions

from .weights_file import NAMES


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
    return Predictor(TorchEngine(blob), NAMES, Preprocess((64, 64), 1))


def grey(value: int, height: int = 64, width: int = 64, dtype=np.uint8):
    return np.full((height, width, 1), value, dtype)
