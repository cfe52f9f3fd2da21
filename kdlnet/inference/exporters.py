"""The formats that weights are exported to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from kdlnet.inference.kinds import KINDS, FileKind
from kdlnet.inference.layouts import OUTPUTS, Layout
from kdlnet.inference.onnx_export import OPSET, write_onnx
from kdlnet.inference.openvino_export import write_openvino
from kdlnet.inference.proof import Tolerance
from kdlnet.inference.torchscript_export import write_torchscript
from kdlnet.inference.weights import Weights


@dataclass(frozen=True)
class Exporter:
    """A format. ``write`` puts fused weights into the files of ``kind`` that a path names, with the
    inputs and outputs of a layout.

    The proof runs them in the runtime of ``kind``, within ``tolerance``. ``facts`` go into the
    certificate. ``outputs`` are those of OUTPUTS that it can have, ``dynamic`` whether heights and
    widths can be free. ``half`` is the same format with numbers of 16 bits, ``bf16`` with products
    in bfloat16, where it has that.
    """

    kind: FileKind
    packages: tuple[str, ...]
    write: Callable[[Weights, Path, Layout], None]
    tolerance: Tolerance = field(default_factory=Tolerance)
    facts: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = OUTPUTS
    dynamic: bool = True
    half: Exporter | None = None
    bf16: Exporter | None = None


HALF = Tolerance(logits=None, box_pixels=4.0, score=0.02, flips=0.01, ap_loss=0.005)
"""For numbers of 16 bits: boxes and verdicts are judged, not digits.

A box is a mean of neighbours, some of which score next to the least that counts: of 12,500 boxes of
NEU-DET one moved by 3.2 pixels, all but 13 by less than 1.2, and AP did not change.
"""

BF16 = Tolerance(logits=None, box_pixels=None, score=None, flips=0.01, ap_loss=0.005)
"""For products in bfloat16, which has 8 bits of precision: scores of single boxes move by some
hundredths, so that verdicts and AP on real images are judged.
"""


def _format(
    name: str,
    packages: tuple[str, ...],
    write: Callable[..., None],
    outputs: tuple[str, ...] = OUTPUTS,
    dynamic: bool = True,
    bf16: bool = False,
    **facts: Any,
) -> Exporter:
    """The format ``name``, whose ``write`` also takes ``half`` and, where it has it, ``bf16``."""
    exporter = Exporter(KINDS[name], packages, write, facts=facts, outputs=outputs, dynamic=dynamic)
    half = replace(exporter, write=partial(write, half=True), tolerance=HALF)
    rounded = replace(exporter, write=partial(write, bf16=True), tolerance=BF16)
    return replace(exporter, half=half, bf16=rounded if bf16 else None)


EXPORTERS: dict[str, Exporter] = {
    "onnx": _format("onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, opset=OPSET),
    "openvino": _format("openvino", ("onnx", "onnxscript", "openvino"), write_openvino, bf16=True),
    "torchscript": _format("torchscript", (), write_torchscript, ("points", "maps"), False),
}
"""Formats by name, that of their kind of file."""
