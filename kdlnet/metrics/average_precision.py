"""COCO average precision, computed in C++ by faster-coco-eval.

The numbers equal those of pycocotools on the same predictions. Both libraries print a summary
with fixed limits of 100 boxes an image, so everything here is read from the arrays behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from faster_coco_eval.core.coco import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from kdlnet.metrics.result import Floats, ImageResult, Ints
from kdlnet.ops.arrays import box_area
from kdlnet.ops.limits import MAX_DETECTIONS

__all__ = ["AveragePrecision", "ClassPrecision", "ImageResult", "average_precision"]

SIZES = ("small", "medium", "large")
_IOU_50, _IOU_75 = 0, 5  # positions in 0.50, 0.55, ..., 0.95
_ALL_SIZES = 0


@dataclass(frozen=True, slots=True)
class ClassPrecision:
    """One class. Values in [0, 1], None without true boxes; ``truths`` counts those.

    ``recall`` is the mean over IoU 0.50:0.95 of the share of true boxes found, ``recall50`` the
    share found at IoU 0.5.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    recall: float | None
    recall50: float | None
    truths: int


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO figures of a set of images: means over the classes that have true boxes.

    ``per_size`` is AP over the true boxes below 32x32, up to 96x96 and above (areas in pixels of
    the original image). Values in [0, 1]; None where there is no true box to find.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    recall: float | None
    recall50: float | None
    per_class: dict[str, ClassPrecision]
    per_size: dict[str, float | None]
    images: int
    truths: int

    def to_dict(self) -> dict[str, Any]:
        """Nested builtins, ready for JSON."""
        return asdict(self)


def average_precision(
    results: Sequence[ImageResult], names: Sequence[str], max_detections: int = MAX_DETECTIONS
) -> AveragePrecision:
    """COCO AP of ``results`` for the classes ``names``.

    Of every class and image the ``max_detections`` boxes with the highest scores count, as in
    COCO. Detections of a class without true boxes do not enter any mean. Same input, same
    output: equal scores keep the order of the images.
    """
    if not len(results) or not len(names):
        shape = (10, 101, len(names), 4)
        precision, recall = np.full(shape, np.nan), np.full((10, len(names), 4), np.nan)
    else:
        precision, recall = _evaluate(results, len(names), max_detections)
    labels = [result.truth_labels for result in results] or [np.zeros(0, np.int64)]
    truths = np.bincount(np.concatenate(labels), minlength=len(names))
    overall = _figures(precision[:, :, :, _ALL_SIZES], recall[:, :, _ALL_SIZES])
    return AveragePrecision(
        **overall,
        per_class={
            name: ClassPrecision(
                **_figures(precision[:, :, [c], _ALL_SIZES], recall[:, [c], _ALL_SIZES]),
                truths=int(truths[c]),
            )
            for c, name in enumerate(names)
        },
        per_size={size: _mean(precision[:, :, :, 1 + s]) for s, size in enumerate(SIZES)},
        images=len(results),
        truths=int(truths.sum()),
    )


def _evaluate(
    results: Sequence[ImageResult], classes: int, max_detections: int
) -> tuple[Floats, Floats]:
    """Precision (IoU, recall step, class, size), recall (IoU, class, size); nan without truth."""
    images = [
        {"id": index, "height": result.size[0], "width": result.size[1]}
        for index, result in enumerate(results, start=1)
    ]
    categories = [{"id": c, "name": str(c)} for c in range(1, classes + 1)]
    truth = _index(images, categories, _truth_rows(results))
    found = _index(images, categories, _detection_rows(results))
    evaluation = COCOeval_faster(truth, found, iouType="bbox", print_function=_silent)
    evaluation.params.maxDets = [max_detections]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], dtype=np.float64)[..., 0]
    recall = np.asarray(evaluation.eval["recall"], dtype=np.float64)[..., 0]
    # The evaluator marks what has no true box with -1.
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


def _index(
    images: list[dict[str, Any]], categories: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> COCO:
    coco = COCO(print_function=_silent)
    coco.dataset = {"images": images, "categories": categories, "annotations": rows}
    coco.createIndex()
    return coco


def _truth_rows(results: Sequence[ImageResult]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image, result in enumerate(results, start=1):
        for row in _rows(image, result.truth_boxes, result.truth_labels):
            row["iscrowd"] = 0
            rows.append(row)
    return _numbered(rows)


def _detection_rows(results: Sequence[ImageResult]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image, result in enumerate(results, start=1):
        usable = result.usable
        boxes = _rows(image, result.boxes[usable], result.labels[usable])
        for row, score in zip(boxes, result.scores[usable].tolist(), strict=True):
            row["score"] = score
            rows.append(row)
    return _numbered(rows)


def _numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ids are 1 and up: the evaluator takes 0 for "not matched"."""
    for number, row in enumerate(rows, start=1):
        row["id"] = number
    return rows


def _rows(image: int, boxes: Floats, labels: Ints) -> list[dict[str, Any]]:
    """COCO rows of one image, their ids still missing."""
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    areas = box_area(boxes).tolist()
    return [
        {"image_id": image, "category_id": label + 1, "bbox": corner, "area": area}
        for corner, area, label in zip(corners, areas, labels.tolist(), strict=True)
    ]


def _figures(precision: Floats, recall: Floats) -> dict[str, float | None]:
    """Means over precision (IoU, recall step, class) and recall (IoU, class)."""
    return {
        "ap": _mean(precision),
        "ap50": _mean(precision[_IOU_50]),
        "ap75": _mean(precision[_IOU_75]),
        "recall": _mean(recall),
        "recall50": _mean(recall[_IOU_50]),
    }


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _silent(*_: object) -> None:
    """Takes the place of the evaluator's print function."""
