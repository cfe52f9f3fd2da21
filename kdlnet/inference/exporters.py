"""The formats that weights are exported to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kdlnet.inference.kinds import KINDS, FileKind
from kdlnet.inference.onnx_export import OPSET, write_onnx
from kdlnet.inference.openvino_export import write_openvino
from kdlnet.inference.parity import Tolerance
from kdlnet.inference.weights import Weights


@dataclass(frozen=True)
class Exporter:
    """A format. ``write`` puts fused weights into the files of ``kind`` that a path names.

    The proof runs them in the runtime of ``kind``, within ``tolerance``. ``facts`` go into the
    certificate. ``half`` is the same format with numbers of 16 bits, where it has that.
    """

    kind: FileKind
    packages: tuple[str, ...]
    write: Callable[[Weights, Path], None]
    tolerance: Tolerance = field(default_factory=Tolerance)
    facts: dict[str, Any] = field(default_factory=dict)
    half: Exporter | None = None


HALF = Tolerance(logits=None, box_pixels=2.0, score=0.02, flips=0.01, ap_loss=0.005)
"""For numbers of 16 bits: boxes and verdicts are judged, not digits."""

_CONVERTER = ("onnx", "onnxscript", "openvino")

EXPORTERS: dict[str, Exporter] = {
    "onnx": Exporter(
        KINDS["onnx"],
        packages=("onnx", "onnxscript", "onnxruntime"),
        write=write_onnx,
        facts={"opset": OPSET},
    ),
    "openvino": Exporter(
        KINDS["openvino"],
        packages=_CONVERTER,
        write=write_openvino,
        half=Exporter(
            KINDS["openvino"],
            packages=_CONVERTER,
            write=partial(write_openvino, half=True),
            tolerance=HALF,
        ),
    ),
}
"""Formats by name, that of their kind of file."""
