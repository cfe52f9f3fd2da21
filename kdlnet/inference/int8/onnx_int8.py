"""Weights as ONNX with 8-bit integers, by ONNX Runtime's quantization."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from kdlnet.inference.exported import METADATA_KEY
from kdlnet.inference.int8.calibration import CalibrationImages
from kdlnet.inference.int8.common import convolutions, int8_header, no_advice, weight_bits
from kdlnet.inference.layouts import Array, Layout
from kdlnet.inference.onnx_export import onnx_model
from kdlnet.inference.weights import Weights
from kdlnet.utils.files import temporary_folder, told, write_atomic
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import sealed

PURPOSE = "--int8 in ONNX"


class OnnxInt8:
    """Writes ``weights`` (fused) with most convolutions in 8 bits.

    Around each stand the nodes that round and undo it (QDQ), its weights have a scale for each
    channel. All else, the last convolutions and the decoding of the boxes among it, is in float32.
    Without VNNI the processor adds products of 8 bits in 16 and runs over: weights get 7 bits.
    """

    def __init__(self, weights: Weights, layout: Layout) -> None:
        self._header = int8_header(weights, layout)
        self._model = onnx_model(weights, layout)
        self.weight_bits = weight_bits()

    def write(self, path: Path, images: CalibrationImages, kept: Collection[str]) -> None:
        """``kept`` are the layers in float32, as torch names them."""
        onnx = optional_package("onnx", PURPOSE)
        with temporary_folder() as folder:
            source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
            with told(source):
                source.write_bytes(self._model.SerializeToString())
            with told(target):
                self._quantize(source, target, images, kept)
                model = onnx.load(target)
        onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(self._header)})
        model.producer_name = self._model.producer_name
        model.producer_version = self._model.producer_version
        write_atomic(path, sealed(model.SerializeToString()))

    def _quantize(
        self, source: Path, target: Path, images: CalibrationImages, kept: Collection[str]
    ) -> None:
        tool = optional_package("onnxruntime.quantization", PURPOSE)
        chosen = convolutions(self._model)
        with no_advice():
            tool.quantize_static(
                source,
                target,
                _Reader(images),
                quant_format=tool.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=self.weight_bits == 7,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
                nodes_to_quantize=[node for name, node in chosen.items() if name not in kept],
                calibrate_method=tool.CalibrationMethod.MinMax,
            )


class _Reader:
    """Images as ONNX Runtime asks for them."""

    def __init__(self, images: CalibrationImages) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._images, None)
        return None if image is None else {"images": image}
