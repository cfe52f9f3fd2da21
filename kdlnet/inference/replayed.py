"""A network on a CUDA device whose kernels are recorded once and then replayed.

A small network on a fast card waits for Python, not for the card: launching its kernels one by one
takes longer than running them. Recorded as a CUDA graph they are launched together. The answers
are the same to the bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace
from threading import Lock

import torch
from torch import Tensor

from kdlnet.types import RawPredictions

_EAGER_CALLS = 2
"""A shape that comes only now and then, a last batch, is not worth a recording."""
_MOST_RECORDINGS = 8

Network = Callable[[Tensor], RawPredictions]


def replayed_on(device: torch.device, network: Network, *, features: bool = False) -> Network:
    """``network``, in eval mode on ``device``, as quick as it goes there: replayed on CUDA."""
    return Replayed(network, features=features) if device.type == "cuda" else network


class Replayed:
    """``network``, in eval mode on a CUDA device, recorded at the third call of each input shape.

    Answers have ``features`` only where they are asked for. Weights may change in place, and
    nothing else of the network. Several threads may call, on one CUDA stream.
    """

    def __init__(self, network: Network, *, features: bool = False) -> None:
        self.network = network
        self.features = features
        self._calls: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, Network] = {}
        self._one_at_a_time = Lock()  # a recording has one input and one output, whoever calls

    def __call__(self, images: Tensor) -> RawPredictions:
        """The answer to images (B, channels, H, W)."""
        with self._one_at_a_time:
            return self._answer(images)

    def _answer(self, images: Tensor) -> RawPredictions:
        key = (images.shape, images.dtype, images.device, *_mode(images))
        if key not in self._recordings:
            self._calls[key] += 1
            full = len(self._recordings) == _MOST_RECORDINGS
            if full or self._calls[key] <= _EAGER_CALLS:
                return self._eager(images)
            try:
                self._recordings[key] = _recorded(self._eager, images)
            except RuntimeError:  # no memory for it, say: slower, and the same answers
                self._recordings[key] = self._eager
        return self._recordings[key](images)

    def _eager(self, images: Tensor) -> RawPredictions:
        raw = self.network(images)
        return raw if self.features else replace(raw, features=())


def uncached(images: Tensor) -> torch.autocast:
    """Mixed precision as it is, but for weights that autocast rounds once and keeps for a while.

    They would be gone when a recording is replayed.
    """
    enabled, dtype = mixed_precision(images)
    return torch.autocast(images.device.type, dtype, enabled=enabled, cache_enabled=False)


def mixed_precision(images: Tensor) -> tuple[bool, torch.dtype]:
    """Whether autocast is on where ``images`` are, and what it rounds to."""
    kind = images.device.type
    return torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)


def _mode(images: Tensor) -> tuple[object, ...]:
    """What else decides which kernels run, and on what kind of tensors."""
    exact = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    return *exact, *mixed_precision(images), torch.is_inference_mode_enabled()


def _recorded(network: Network, images: Tensor) -> Network:
    """``network`` as one graph for inputs like ``images``. Other threads may use the device."""
    shown = images.clone()
    with torch.cuda.device(images.device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what a first run allocates and picks is not recorded
            network(shown)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with uncached(images), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            answer = network(shown)

    def replay(images: Tensor) -> RawPredictions:
        shown.copy_(images)
        graph.replay()
        logits, bins = answer.logits.clone(), answer.bins.clone()
        features = tuple(x.clone() for x in answer.features)
        return replace(answer, logits=logits, bins=bins, features=features)

    return replay
