"""A detector with the outputs of an exported file, and the facts that go into that file."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlnet import __version__
from kdlnet.inference.layouts import Layout
from kdlnet.inference.weights import Weights
from kdlnet.models.fuse import replace_layers
from kdlnet.models.neck import MergeStage
from kdlnet.models.network import Network
from kdlnet.nn.blocks import RepStage
from kdlnet.nn.conv import ConvAct
from kdlnet.ops.decode import decode_boxes, distances_to_boxes, expected_distances
from kdlnet.ops.points import make_points
from kdlnet.types import ImageSize, RawPredictions
from kdlnet.utils.seal import SEAL

_ANY = 2
"""Images to trace with where any number will do: one would be taken for a constant."""


def header_of(weights: Weights, layout: Layout, half: bool = False) -> dict[str, Any]:
    """What an exported file says about the network in it, its checksum still zeros.

    With ``half`` that its numbers have 16 bits; what computes with them may take more.
    """
    detector = weights.detector
    form = weights.preprocess.format
    header = {"format": form, **SEAL, "kdlnet": __version__, **weights.describe()}
    facts = {"strides": list(detector.strides), "bins": detector.head.bins}
    stored = {"file_precision": "float16"} if half else {}
    return header | facts | stored | layout.to_dict()


def network_of(
    weights: Weights, layout: Layout, half: bool = False, parted: bool = False
) -> nn.Module:
    """A copy of the fused detector that maps images to a tuple, in the order of the layout.

    Both are float32; ``half`` computes in 16 bits between them, but for the first layer, since
    images do not fit into 16 bits, and the decoding of boxes, whose corners do not. ``parted``: as
    ONNX Runtime is quickest, see :class:`_PartedStage`.
    """
    detector = copy.deepcopy(weights.detector).to(memory_format=torch.contiguous_format)
    if half:
        stem = _Float32(copy.deepcopy(detector.backbone.stem))
        detector = detector.half()
        detector.backbone.add_module("stem", stem)
    if parted:
        replace_layers(detector, RepStage, _PartedStage)
    if layout.outputs == "maps":
        return _Maps(detector).eval()
    if layout.dynamic:
        return _FreePoints(detector).eval()
    return _Points(detector, weights.preprocess.image_size).eval()


def example_of(weights: Weights, layout: Layout) -> Tensor:
    """Images (B, C, H, W), all zero, to trace the network with."""
    contract = weights.preprocess
    return torch.zeros(layout.batch or _ANY, contract.channels, *contract.image_size)


class _Float32(nn.Module):
    """A layer that computes in 32 bits and answers in 16.

    In 16 bits the upper half of 0 to 1 has 1024 steps: pixels of 8 bits are rounded by up to a
    sixteenth of a grey level, which moved boxes by 4 pixels, and those of 12 bits lose levels.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found.to(torch.float16)


class _PartedStage(nn.Module):
    """A fused stage whose first convolution is two, one for each half of its channels.

    ONNX Runtime takes channels out of its own order of the numbers and puts them back to cut them
    in half. What comes from a coarser map is computed before that is enlarged, a quarter of the
    work: a 1x1 convolution does not look beside it.
    """

    def __init__(self, stage: RepStage) -> None:
        super().__init__()
        weight, bias = (stage.split.conv.get_parameter(name) for name in ("weight", "bias"))
        part = _Merged if isinstance(stage, MergeStage) else _single
        halves = zip(weight.chunk(2), bias.chunk(2), strict=True)
        self.first, self.second = (part(*half) for half in halves)
        self.chain, self.join = stage.chain, stage.join

    def forward(self, *maps: Tensor) -> Tensor:
        parts = [self.first(*maps), self.second(*maps)]
        for link in self.chain:
            parts.append(link(parts[-1]))
        result: Tensor = self.join(torch.cat(parts, dim=1))
        return result


def _single(weight: Tensor, bias: Tensor) -> ConvAct:
    return ConvAct.from_kernel(weight, bias, stride=1, like=weight)


class _Merged(nn.Module):
    """A 1x1 convolution and ReLU of a map and a coarser one, enlarged, whose channels follow."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        fine, coarse = weight.chunk(2, dim=1)
        self.fine, self.coarse = nn.Parameter(fine), nn.Parameter(coarse)
        self.bias = nn.Parameter(bias)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        above = F.interpolate(F.conv2d(coarse, self.coarse), scale_factor=2.0)
        return F.relu(F.conv2d(fine, self.fine, self.bias) + above)


class _Points(nn.Module):
    """Logits, boxes and bins of all points."""

    points: Tensor
    strides: Tensor
    steps: Tensor

    def __init__(self, detector: Network, image_size: ImageSize) -> None:
        super().__init__()
        self.detector = detector
        sizes = [(image_size[0] // stride, image_size[1] // stride) for stride in detector.strides]
        points, strides = make_points(sizes, detector.strides)
        # Numbers of the file: made in the graph they would be bound to one device.
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)
        self.register_buffer("steps", torch.arange(float(detector.head.bins)))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        raw: RawPredictions = self.detector(images)
        logits, bins = raw.logits.float(), raw.bins.float()
        distances = expected_distances(bins, self.steps)
        return logits, distances_to_boxes(distances, self.points, self.strides), bins


class _FreePoints(nn.Module):
    """The same for images of any size: where the points lie follows from the maps."""

    def __init__(self, detector: Network) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        raw: RawPredictions = self.detector(images)
        raw = replace(raw, logits=raw.logits.float(), bins=raw.bins.float())
        return raw.logits, decode_boxes(raw), raw.bins


class _Maps(nn.Module):
    """Class logits and bins of each level, as the last convolutions give them."""

    def __init__(self, detector: Network) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = self.detector.levels(images)
        return tuple(level.float() for pair in levels for level in pair)
