"""Export with proof: the file is kept only if it answers as the weights do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdlnet.errors import ConfigError, KdlnetError, ProofFailed, WeightsError, unknown
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.read import ImageArray, read_image
from kdlnet.inference.onnx_file import (
    ONNX_SUFFIX,
    OPSET,
    Answer,
    optional_package,
    read_onnx,
    write_onnx,
)
from kdlnet.inference.probe_images import made_up_images, readable, split_images
from kdlnet.inference.views import tiles_of, to_input
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.ops.decode import decode_boxes
from kdlnet.ops.nms import select_detections
from kdlnet.types import ImageSize, RawPredictions
from kdlnet.utils.device import prepare
from kdlnet.utils.files import write_atomic, write_json
from kdlnet.verbs.fuse import BOX_PIXELS, TOLERANCE, contained

IMAGES = 64
"""Images of the proof, when there are as many."""
_MIN_IMAGES = 32
_BATCH = 8
# As in the proof of fuse: boxes above 0.05 count, those within its margin may be met by rounding.
_LOOSE_THRESHOLD = 0.049
_SURE_THRESHOLD = 0.05


@dataclass(frozen=True)
class ExportCertificate:
    """What was compared, and the result. Logit errors are those of class logits and bin logits.

    The weights ran in torch as they are in their file, the exported file in ``runtime``.
    ``largest_box_error`` is in pixels of the network input, over the boxes of all points.
    """

    weights: str
    exported: str
    format: str
    opset: int
    bytes: int
    runtime: str
    image_size: ImageSize
    images: int
    real_images: bool
    largest_logit_error: float
    largest_logit: float
    tolerance: float
    largest_box_error: float
    box_tolerance: float
    boxes_compared: int
    same_boxes: bool

    @property
    def passed(self) -> bool:
        """Logits and boxes are within their tolerances and the final boxes are the same."""
        within = self.largest_logit_error <= self.tolerance
        return within and self.largest_box_error <= self.box_tolerance and self.same_boxes

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "image_size": list(self.image_size), "passed": self.passed}


@dataclass(frozen=True)
class Exporter:
    """A file format: ``write`` turns fused weights into bytes.

    ``answers`` runs such bytes and says in what: images (B, channels, H, W) to an Answer.
    """

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[Weights], bytes]
    answers: Callable[[bytes, Path], tuple[Callable[[Tensor], Answer], str]]


def export(
    weights: Path,
    *,
    format: str = "onnx",
    data: str | None = None,
    data_root: Path | None = None,
    split: str = "val",
    images: int = IMAGES,
    image_size: ImageSize | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> ExportCertificate:
    """Writes ``weights``, fused, in another format, once the answers are proved to be the same.

    The proof runs on ``images`` of the ``split`` of ``data``, spread over it, or on made-up ones
    without ``data``. The file is ``out``, by default the weights' name with the format's suffix;
    its certificate lies beside it as ``<name>.json``. Raises ProofFailed, and leaves the disk as
    it was, when the answers differ; KdlnetError when an optional package is missing.
    """
    if format not in EXPORTERS:
        raise ConfigError(unknown("format", format, EXPORTERS))
    exporter = EXPORTERS[format]
    path = _target(weights, exporter.suffix, out, overwrite)
    for package in exporter.packages:
        optional_package(package, f"--format {format}")
    prepare(torch.device("cpu"))
    loaded = load_weights(weights)
    if image_size is not None:
        loaded.preprocess = replace(loaded.preprocess, image_size=image_size)
    batches = _batches(loaded, data, data_root, split, images, on_event)
    fused = copy.copy(loaded)
    if not loaded.fused:
        on_event(Message(f"{str(weights)!r} is not fused: it is fused in memory for the export"))
        fused.detector, fused.fused = fuse_model(loaded.detector), True
    content = exporter.write(fused)
    certificate = _prove(loaded, content, format, path, batches, data is not None, on_event)
    write_atomic(path, content)
    write_json(path.with_name(f"{path.name}.json"), certificate.to_dict())
    return certificate


def _target(weights: Path, suffix: str, out: Path | None, overwrite: bool) -> Path:
    if weights.suffix.lower() in {exporter.suffix for exporter in EXPORTERS.values()}:
        raise WeightsError(f"{str(weights)!r} is an exported file: give the .pt it was made from")
    path = out or weights.with_suffix(suffix)
    if path.suffix.lower() != suffix:
        raise KdlnetError(f"--out {str(path)!r}: name a file that ends in {suffix}")
    if path.is_dir():
        raise KdlnetError(f"--out {str(path)!r} is a folder: name a file that ends in {suffix}")
    if path.exists() and not overwrite:
        raise KdlnetError(f"{str(path)!r} exists: name another --out or add --overwrite")
    return path


def _batches(
    weights: Weights,
    data: str | None,
    data_root: Path | None,
    split: str,
    images: int,
    on_event: Listener,
) -> list[list[Path] | list[ImageArray]]:
    """Images of the proof in batches; the last one is of another size, since any must do."""
    if images < _MIN_IMAGES:
        raise KdlnetError(f"{images} images are no proof: give --images {_MIN_IMAGES} or more")
    found: list[Any]
    if data is None:
        text = "no --data given: the proof runs on made-up images, not on real ones"
        on_event(Message(text, "warning"))
        found = made_up_images(_MIN_IMAGES, weights.preprocess.image_size)
    else:
        found = readable(split_images(data, split, data_root), images, on_event)
        if len(found) < _MIN_IMAGES:
            text = f"the proof runs on {len(found)} images, all of {split!r}"
            on_event(Message(text, "warning"))
    first = [found[:1]] if len(found) > 1 else []
    rest = found[len(first) :]
    return first + [rest[start : start + _BATCH] for start in range(0, len(rest), _BATCH)]


def _prove(
    weights: Weights,
    content: bytes,
    format: str,
    path: Path,
    batches: list[list[Path] | list[ImageArray]],
    real: bool,
    on_event: Listener,
) -> ExportCertificate:
    """The certificate of the exported ``content``. Raises ProofFailed when it does not pass."""
    answers, runtime = EXPORTERS[format].answers(content, path)
    found = _Comparison()
    total = sum(len(batch) for batch in batches)
    for batch in batches:
        arrays = [read_image(item) if isinstance(item, Path) else item for item in batch]
        # Of a tiled image the tile in the middle: what the network sees, at its scale.
        views = [tiles_of(array, weights.preprocess) for array in arrays]
        tiles = [view[len(view) // 2] for view in views]
        _compare(found, weights, answers, to_input(arrays, weights.preprocess, "cpu", tiles)[0])
        on_event(Progress(f"compare torch and {format}", found.images, total))
    certificate = ExportCertificate(
        weights=str(weights.path),
        exported=str(path),
        format=format,
        opset=OPSET,
        bytes=len(content),
        runtime=runtime,
        image_size=weights.preprocess.image_size,
        images=found.images,
        real_images=real,
        largest_logit_error=found.logit_error,
        largest_logit=found.largest,
        tolerance=TOLERANCE * max(1.0, found.largest),
        largest_box_error=found.box_error,
        box_tolerance=BOX_PIXELS,
        boxes_compared=found.boxes,
        same_boxes=found.same,
    )
    _judge(certificate, on_event)
    return certificate


def _judge(proof: ExportCertificate, on_event: Listener) -> None:
    if not proof.passed:
        raise ProofFailed(
            f"the exported {proof.weights!r} gives other answers, no file was written: largest "
            f"logit error {proof.largest_logit_error:.2e}, allowed {proof.tolerance:.2e}; largest "
            f"box error {proof.largest_box_error:.2e} pixels, allowed {proof.box_tolerance}; "
            f"same boxes: {'yes' if proof.same_boxes else 'no'}"
        )
    if not proof.boxes_compared:
        text = f"no box scores above {_SURE_THRESHOLD}: the proof rests on logits and raw boxes"
        on_event(Message(text, "warning"))


@dataclass
class _Comparison:
    images: int = 0
    logit_error: float = 0.0
    box_error: float = 0.0
    largest: float = 0.0
    boxes: int = 0
    same: bool = True


@torch.no_grad()
def _compare(
    found: _Comparison, weights: Weights, answers: Callable[[Tensor], Answer], images: Tensor
) -> None:
    """Adds one batch to ``found``, both in float32."""
    raw = weights.detector(images)
    logits, boxes, bins = answers(images)
    for ours, theirs in ((raw.logits, logits), (raw.bins, bins)):
        found.logit_error = max(found.logit_error, _distance(ours, theirs))
        found.largest = max(found.largest, float(ours.abs().max()))
    found.box_error = max(found.box_error, _distance(decode_boxes(raw), boxes))
    size = weights.preprocess.image_size
    other = RawPredictions(logits, bins, raw.points, raw.strides)
    pairs = [select_detections(value, size, _LOOSE_THRESHOLD, 0.65) for value in (raw, other)]
    for ours, theirs in zip(*pairs, strict=True):
        found.same &= contained(ours, theirs) and contained(theirs, ours)
        found.boxes += int((ours.scores > _SURE_THRESHOLD).sum())
    found.images += len(images)


def _distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference. What is not finite must fail the proof, not slip past a comparison."""
    largest = float((ours - theirs).abs().max())
    return largest if largest == largest else float("inf")


def _onnx_answers(content: bytes, path: Path) -> tuple[Callable[[Tensor], Answer], str]:
    forward, _ = read_onnx(content, path)

    def answers(images: Tensor) -> Answer:
        logits, boxes, bins = forward.run(images, ("logits", "boxes", "bins"))
        return logits, boxes, bins

    return answers, f"onnxruntime {forward.version}"


EXPORTERS: dict[str, Exporter] = {
    "onnx": Exporter(ONNX_SUFFIX, ("onnx", "onnxscript", "onnxruntime"), write_onnx, _onnx_answers),
}
"""Formats by name."""
