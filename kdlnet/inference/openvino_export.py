"""Weights as OpenVINO: its own converter reads the ONNX network, all facts stand in the .xml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from kdlnet.errors import KdlnetError
from kdlnet.inference.export_network import header_of
from kdlnet.inference.exported import METADATA_KEY
from kdlnet.inference.layouts import Layout
from kdlnet.inference.onnx_export import onnx_model
from kdlnet.inference.weights import Weights
from kdlnet.utils.files import advice_at, temporary_folder, write_together
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import sealed


def write_openvino(
    weights: Weights, path: Path, layout: Layout, half: bool = False, bf16: bool = False
) -> None:
    """A fused detector as ``path`` and, beside it, the numbers as ``.bin``.

    ``half`` stores the numbers in 16 bits. ``bf16`` asks for products in bfloat16 where the
    processor has them; the numbers stay in float32.
    """
    openvino = optional_package("openvino", "--format openvino")
    network = onnx_model(weights, layout).SerializeToString()
    model = openvino.Core().read_model(model=network, weights=b"")
    if bf16:
        _decode_in_float32(openvino, model)
    header = header_of(weights, layout, half) | ({"products": "bfloat16"} if bf16 else {})
    save_openvino(model, header, path, half)


def _decode_in_float32(openvino: Any, model: Any) -> None:
    """Products with the steps of the bins as sums.

    After the last convolution or product with a matrix OpenVINO goes on in float32: the corners of
    boxes are none of the numbers of bfloat16, which from 256 pixels on are two apart.
    """
    opset = openvino.opset13
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "MatMul":
            chances, steps = operation.input_values()
            row = opset.squeeze(steps, [-1])
            mean = opset.reduce_sum(opset.multiply(chances, row), [-1], keep_dims=True)
            operation.output(0).replace(mean.output(0))


def save_openvino(model: Any, header: dict[str, Any], path: Path, half: bool = False) -> None:
    """A model that is in memory with its ``header``, sealed; ``half`` as above."""
    openvino = optional_package("openvino", "--format openvino")
    model.set_rt_info(json.dumps(header), [METADATA_KEY])
    numbers = path.with_suffix(".bin")
    with temporary_folder() as folder:
        raw = Path(folder, path.name)
        try:
            openvino.save_model(model, raw, compress_to_fp16=half)
        except RuntimeError as error:  # of a full disk, too
            reason = str(error).strip().split("\n")[-1]
            raise KdlnetError(f"cannot write {str(raw)!r}: {reason}; {advice_at(raw)}") from None
        content = raw.with_suffix(".bin").read_bytes()
        graph = raw.read_bytes()
        if "products" not in header:  # products in bfloat16 it makes a tenth slower
            graph = _planes_read_as_they_are(graph)
        graph = sealed(graph + content)[: len(graph)]
    write_together({path: graph, numbers: content})


def _planes_read_as_they_are(graph: bytes) -> bytes:
    """The ``.xml`` with a word for the first convolution: which of its ways the CPU takes.

    Left to itself OpenVINO brings the image's planes into its own order first, a tenth of the time
    of ``lightnet-n``. The older way reads planes, and 16 channels it writes in that order, too;
    more it does not, and then nothing is gained. Processors without AVX-512 take what they have.
    """
    root = ElementTree.fromstring(graph)
    first = next(layer for layer in root.iter("layer") if layer.get("type") == "Convolution")
    if first.findtext("output/port/dim[2]") == "16":
        way = {"name": "primitives_priority", "version": "0", "value": "cpu:jit_avx512"}
        ElementTree.SubElement(ElementTree.SubElement(first, "rt_info"), "attribute", way)
    return ElementTree.tostring(root)
