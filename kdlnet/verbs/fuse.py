"""Fusing with proof: the fused file is kept only if it answers as the original does."""

from __future__ import annotations

import contextlib
import copy
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset
from kdlnet.errors import KdlnetError, ProofFailed
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.metrics.average_precision import average_precision
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.ops.nms import select_detections
from kdlnet.types import Detections, ImageSize
from kdlnet.utils.device import find_device, prepare, synchronize
from kdlnet.utils.files import write_json

TOLERANCE = 1e-4
"""Largest logit error allowed, as a share of max(1, largest logit)."""
BOX_PIXELS = 0.1
"""Corners of the same box may lie this far apart, in pixels of the network input."""
SCORE_MARGIN = 1e-3
"""Scores of the same box may differ by this much."""
_SCORE_THRESHOLD = 0.05
_RANDOM_IMAGES = 32
_MIN_IMAGES = 32


@dataclass(frozen=True)
class Certificate:
    """What was compared, and the result. Errors are those of class logits and bin logits.

    ``gflops`` are 2 x multiply-adds of one image at the weights' own size; ``latency_ms`` the
    median forward pass of one image on ``device``; AP is None without labelled images.
    """

    weights: str
    fused: str
    images: int
    real_images: bool
    image_size: ImageSize
    device: str
    largest_logit_error: float
    largest_logit: float
    tolerance: float
    boxes_compared: int
    same_boxes: bool
    ap_before: float | None
    ap_after: float | None
    parameters_before: int
    parameters_after: int
    gflops_before: float
    gflops_after: float
    latency_ms_before: float
    latency_ms_after: float
    already_fused: bool = False

    @property
    def passed(self) -> bool:
        """The logits are within the tolerance and the boxes are the same."""
        return self.largest_logit_error <= self.tolerance and self.same_boxes

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "image_size": list(self.image_size), "passed": self.passed}


@dataclass(frozen=True)
class _Comparison:
    images: int
    error: float
    largest: float
    boxes: int
    same: bool


def fuse(
    weights: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    split: str = "val",
    out: Path | None = None,
    overwrite: bool = False,
    images: int | None = None,
    device: str = "cpu",
    on_event: Listener = ignore,
) -> Certificate:
    """Folds ``weights`` into plain convolutions, proves it on images and writes the fused file.

    The images are the ``split`` of ``data`` (``images`` of it, at least 32, all by default), or
    random ones without ``data``. The file is ``out``, by default ``<name>-fused`` beside the
    weights, with its certificate as ``.json`` beside it. A file that is fused already gives its
    certificate and no new file. Raises ProofFailed, and leaves no file, when the answers differ.
    """
    target = find_device(device)
    prepare(target)
    loaded = load_weights(weights, target)
    path = out or weights.with_name(f"{weights.stem}-fused{weights.suffix}")
    if path.suffix not in (".pt", ".safetensors") or path.resolve() == weights.resolve():
        raise KdlnetError(
            f"--out {str(path)!r}: name another file than the weights, with the suffix .pt or "
            ".safetensors"
        )
    if images is not None and images < _MIN_IMAGES:
        raise KdlnetError(f"{images} images are no proof: give --images {_MIN_IMAGES} or more")
    if not loaded.fused and path.exists() and not overwrite:
        raise KdlnetError(f"{str(path)!r} exists: name another --out or add --overwrite")
    dataset = _open(loaded, data, data_root, split, images, on_event)
    fused = copy.copy(loaded)
    fused.detector = fuse_model(loaded.detector).to(memory_format=torch.channels_last)
    fused.fused = True
    fused.training = {}
    certificate = _certify(loaded, fused, path, dataset, target, on_event)
    if loaded.fused:
        on_event(Message(f"{str(weights)!r} is fused already; no file was written"))
        return certificate
    if not certificate.boxes_compared:
        text = f"no box scores above {_SCORE_THRESHOLD}: the proof rests on the logits alone"
        on_event(Message(text, "warning"))
    if not certificate.passed:
        raise ProofFailed(
            f"fusing {str(weights)!r} changes its answers, no file was written: largest logit "
            f"error {certificate.largest_logit_error:.2e}, allowed {certificate.tolerance:.2e}; "
            f"same boxes: {'yes' if certificate.same_boxes else 'no'}"
        )
    save_weights(path, fused)
    write_json(path.with_suffix(".json"), certificate.to_dict())
    return certificate


def _open(
    weights: Weights,
    data: str | None,
    data_root: Path | None,
    split: str,
    images: int | None,
    on_event: Listener,
) -> DetectionDataset | None:
    if data is None:
        on_event(
            Message("no --data given: the proof runs on random images, not on real ones", "warning")
        )
        return None
    info = find_dataset(data, data_root)
    dataset, _ = open_split(weights, info, split, None, False, on_event, limit=images)
    if len(dataset) < _MIN_IMAGES:
        on_event(Message(f"the proof runs on {len(dataset)} images, all of {split!r}", "warning"))
    return dataset


def _certify(
    before: Weights,
    after: Weights,
    path: Path,
    dataset: DetectionDataset | None,
    device: torch.device,
    on_event: Listener,
) -> Certificate:
    with _exact_float32():
        found = _compare(before, after, dataset, device, on_event)
    latency = _latency(before.detector, after.detector, before, device)
    return Certificate(
        weights=str(before.path),
        fused=str(before.path if before.fused else path),
        images=found.images,
        real_images=dataset is not None,
        image_size=before.preprocess.image_size,
        device=str(device),
        largest_logit_error=found.error,
        largest_logit=found.largest,
        tolerance=TOLERANCE * max(1.0, found.largest),
        boxes_compared=found.boxes,
        same_boxes=found.same,
        ap_before=_ap(before, dataset, device, on_event),
        ap_after=_ap(after, dataset, device, on_event),
        parameters_before=_parameters(before.detector),
        parameters_after=_parameters(after.detector),
        gflops_before=_gflops(before.detector, before),
        gflops_after=_gflops(after.detector, before),
        latency_ms_before=latency[0],
        latency_ms_after=latency[1],
        already_fused=before.fused,
    )


@contextlib.contextmanager
def _exact_float32() -> Iterator[None]:
    """Without TF32, whose rounding on recent cards is ten times the tolerance."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


@torch.no_grad()
def _compare(
    before: Weights,
    after: Weights,
    dataset: DetectionDataset | None,
    device: torch.device,
    on_event: Listener,
    batch: int = 8,
) -> _Comparison:
    """Both models on the same images, in float32."""
    count = _RANDOM_IMAGES if dataset is None else len(dataset)
    error, largest, boxes, same = 0.0, 0.0, 0, True
    for start in range(0, count, batch):
        indices = range(start, min(start + batch, count))
        images = _images(before, dataset, indices, device)
        one, two = before.detector(images), after.detector(images)
        for a, b in ((one.logits, two.logits), (one.bins, two.bins)):
            # Python's max drops a NaN: what is not finite must fail the proof, not slip through.
            finite = bool(torch.isfinite(a).all() and torch.isfinite(b).all())
            error = max(error, float((a - b).abs().max()) if finite else math.inf)
            largest = max(largest, float(a.abs().max()) if finite else 0.0)
        size = before.preprocess.image_size
        found = [_candidates(raw, size) for raw in (one, two)]
        for a_loose, b_loose in zip(*found, strict=True):
            same = same and contained(a_loose, b_loose) and contained(b_loose, a_loose)
            boxes += int((a_loose.scores > _SCORE_THRESHOLD).sum())
        on_event(Progress("compare before and after", indices.stop, count))
    return _Comparison(count, error, largest, boxes, same)


def _candidates(raw: Any, size: ImageSize) -> list[Detections]:
    return select_detections(raw, size, _SCORE_THRESHOLD - SCORE_MARGIN, 0.65)


def contained(some: Detections, others: Detections) -> bool:
    """Every box of ``some`` has its like in ``others``.

    Alike are boxes of one label with corners within BOX_PIXELS and scores within SCORE_MARGIN.
    Boxes so close to the threshold that rounding decides about them do not count.
    """
    sure = some.scores > _SCORE_THRESHOLD
    near = (some.boxes[sure][:, None] - others.boxes).abs().amax(dim=-1) <= BOX_PIXELS
    alike = (some.scores[sure][:, None] - others.scores).abs() <= SCORE_MARGIN
    label = some.labels[sure][:, None] == others.labels
    return bool((near & alike & label).any(dim=1).all())


def _images(
    weights: Weights, dataset: DetectionDataset | None, indices: range, device: torch.device
) -> Tensor:
    if dataset is not None:
        return dataset.batch(indices, device).images
    generator = torch.Generator().manual_seed(indices.start)
    shape = (len(indices), weights.preprocess.channels, *weights.preprocess.image_size)
    images = torch.rand(shape, generator=generator)
    return images.to(device, memory_format=torch.channels_last)


def _ap(
    weights: Weights, dataset: DetectionDataset | None, device: torch.device, on_event: Listener
) -> float | None:
    if dataset is None:
        return None
    results = detect(weights.detector, dataset, 8, device, on_event=on_event)
    return average_precision(results, weights.names).ap


def _parameters(detector: Network) -> int:
    return sum(parameter.numel() for parameter in detector.parameters())


@torch.no_grad()
def _gflops(detector: Network, weights: Weights) -> float:
    shape = (1, weights.preprocess.channels, *weights.preprocess.image_size)
    counter = FlopCounterMode(display=False)
    with counter:
        copy.deepcopy(detector).to("meta")(torch.empty(shape, device="meta"))
    return counter.get_total_flops() / 1e9


@torch.no_grad()
def _latency(
    before: Network, after: Network, weights: Weights, device: torch.device, rounds: int = 15
) -> tuple[float, float]:
    """Median milliseconds of one image through each, measured in turn."""
    image = _images(weights, None, range(1), device)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 3):
        for detector, record in zip((before, after), times, strict=True):
            synchronize(device)
            began = time.perf_counter()
            detector(image)
            synchronize(device)
            if number >= 3:
                record.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[0]), statistics.median(times[1])
