"""Weights as OpenVINO with 8-bit integers, by NNCF."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from kdlnet.inference.int8.calibration import CalibrationImages
from kdlnet.inference.int8.common import convolutions, int8_header, no_advice, weight_bits
from kdlnet.inference.layouts import Layout
from kdlnet.inference.onnx_export import onnx_model
from kdlnet.inference.openvino_export import save_openvino
from kdlnet.inference.weights import Weights
from kdlnet.utils.packages import optional_package

PURPOSE = "--int8 in OpenVINO"


class OpenvinoInt8:
    """Writes ``weights`` (fused) with most convolutions in 8 bits; all else is in float32.

    NNCF's own loop, ``quantize_with_accuracy_control``, would take AP, verdicts and escape as one
    number, the largest share of what is allowed; but it does not tell which layers it put back nor
    what they cost, validates once for each layer to rank them, and is for OpenVINO alone. So NNCF
    quantizes here and the loop is kdlnet's, the same for every runtime.
    """

    def __init__(self, weights: Weights, layout: Layout) -> None:
        openvino = optional_package("openvino", PURPOSE)
        network = onnx_model(weights, layout)
        self._header = int8_header(weights, layout)
        self._nodes = convolutions(network)
        self._core = openvino.Core()
        self._network = network.SerializeToString()
        self.weight_bits = weight_bits()

    def write(self, path: Path, images: CalibrationImages, kept: Collection[str]) -> None:
        """``kept`` are the layers in float32, as torch names them."""
        model = self._core.read_model(model=self._network, weights=b"")
        with _quiet():
            nncf = require_nncf()
            quantized = nncf.quantize(
                model,
                nncf.Dataset(images, lambda image: {"images": image}),
                subset_size=len(images),
                ignored_scope=nncf.IgnoredScope(names=self._ignored(model, kept)),
                advanced_parameters=_choices(nncf, self.weight_bits),
            )
        save_openvino(quantized, self._header, path)

    def _ignored(self, model: Any, kept: Collection[str]) -> list[str]:
        """Operations that stay as they are: ``kept``, the last convolutions, the decoding."""
        rounded = {node for name, node in self._nodes.items() if name not in kept}
        return [
            operation.get_friendly_name()
            for operation in model.get_ordered_ops()
            # The converter divides a convolution into one without bias, and an addition.
            if operation.get_type_name() == "Convolution"
            and operation.get_friendly_name().split("/")[0] not in rounded
        ] + _decoding(model)


def _decoding(model: Any) -> list[str]:
    """Names of the operations from the softmax on, by which bins become boxes."""
    ahead = [one for one in model.get_ordered_ops() if one.get_type_name() == "Softmax"]
    names = []
    while ahead:
        operation = ahead.pop()
        if operation.get_type_name() != "Result" and operation.get_friendly_name() not in names:
            names.append(operation.get_friendly_name())
            ahead += [
                port.get_node() for out in operation.outputs() for port in out.get_target_inputs()
            ]
    return names


def _choices(nncf: Any, weight_bits: int) -> Any:
    """Ranges as wide as what was seen: means over images would cut off the rare, strong defect.

    That is NNCF's default; on NEU-DET it lost five times the AP (RECIPES.md).
    """
    wide = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    fix = nncf.quantization.advanced_parameters.OverflowFix
    return nncf.AdvancedQuantizationParameters(
        overflow_fix=fix.ENABLE if weight_bits == 7 else fix.DISABLE,
        activations_range_estimator_params=wide,
    )


def require_nncf() -> Any:
    """The package, which here reports to nobody: it would tell its makers of every use."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    try:
        with _quiet():
            return optional_package("nncf", PURPOSE)
    finally:
        del os.environ["NNCF_CI"]
        if before is not None:
            os.environ["NNCF_CI"] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Without bars and advice of NNCF and of what it imports: stdout may have to be JSON."""
    with no_advice(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
