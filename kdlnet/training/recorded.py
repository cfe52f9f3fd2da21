"""A network in training on a CUDA device whose kernels are recorded once and then replayed.

What :mod:`kdlnet.inference.replayed` does for answers, here for the forward and the backward pass
of a training step: a small network on a fast card waits for Python, which launches its kernels one
by one. The recordings are those of ``torch.cuda.make_graphed_callables``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from kdlnet.inference.replayed import mixed_precision, uncached
from kdlnet.models.network import Network
from kdlnet.types import Forward, RawPredictions
from kdlnet.utils.ranks import ranks

Answer = dict[str, Tensor]


def is_recordable(device: torch.device, accumulate: int) -> bool:
    """Whether a training on ``device`` may be recorded.

    A gradient lies where the next backward pass writes: one that is to be added to must not.
    Several ranks hook into the backward pass, which a recording would pass by.
    """
    return device.type == "cuda" and accumulate == 1 and ranks() == 1


class Recorded:
    """``network``, from images (B, channels, H, W) to tensors by name, recorded at the first call.

    It is in training mode. Images of another shape or in another precision are not replayed but
    run. An answer holds until the next one, and gradients flow back through it once.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._recorded: tuple[object, Callable[[Tensor], Answer]] | None = None

    def __call__(self, images: Tensor) -> Answer:
        kind = images.shape, images.dtype, mixed_precision(images)
        if self._recorded is None:
            try:
                self._recorded = kind, _recorded(self.network, images)
            except RuntimeError:  # no memory for it, say: slower, and the same answers
                self._recorded = kind, self.network
        recorded_kind, replay = self._recorded
        return replay(images) if kind == recorded_kind else self.network(images)


def recorded_detector(detector: Network, *, features: bool) -> Forward:
    """``detector`` recorded. Its answers have ``features`` only where they are asked for."""
    recorded = Recorded(_Tensors(detector, features))

    def forward(images: Tensor) -> RawPredictions:
        answer = dict(recorded(images))
        logits, bins = answer.pop("logits"), answer.pop("bins")
        points, strides = answer.pop("points").detach(), answer.pop("strides").detach()
        return RawPredictions(logits, bins, points, strides, tuple(answer.values()))

    return forward


class _Tensors(nn.Module):
    """A detector whose answer is a dict of tensors, which a recording can give back."""

    def __init__(self, detector: Network, features: bool) -> None:
        super().__init__()
        self.detector = detector
        self.features = features

    def forward(self, images: Tensor) -> Answer:
        raw: RawPredictions = self.detector(images)
        maps = {f"map{i}": x for i, x in enumerate(raw.features)} if self.features else {}
        numbers = {"logits": raw.logits, "bins": raw.bins}
        return numbers | {"points": raw.points, "strides": raw.strides} | maps


def _recorded(network: nn.Module, images: Tensor) -> Callable[[Tensor], Answer]:
    """``network`` for images like ``images``. The passes that warm it up leave no trace in it."""
    before = [value.clone() for value in network.buffers()]
    # The recording keeps its gradients' nodes, which belong to the stream it was recorded on.
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
    try:
        with torch.cuda.device(images.device), uncached(images):
            replay = torch.cuda.make_graphed_callables(
                _Unpatched(network), (images.clone(),), allow_unused_input=True
            )
    finally:
        with torch.no_grad():
            for value, old in zip(network.buffers(), before, strict=True):
                value.copy_(old)
    return cast(Callable[[Tensor], Answer], replay)


class _Unpatched(nn.Module):
    """Takes the recording in the place of ``network``, which goes on running as ever."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Answer:
        answer: Answer = self.network(images)
        return answer
