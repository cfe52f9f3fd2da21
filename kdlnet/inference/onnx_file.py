"""ONNX files of kdlnet: written by torch's exporter, read by ONNX Runtime, facts in metadata."""

from __future__ import annotations

import copy
import importlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdlnet import __version__
from kdlnet.errors import KdlnetError, WeightsError
from kdlnet.inference.weights import Weights
from kdlnet.models.network import Network
from kdlnet.ops.decode import decode_boxes
from kdlnet.ops.points import make_points
from kdlnet.types import ImageSize, Preprocess, RawPredictions
from kdlnet.utils.device import prepare

OPSET = 18
ONNX_FORMAT = 1
ONNX_SUFFIX = ".onnx"
METADATA_KEY = "kdlnet"
"""Key of an ONNX file's metadata that holds what kdlnet knows about the network, as JSON."""

Answer = tuple[Tensor, Tensor, Tensor]
"""Logits (B, A, C), boxes (B, A, 4) in pixels of the network input, bins (B, A, 4, R)."""


def optional_package(name: str, purpose: str) -> Any:
    """The imported package ``name``. Raises KdlnetError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise KdlnetError(
            f"{purpose} needs the package {name!r}, which is not installed: "
            "pip install 'kdlnet[export]'"
        ) from None


def write_onnx(weights: Weights) -> bytes:
    """A fused detector as ONNX: any batch, fixed height and width, all facts in the metadata."""
    onnx = optional_package("onnx", "--format onnx")
    contract = weights.preprocess
    detector = copy.deepcopy(weights.detector).to(memory_format=torch.contiguous_format)
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
    model = program.model_proto
    _drop_traces(model)
    header = {"format": ONNX_FORMAT, "kdlnet": __version__, **weights.describe()}
    header |= {"strides": list(detector.strides), "bins": detector.head.bins}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(header)})
    model.producer_name, model.producer_version = "kdlnet", __version__
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


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

    def forward(self, images: Tensor) -> Answer:
        raw: RawPredictions = self.detector(images)
        return raw.logits, decode_boxes(raw), raw.bins


def read_onnx(data: bytes, path: Path) -> tuple[OnnxForward, dict[str, Any]]:
    """The network in the bytes of an ONNX file, run by ONNX Runtime on the CPU, and its metadata.

    ``path`` is for messages. Raises WeightsError for bytes that are no ONNX file or that kdlnet
    export did not write, KdlnetError without the package onnxruntime.
    """
    package = optional_package("onnxruntime", "an ONNX file")
    prepare(torch.device("cpu"))
    session = _session(package, data, path)
    header = _header(session, path)
    size = Preprocess.from_dict(header["preprocess"]).image_size
    return OnnxForward(session, package.__version__, size, header["strides"]), header


class OnnxForward:
    """An ONNX Runtime session as a function of images (B, channels, H, W) float32 on the CPU."""

    def __init__(
        self, session: Any, version: str, image_size: ImageSize, strides: Sequence[int]
    ) -> None:
        self.version = version
        self._session = session
        sizes = [(image_size[0] // stride, image_size[1] // stride) for stride in strides]
        self._points, self._strides = make_points(sizes, strides)

    def __call__(self, images: Tensor) -> RawPredictions:
        logits, bins = self.run(images, ("logits", "bins"))
        return RawPredictions(logits, bins, self._points, self._strides)

    def run(self, images: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        """The named outputs of the file: logits (B, A, C), boxes (B, A, 4), bins (B, A, 4, R)."""
        found = self._session.run(list(outputs), {"images": images.contiguous().numpy()})
        return [torch.from_numpy(values) for values in found]


def _session(package: Any, data: bytes, path: Path) -> Any:
    options = package.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return package.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes are many, and derive from Exception alone
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{str(path)!r} is not a readable ONNX file: {reason}") from None


def _header(session: Any, path: Path) -> dict[str, Any]:
    """What kdlnet wrote into the metadata; it must agree with the inputs and outputs."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise WeightsError(
            f"{str(path)!r} is an ONNX file of another tool (no {METADATA_KEY!r} in its metadata); "
            "give one that kdlnet export wrote"
        )
    try:
        header: dict[str, Any] = json.loads(text)
        known = header["format"] == ONNX_FORMAT
        if known and not _fits(session, header):
            raise ValueError
    except (ValueError, TypeError, KeyError, ArithmeticError):
        raise WeightsError(
            f"the network in {str(path)!r} does not fit its metadata: export the weights again"
        ) from None
    if not known:
        raise WeightsError(
            f"{str(path)!r} has ONNX format {header['format']}, this kdlnet reads {ONNX_FORMAT}: "
            "use the kdlnet version that wrote it"
        )
    return header


def _fits(session: Any, header: dict[str, Any]) -> bool:
    """Whether inputs and outputs have the names and shapes that the metadata asks for."""
    contract = Preprocess.from_dict(header["preprocess"])
    height, width = contract.image_size
    points = sum((height // stride) * (width // stride) for stride in header["strides"])
    wanted = {
        "images": [contract.channels, height, width],
        "logits": [points, len(header["names"])],
        "boxes": [points, 4],
        "bins": [points, 4, header["bins"]],
    }
    values = (*session.get_inputs(), *session.get_outputs())
    texts = isinstance(header["model"], str) and isinstance(header["thresholds"], dict)
    return texts and {value.name: list(value.shape)[1:] for value in values} == wanted
