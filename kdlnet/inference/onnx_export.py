"""Weights as ONNX: written by torch's exporter, all facts in the metadata."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kdlnet import __version__
from kdlnet.errors import KdlnetError
from kdlnet.inference.export_network import example_of, header_of, network_of
from kdlnet.inference.exported import METADATA_KEY
from kdlnet.inference.layouts import Answers, Layout
from kdlnet.inference.onnx_nms import with_nms
from kdlnet.inference.weights import Weights
from kdlnet.utils.files import write_atomic
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import sealed

OPSET = 18


def write_onnx(weights: Weights, path: Path, layout: Layout, half: bool = False) -> None:
    """A fused detector as ONNX, all facts in the metadata.

    ``half`` computes in 16 bits; images and answers stay float32.
    """
    onnx = optional_package("onnx", "--format onnx")
    model = onnx_model(weights, layout, half, parted=True)
    header = json.dumps(header_of(weights, layout, half))
    onnx.helper.set_model_props(model, {METADATA_KEY: header})
    write_atomic(path, sealed(model.SerializeToString()))


def onnx_model(weights: Weights, layout: Layout, half: bool = False, parted: bool = False) -> Any:
    """The network alone, as onnx holds it in memory; ``parted`` as ONNX Runtime is quickest."""
    onnx = optional_package("onnx", "an export")
    suppressed = layout.outputs == "detections"
    inner = replace(layout, outputs="points") if suppressed else layout
    outputs = Answers(header_of(weights, inner), inner).shapes
    model = _exported(weights, inner, list(outputs), half, parted)
    _drop_traces(model)
    if layout.dynamic:
        _name_sizes(model.graph)
    if suppressed:
        model = with_nms(model, weights.preprocess.image_size)
    model.producer_name, model.producer_version = "kdlnet", __version__
    onnx.checker.check_model(model)
    return model


def _exported(
    weights: Weights, layout: Layout, outputs: list[str], half: bool, parted: bool
) -> Any:
    """The detector as torch's exporter writes it."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own, about itself
        program = torch.onnx.export(
            network_of(weights, layout, half, parted),
            (example_of(weights, layout),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=outputs,
            opset_version=OPSET,
            dynamic_shapes=_free(layout, max(weights.detector.strides)),
        )
    if program is None:
        raise KdlnetError("torch.onnx.export gave no model: use torch 2.8 or newer")
    return program.model_proto


def _free(layout: Layout, step: int) -> dict[str, dict[int, Any]] | None:
    """Which sizes of the images are free, as torch's exporter wants it."""
    dim = torch.export.Dim
    free = {0: dim("batch")} if layout.batch is None else {}
    if layout.dynamic:
        free |= {2: step * dim("rows"), 3: step * dim("columns")}
    return {"images": free} if free else None


def _name_sizes(graph: Any) -> None:
    """Gives free heights and widths names that people read, in place of the exporter's terms."""
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        stride = value.name.partition("_")[2]
        if value.name in ("logits", "boxes", "bins"):
            sizes[1].dim_param = "points"
        else:
            over = f"/{stride}" if stride else ""
            sizes[2].dim_param, sizes[3].dim_param = f"height{over}", f"width{over}"


def _drop_traces(model: Any) -> None:
    """Removes notes of the exporter: stack traces with the paths of this machine among them."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for weight in graph.initializer:
        weight.ClearField("metadata_props")
