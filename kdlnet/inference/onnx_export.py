"""Weights as ONNX: written by torch's exporter, all facts in the metadata."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdlnet import __version__
from kdlnet.errors import KdlnetError
from kdlnet.inference.exported import FORMAT, METADATA_KEY
from kdlnet.inference.weights import Weights
from kdlnet.models.network import Network
from kdlnet.ops.decode import decode_boxes
from kdlnet.types import Preprocess, RawPredictions
from kdlnet.utils.files import write_atomic
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import SEAL, sealed

OPSET = 18


def write_onnx(weights: Weights, path: Path) -> None:
    """A fused detector as ONNX: any batch, fixed height and width, all facts in the metadata."""
    onnx = optional_package("onnx", "--format onnx")
    model = onnx_model(weights)
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(header_of(weights))})
    write_atomic(path, sealed(model.SerializeToString()))


def onnx_model(weights: Weights) -> Any:
    """The network alone, as onnx holds it in memory."""
    onnx = optional_package("onnx", "an export")
    detector = copy.deepcopy(weights.detector).to(memory_format=torch.contiguous_format)
    model = _exported(detector, weights.preprocess)
    _drop_traces(model)
    model.producer_name, model.producer_version = "kdlnet", __version__
    onnx.checker.check_model(model)
    return model


def header_of(weights: Weights) -> dict[str, Any]:
    """What an exported file says about the network in it, its checksum still zeros."""
    detector = weights.detector
    header = {"format": FORMAT, **SEAL, "kdlnet": __version__, **weights.describe()}
    return header | {"strides": list(detector.strides), "bins": detector.head.bins}


def _exported(detector: Network, contract: Preprocess) -> Any:
    """The detector as torch's exporter writes it."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own, about itself
        program = torch.onnx.export(
            _Answers(detector).eval(),
            # A batch of 1 would be taken for a constant.
            (torch.zeros(2, contract.channels, *contract.image_size),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits", "boxes", "bins"],
            opset_version=OPSET,
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
    if program is None:
        raise KdlnetError("torch.onnx.export gave no model: use torch 2.6 or newer")
    return program.model_proto


def _drop_traces(model: Any) -> None:
    """Removes notes of the exporter: stack traces with the paths of this machine among them."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for weight in graph.initializer:
        weight.ClearField("metadata_props")


class _Answers(nn.Module):
    """A detector with the outputs of the exported file."""

    def __init__(self, detector: Network) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw: RawPredictions = self.detector(images)
        return raw.logits, decode_boxes(raw), raw.bins
