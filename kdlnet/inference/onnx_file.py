"""ONNX files of kdlnet: written by torch's exporter, read by ONNX Runtime, facts in metadata."""

from __future__ import annotations

import copy
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
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.models.network import Network
from kdlnet.ops.decode import decode_boxes
from kdlnet.ops.points import make_points
from kdlnet.types import ImageSize, Preprocess, RawPredictions
from kdlnet.utils.device import prepare
from kdlnet.utils.files import write_atomic
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import SEAL, is_damaged, sealed

OPSET = 18
ONNX_FORMAT = 1
METADATA_KEY = "kdlnet"
"""Key of an ONNX file's metadata that holds what kdlnet knows about the network, as JSON."""

_DAMAGED = "is damaged: its bytes are not those that were written. Export the weights again"


def write_onnx(weights: Weights, path: Path) -> None:
    """A fused detector as ONNX: any batch, fixed height and width, all facts in the metadata."""
    onnx = optional_package("onnx", "--format onnx")
    detector = copy.deepcopy(weights.detector).to(memory_format=torch.contiguous_format)
    model = _exported(detector, weights.preprocess)
    _drop_traces(model)
    header = {"format": ONNX_FORMAT, **SEAL, "kdlnet": __version__, **weights.describe()}
    header |= {"strides": list(detector.strides), "bins": detector.head.bins}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(header)})
    model.producer_name, model.producer_version = "kdlnet", __version__
    onnx.checker.check_model(model)
    write_atomic(path, sealed(model.SerializeToString()))


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


def read_onnx(path: Path) -> tuple[OnnxForward, dict[str, Any]]:
    """The network in an ONNX file, run by ONNX Runtime on the CPU, and its metadata.

    Raises WeightsError for a file that is damaged, no ONNX file, or that kdlnet export did not
    write, KdlnetError without the package onnxruntime.
    """
    package = optional_package("onnxruntime", "an ONNX file")
    prepare(torch.device("cpu"))
    data = path.read_bytes()
    if is_damaged(data):
        raise WeightsError(f"{str(path)!r} {_DAMAGED}")
    session = _session(package, data, path)
    header = _header(session, path)
    size = Preprocess.from_dict(header["preprocess"]).image_size
    return OnnxForward(session, path, package.__version__, size, header["strides"]), header


class OnnxForward:
    """An ONNX Runtime session as a function of images (B, channels, H, W) float32 on the CPU."""

    def __init__(
        self, session: Any, path: Path, version: str, image_size: ImageSize, strides: Sequence[int]
    ) -> None:
        self.version = version
        self._session = session
        self._path = path
        sizes = [(image_size[0] // stride, image_size[1] // stride) for stride in strides]
        self._points, self._strides = make_points(sizes, strides)

    def __call__(self, images: Tensor) -> RawPredictions:
        logits, bins = self._run(images, ("logits", "bins"))
        return RawPredictions(logits, bins, self._points, self._strides)

    def with_boxes(self, images: Tensor) -> tuple[RawPredictions, Tensor]:
        """Also the output ``boxes`` (B, A, 4), in pixels of the network input."""
        logits, bins, boxes = self._run(images, ("logits", "bins", "boxes"))
        return RawPredictions(logits, bins, self._points, self._strides), boxes

    def _run(self, images: Tensor, outputs: Sequence[str]) -> list[Tensor]:
        try:
            found = self._session.run(list(outputs), {"images": images.contiguous().numpy()})
        except Exception as error:  # its classes are many, and derive from Exception alone
            reason = str(error).split("\n")[0]
            raise WeightsError(f"{str(self._path)!r} cannot be run: {reason}") from None
        return [torch.from_numpy(values) for values in found]


def _session(package: Any, data: bytes, path: Path) -> Any:
    options = package.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        # With its fallback it would print, and try the same again.
        cpu = ["CPUExecutionProvider"]
        return package.InferenceSession(data, options, providers=cpu, enable_fallback=0)
    except Exception as error:  # its classes are many, and derive from Exception alone
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{str(path)!r} is not a readable ONNX file: {reason}") from None


def _header(session: Any, path: Path) -> dict[str, Any]:
    """What kdlnet wrote into the metadata; it must agree with the inputs and outputs."""
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{str(path)!r} is not a readable ONNX file: {error}") from None
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
    except Exception:  # a header may hold anything
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
    """Whether inputs and outputs have the names and shapes that the metadata asks for.

    Raises ValueError, TypeError or KeyError where its thresholds are none.
    """
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
    VerdictRule.of_weights(header["thresholds"], header["names"])
    texts = isinstance(header["model"], str) and isinstance(header.get("calibration", {}), dict)
    return texts and {value.name: list(value.shape)[1:] for value in values} == wanted
