"""Two runtimes on the same images: how far their answers lie apart, and whether that is too far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from kdlnet.data.dataset import DetectionDataset
from kdlnet.events import Listener, Progress, ignore
from kdlnet.inference.alike import SURE_SCORE, contained, farthest, kept_alike
from kdlnet.inference.arrays import SuppressedArrays
from kdlnet.inference.evaluate import detect
from kdlnet.inference.probe_images import MADE_UP_IMAGES
from kdlnet.inference.proof import Parity, Tolerance
from kdlnet.inference.runtimes import Runtime
from kdlnet.inference.suppressed import suppressed_detections
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.ops.decode import decode_boxes
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_CANDIDATES, MAX_DETECTIONS
from kdlnet.ops.nms import all_candidates, select_detections
from kdlnet.types import (
    DetectionArrays,
    Detections,
    Forward,
    ImageSize,
    RawPredictions,
)
from kdlnet.utils.device import exact_float32

_BATCH = 8

_Scored = DetectionArrays | ImageResult

WithBoxes = Callable[[Tensor], tuple[RawPredictions | SuppressedArrays, Tensor]]
"""Images to predictions and to the boxes (B, A, 4) of all points, in pixels of the input."""


def with_boxes(forward: Forward) -> WithBoxes:
    """``forward`` with the boxes that its bins stand for."""

    def answer(images: Tensor) -> tuple[RawPredictions, Tensor]:
        raw = forward(images)
        return raw, decode_boxes(raw)

    return answer


def answers_of(runtime: Runtime) -> WithBoxes:
    """What the file of a runtime says, as tensors on the CPU.

    The boxes are those that it decodes itself, where it does.
    """
    own = runtime.with_boxes
    if own is None:
        return with_boxes(runtime.engine.run)

    def answer(images: Tensor) -> tuple[RawPredictions | SuppressedArrays, Tensor]:
        raw, boxes = own(np.ascontiguousarray(images.numpy()))
        if isinstance(raw, SuppressedArrays):
            return raw, torch.from_numpy(boxes)
        parts = (raw.logits, raw.bins, raw.points, raw.strides, boxes)
        logits, bins, points, strides, decoded = map(torch.from_numpy, parts)
        return RawPredictions(logits, bins, points, strides), decoded

    return answer


def compare(
    before: Forward,
    after: WithBoxes,
    images: DetectionDataset | Iterable[Tensor],
    *,
    names: Sequence[str],
    image_size: ImageSize,
    rule: VerdictRule,
    tolerance: Tolerance,
    device: torch.device | str = "cpu",
    task: str = "compare before and after",
    on_event: Listener = ignore,
) -> Parity:
    """Runs both in float32 on ``images``: a labelled split, or batches of network input.

    Of a split all is compared that val sees, AP and verdicts on whole images; the verdict of a bare
    input is that of its boxes. A single image and a batch are both tried.
    """
    pair = _Pair(before, after, image_size, rule, tolerance)
    with exact_float32(), torch.no_grad():
        if isinstance(images, DetectionDataset):
            found = _on_dataset(pair, images, names, torch.device(device), task, on_event)
        else:
            for batch in images:
                pair(batch)
                on_event(Progress(task, pair.images, MADE_UP_IMAGES))
            found = _Effect(pair.images, pair.flips)
    return pair.parity(found, isinstance(images, DetectionDataset))


@dataclass(frozen=True, slots=True)
class _Effect:
    """What the differences do to whole images."""

    images: int
    flips: int
    ap_before: float | None = None
    ap_after: float | None = None


class _Pair:
    """A network that answers as ``after`` and is compared with ``before`` at every call.

    Several threads may call.
    """

    def __init__(
        self,
        before: Forward,
        after: WithBoxes,
        image_size: ImageSize,
        rule: VerdictRule,
        tolerance: Tolerance,
    ) -> None:
        self.before, self.after = before, after
        self._size, self._rule, self._tolerance = image_size, rule, tolerance
        # Where nothing is judged the usual margins say whether boxes are the same.
        usual = Tolerance()
        self._margins = (
            tolerance.box_pixels or usual.box_pixels or 0.0,
            tolerance.score or usual.score or 0.0,
        )
        self._lowest = min(SURE_SCORE - self._margins[1], rule.lowest)
        self.images, self.boxes, self.flips = 0, 0, 0
        self.logit_error: float | None = 0.0
        self.largest, self.box_error = 0.0, 0.0
        self.same = True
        self._lock = Lock()

    def __call__(self, images: Tensor) -> RawPredictions | SuppressedArrays:
        one, (two, two_boxes) = self.before(images), self.after(images)
        with self._lock:
            self.images += len(images)
            if isinstance(two, SuppressedArrays):
                self._compare_rows(one, two)
            else:
                self._compare_points(one, two, two_boxes)
        return two

    def _compare_points(self, one: RawPredictions, two: RawPredictions, two_boxes: Tensor) -> None:
        for ours, theirs in ((one.logits, two.logits), (one.bins, two.bins)):
            self.logit_error = max(self.logit_error or 0.0, _distance(ours, theirs))
            self.largest = max(self.largest, _largest(ours))
        self.box_error = max(self.box_error, _distance(decode_boxes(one), two_boxes))
        found = (self._found(one), self._found(two), self._candidates(one), self._candidates(two))
        for a, b, all_of_a, all_of_b, logits in zip(*found, one.logits, strict=True):
            cut = _cut(logits)
            self.same &= contained(a, all_of_b, *self._margins, cut)
            self.same &= contained(b, all_of_a, *self._margins, cut)
            self.boxes += int((a.scores > SURE_SCORE).sum())
            self.flips += self.flipped(a.arrays(), b.arrays())

    def _compare_rows(self, one: RawPredictions, two: SuppressedArrays) -> None:
        """Of a file that suppresses boxes itself: each of them and their like, both ways."""
        self.logit_error = None
        rows = suppressed_detections(two, self._lowest, IOU_THRESHOLD, MAX_DETECTIONS)
        ours = self._found(one), self._candidates(one), one.logits
        for b, a, all_of_a, logits in zip(rows, *ours, strict=True):
            found, cut = (
                Detections(*map(torch.from_numpy, (b.boxes, b.scores, b.labels))),
                _cut(logits),
            )
            error = farthest(found, all_of_a, self._margins[1], cut)
            if math.isfinite(error):  # one without a like is none of the same boxes
                self.box_error = max(self.box_error, error)
            self.same &= error <= self._margins[0] and kept_alike(a, found, *self._margins, cut)
            self.boxes += int((a.scores > SURE_SCORE).sum())
            self.flips += self.flipped(a.arrays(), b)

    def _found(self, raw: RawPredictions) -> list[Detections]:
        return select_detections(raw, self._size, self._lowest, IOU_THRESHOLD)

    def _candidates(self, raw: RawPredictions) -> list[Detections]:
        """Boxes before the suppression, in which rounding decides between equals.

        Of two boxes that overlap and score the same to seven digits either may be kept.
        """
        return all_candidates(raw, self._size, max(self._lowest, SURE_SCORE / 2))

    def flipped(self, before: _Scored, after: _Scored) -> bool:
        """Whether the two sides give one image different verdicts."""
        return self._rule.verdict(before) != self._rule.verdict(after)

    def parity(self, found: _Effect, real: bool) -> Parity:
        tolerance, allowed = self._tolerance, self._tolerance.flips
        share = tolerance.logits
        return Parity(
            images=found.images,
            real_images=real,
            image_size=self._size,
            largest_logit_error=self.logit_error,
            largest_logit=self.largest,
            tolerance=None if share is None else share * max(1.0, self.largest),
            largest_box_error=self.box_error,
            box_tolerance=tolerance.box_pixels,
            boxes_compared=self.boxes,
            same_boxes=self.same,
            same_boxes_needed=tolerance.score is not None,
            score_threshold=self._rule.score,
            verdict_flips=found.flips,
            flips_allowed=None if allowed is None else math.floor(allowed * found.images + 1e-9),
            ap_before=found.ap_before,
            ap_after=found.ap_after,
            ap_loss_allowed=tolerance.ap_loss,
        )


def _cut(logits: Tensor) -> float:
    """The score below which no candidate of an image votes; 0 where all may. (A, C) logits."""
    if logits.numel() <= MAX_CANDIDATES:
        return 0.0
    return float(logits.flatten().topk(MAX_CANDIDATES).values[-1].sigmoid())


def _distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference; infinite where shapes differ or a value is not finite.

    Python's max drops a NaN: it must fail the proof, not slip through.
    """
    if ours.shape != theirs.shape or not bool(ours.isfinite().all() & theirs.isfinite().all()):
        return math.inf
    return float((ours - theirs).abs().max())


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if bool(values.isfinite().all()) else 0.0


def _on_dataset(
    pair: _Pair,
    dataset: DetectionDataset,
    names: Sequence[str],
    device: torch.device,
    task: str,
    on_event: Listener,
) -> _Effect:
    pair(dataset.batch(range(1), device).images)
    pair.boxes = 0  # this image comes again
    before, after = (
        detect(TorchEngine(network, device), dataset, _BATCH, on_event=_titled(title, on_event))
        for network, title in ((pair.before, "answers before"), (pair, task))
    )
    flips = sum(pair.flipped(a.judged, b.judged) for a, b in zip(before, after, strict=True))
    if not math.isfinite((pair.logit_error or 0.0) + pair.box_error):  # no box is worth counting
        return _Effect(len(before), flips)
    return _Effect(len(before), flips, _ap(before, names), _ap(after, names))


def _ap(results: list[ImageResult], names: Sequence[str]) -> float | None:
    return average_precision(results, names).ap


def _titled(task: str, on_event: Listener) -> Listener:
    """Progress under the name of ``task``."""
    return lambda event: on_event(
        replace(event, task=task) if isinstance(event, Progress) else event
    )
