"""A made-up validation: parts with and without defects, boxes right and wrong, hostile names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kdlnet.metrics.analysis import analyse
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.errors import find_errors
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.rates import measure
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.subject import Subject
from kdlnet.types import Preprocess

NAMES = ("dent", "</script><b>crack", "pit 'n' \"hole\"")
HOSTILE = "<img src=x onerror=alert(1)> & \x1b[31m\u202e.png"


def made_images(
    folder: Path, count: int = 30, seed: int = 0, good: int = 3, classes: int = len(NAMES)
) -> list[ImageResult]:
    """``count`` results whose files lie in ``folder``; every ``good``-th part has no true box."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        height, width = int(rng.integers(60, 120)), int(rng.integers(60, 160))
        name = HOSTILE if number == 0 else f"{number:03}.png"
        file = folder / name.replace("/", "_")
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        truths = 0 if good and number % good == 0 else int(rng.integers(1, 4))
        found.append(_image(rng, (height, width), truths, classes, str(file)))
    return found


def _image(
    rng: np.random.Generator, size: tuple[int, int], truths: int, classes: int, name: str
) -> ImageResult:
    truth_boxes = _boxes(rng, size, truths)
    truth_labels = rng.integers(0, classes, truths)
    near = truth_boxes + rng.normal(0, 2, truth_boxes.shape)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    loose = _boxes(rng, size, int(rng.integers(0, 5)))
    boxes = np.concatenate([near, loose])
    labels = np.concatenate([truth_labels, rng.integers(0, classes, len(loose))])
    scores = np.concatenate([rng.beta(4, 2, truths), rng.beta(2, 5, len(loose))])
    slips = rng.uniform(size=len(scores))  # surely false, or hardly found: labels to check
    scores[truths:][slips[truths:] < 0.15] = 0.97
    scores[:truths][slips[:truths] < 0.15] = 0.01
    scores = scores.astype(np.float32).astype(np.float64)
    return ImageResult(boxes, scores, labels, truth_boxes, truth_labels, size, name)


def _boxes(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    height, width = size
    low = rng.uniform(0, 0.7, (count, 2)) * (width, height)
    high = low + rng.uniform(5, 18, (count, 2))
    return np.concatenate([low, high], axis=1)


def made_subject(
    images: Sequence[ImageResult],
    names: Sequence[str] = NAMES,
    rule: VerdictRule | None = None,
    lots: Sequence[str] | None = None,
    **more: Any,
) -> Subject:
    """What a page of these results speaks of."""
    rule = rule or VerdictRule.at(0.5)
    errors = find_errors(images, names)
    result = EvalResult(
        folder=Path("runs/val/made"),
        precision=average_precision(images, names),
        operating_point=errors.operating_point,
        best_scores=errors.best_scores,
        confusion=errors.confusion.tolist(),
        verdicts=measure(images, rule, names, lots),
        analysis=analyse(images, names, errors),
        images_per_second=10.0,
        seconds=1.0,
        weights=Path("best.pt"),
        model="lightnet-n",
        fused=False,
        data="made <i>",
        split="test",
        preprocess=Preprocess((64, 64)),
        score_threshold=0.001,
        iou_threshold=0.65,
        max_detections=300,
        device="cpu",
        learned=None,
        left_out=[],
        label_problems=["row 3 of \x1b[31m<a> was dropped"],
    )
    return Subject(result, images, errors, names, rule, lots=lots, **more)
