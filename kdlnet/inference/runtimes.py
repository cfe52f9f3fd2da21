"""Networks ready to run, whatever their file: images in, RawPredictions out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from kdlnet.errors import ConfigError, WeightsError, unknown
from kdlnet.inference.kinds import KINDS, kind_of
from kdlnet.inference.onnx_file import read_onnx
from kdlnet.inference.weights import load_weights
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.models.fuse import fuse_model
from kdlnet.types import ImageSize, Preprocess, RawPredictions
from kdlnet.utils.device import find_device, prepare


@dataclass(frozen=True)
class Runtime:
    """A network that is ready to run, and what one must know to feed it and read its answer.

    ``runtime(images)`` takes images (B, channels, H, W) float32 on ``device``, the window mapped to
    [0, 1] (:mod:`kdlnet.inference.views` makes them), and returns RawPredictions there, without
    features.

    ``rule`` is the file's own, and ``calibration`` says how it was chosen, empty where none was.
    ``name`` is a key of RUNTIMES, ``version`` that of the library behind it. ``fused`` says what
    runs, ``file_fused`` what the file holds. ``fixed_size``: only ``preprocess.image_size`` fits.
    ``with_boxes`` also returns the boxes (B, A, 4) that the file itself decodes, for programs other
    than kdlnet; None where it decodes none.
    """

    name: str
    version: str
    device: torch.device
    path: Path
    model: str
    names: tuple[str, ...]
    preprocess: Preprocess
    rule: VerdictRule
    calibration: dict[str, Any]
    fused: bool
    file_fused: bool
    fixed_size: bool
    forward: Callable[[Tensor], RawPredictions]
    with_boxes: Callable[[Tensor], tuple[RawPredictions, Tensor]] | None = None

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> RawPredictions:
        return self.forward(images)


def open_runtime(
    path: Path,
    *,
    device: str = "auto",
    runtime: str | None = None,
    fuse: bool = True,
    image_size: ImageSize | None = None,
) -> Runtime:
    """The network in ``path`` on ``device``, by default in the runtime that its content asks for.

    ``fuse`` folds an unfused weights file in memory; ``image_size`` replaces the one in the file.
    Raises WeightsError for a file that cannot be used, ConfigError for a runtime, device or size
    that does not fit, KdlnetError when an optional package is missing.
    """
    kind = kind_of(path)
    name = runtime or (KINDS[kind].runtime if kind else "torch")
    if name not in RUNTIMES:
        raise ConfigError(unknown("runtime", name, RUNTIMES))
    return RUNTIMES[name](path, device, fuse, image_size)


def _open_torch(path: Path, device: str, fuse: bool, image_size: ImageSize | None) -> Runtime:
    target = find_device(device)
    prepare(target)
    weights = load_weights(path, target)
    detector = weights.detector
    if fuse and not weights.fused:
        detector = fuse_model(detector).to(memory_format=torch.channels_last)
    contract = weights.preprocess
    if image_size is not None:
        contract = replace(contract, image_size=image_size)
    return Runtime(
        name="torch",
        version=torch.__version__,
        device=target,
        path=path,
        model=weights.model,
        names=weights.names,
        preprocess=contract,
        rule=weights.rule,
        calibration=weights.calibration,
        fused=fuse or weights.fused,
        file_fused=weights.fused,
        fixed_size=False,
        forward=detector,
    )


def _open_onnx(path: Path, device: str, fuse: bool, image_size: ImageSize | None) -> Runtime:
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"device {device!r}: ONNX files run on the CPU here; use auto or cpu, or the .pt file"
        )
    if not path.exists():
        raise WeightsError(f"ONNX file {str(path)!r} does not exist")
    if path.is_dir():
        raise WeightsError(f"{str(path)!r} is a folder; give an ONNX file of kdlnet export")
    forward, header = read_onnx(path)
    contract = Preprocess.from_dict(header["preprocess"])
    height, width = contract.image_size
    if image_size not in (None, (height, width)):
        raise ConfigError(
            f"{str(path)!r} takes images of {height}x{width} only: leave --image-size out, or "
            "export the weights again with another one"
        )
    return Runtime(
        name="onnxruntime",
        version=forward.version,
        device=torch.device("cpu"),
        path=path,
        model=header["model"],
        names=tuple(header["names"]),
        preprocess=contract,
        rule=VerdictRule.of_weights(header["thresholds"], header["names"]),
        calibration=header.get("calibration", {}),
        fused=True,
        file_fused=True,
        fixed_size=True,
        forward=forward,
        with_boxes=forward.with_boxes,
    )


@contextmanager
def thread_count(count: int | None) -> Iterator[None]:
    """torch and OpenCV with ``count`` threads, as before afterwards; None leaves them."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    if count is not None:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before[0])
            cv2.setNumThreads(before[1])


RUNTIMES: dict[str, Callable[[Path, str, bool, ImageSize | None], Runtime]] = {
    "torch": _open_torch,
    "onnxruntime": _open_onnx,
}
"""By name: (path, device, fuse, image size) to a Runtime."""
