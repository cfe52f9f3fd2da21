"""Weights in 8-bit integers that lose no more than allowed, in every format that has them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

import torch

from kdlnet.data.dataset import DetectionDataset
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.evaluate import detect
from kdlnet.inference.int8.calibration import CalibrationImages
from kdlnet.inference.int8.drop import Drop, Yardstick
from kdlnet.inference.int8.onnx_int8 import OnnxInt8
from kdlnet.inference.int8.openvino_int8 import OpenvinoInt8
from kdlnet.inference.int8.put_back import Held, put_back
from kdlnet.inference.int8.sensitivity import layer_costs, layer_names
from kdlnet.inference.layouts import Layout
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import Weights

_BATCH = 8


class Int8Writer(Protocol):
    """Fused weights, ready to be written in 8 bits."""

    weight_bits: int

    def write(self, path: Path, images: CalibrationImages, kept: Collection[str]) -> None:
        """Into the files that ``path`` names; the layers ``kept`` stay in float32."""


INT8: dict[str, Callable[[Weights, Layout], Int8Writer]] = {
    "onnx": OnnxInt8,
    "openvino": OpenvinoInt8,
}
"""By the name of the format: what prepares weights for it."""


def write_int8(
    writer: Int8Writer,
    path: Path,
    weights: Weights,
    fused: Weights,
    dataset: DetectionDataset,
    images: CalibrationImages,
    allowed: Drop,
    *,
    device: str = "cpu",
    runtime: str | None = None,
    on_event: Listener = ignore,
) -> Held:
    """Leaves in ``path`` the network with the fewest layers in float32 that was found good enough.

    What is lost is counted on ``dataset`` against ``weights`` in torch, with the file in its own
    ``runtime`` on ``device``. Raises ProofFailed when it stays too much.
    """
    names = weights.names
    with torch.no_grad():
        engine = TorchEngine(weights.detector, torch.device("cpu"))
        before = detect(engine, dataset, _BATCH, on_event=on_event)
    compare = Yardstick(before, weights.rule, names)

    def measure(kept: Collection[str]) -> Drop:
        writer.write(path, images, kept)
        opened = open_runtime(path, device=device, runtime=runtime)
        drop = compare(detect(opened.engine, dataset, _BATCH, on_event=on_event))
        on_event(Message(f"int8, {len(kept)} layers in float32: {drop.describe(allowed)}"))
        return drop

    return put_back(
        layer_names(fused.detector),
        lambda: layer_costs(fused.detector, images),
        measure,
        allowed,
    )
