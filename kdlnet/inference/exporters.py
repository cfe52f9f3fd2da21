"""The formats that weights are exported to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlnet.inference.kinds import KINDS, FileKind
from kdlnet.inference.onnx_export import OPSET, write_onnx
from kdlnet.inference.parity import Tolerance
from kdlnet.inference.weights import Weights


@dataclass(frozen=True)
class Exporter:
    """A format. ``write`` puts fused weights into the files of ``kind`` that a path names.

    The proof runs them in the runtime of ``kind``, within ``tolerance``. ``facts`` go into the
    certificate.
    """

    kind: FileKind
    packages: tuple[str, ...]
    write: Callable[[Weights, Path], None]
    tolerance: Tolerance = field(default_factory=Tolerance)
    facts: dict[str, Any] = field(default_factory=dict)


EXPORTERS: dict[str, Exporter] = {
    "onnx": Exporter(
        KINDS["onnx"],
        packages=("onnx", "onnxscript", "onnxruntime"),
        write=write_onnx,
        facts={"opset": OPSET},
    ),
}
"""Formats by name, that of their kind of file."""
