"""``kdlnet val``: run a network over a split, measure, draw, write."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from kdlnet.curation.groups import find_groups, lots_of, name_below
from kdlnet.data.catalog import find_dataset
from kdlnet.data.folders import image_folders
from kdlnet.events import Listener, ignore
from kdlnet.images.contract import TileChoice, adjusted
from kdlnet.images.window import Window
from kdlnet.inference.evaluate import VAL_SCORE, detect, open_split
from kdlnet.inference.pipeline import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.inference.runtimes import open_runtime
from kdlnet.metrics.analysis import analyse
from kdlnet.metrics.average_precision import (
    AveragePrecision,
    ClassPrecision,
    average_precision,
)
from kdlnet.metrics.errors import find_errors
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.intervals import Interval
from kdlnet.metrics.rates import PartRates, Rate, VerdictReport, measure
from kdlnet.report.pages.subject import Subject
from kdlnet.report.pages.validation import write_report
from kdlnet.report.validation import draw_validation
from kdlnet.types import ImageSize
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json
from kdlnet.utils.output import new_folder

__all__ = [
    "AveragePrecision",
    "ClassPrecision",
    "EvalResult",
    "Interval",
    "PartRates",
    "Rate",
    "VerdictReport",
    "validate",
]


def validate(
    weights: Path,
    *,
    data: str,
    split: str = "val",
    data_root: Path | None = None,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
    group_by: str | None = None,
    mm_per_pixel: float | None = None,
    batch: int = 16,
    device: str = "auto",
    out: Path | None = None,
    overwrite: bool = False,
    score_threshold: float = VAL_SCORE,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
    strict: bool = False,
    pictures: bool = True,
    lot_by: str | None = None,
    on_event: Listener = ignore,
) -> EvalResult:
    """Measures ``weights`` on a split and writes report.html, metrics.json, curves and pictures.

    Any file that a runtime opens will do: plain, fused, exported. It is measured as it is: unfused
    weights are not fused in memory, as predict does, since that changes the last digits.
    ``image_size``, ``window``, ``tile`` and ``overlap`` replace what the file holds, see
    :func:`~kdlnet.images.contract.adjusted`; the figures are those of whole images all the same.
    ``group_by`` names images that belong together, for the intervals, see
    :func:`~kdlnet.curation.groups.find_groups`: by default each image stands for itself.
    ``lot_by`` is a rule on the image names by which verdicts are counted apart, see
    :func:`~kdlnet.curation.groups.groups_by_rule`.
    ``mm_per_pixel`` of the original image gives the sizes of defects in mm, too.
    Raises WeightsError, DataError or ConfigError for what cannot be used.
    """
    runtime = open_runtime(weights, device=device, fuse=False, image_size=image_size)
    info = find_dataset(data, data_root)
    contract = adjusted(runtime.preprocess, None, window, tile, overlap)
    dataset, loaded = open_split(runtime, info, split, contract, strict, on_event)
    names = [name_below(path, info.root) for path in dataset.paths]
    groups = np.unique(find_groups(group_by, names, dataset.paths), return_inverse=True)[1].tolist()
    lots = lots_of(dataset.paths, info.root, lot_by)
    reads = [weights, info.source]
    default = Path("runs/val") / info.name
    images, wholes = dataset.paths, image_folders(info)
    folder = new_folder(default, out, overwrite, reads=reads, images=images, folders=wholes)
    began = time.perf_counter()
    limits = score_threshold, iou_threshold, max_detections
    results = detect(runtime.engine, dataset, batch, *limits, on_event)
    runtime.engine.wait()
    seconds = time.perf_counter() - began
    errors = find_errors(results, runtime.names)
    if pictures:
        draw_validation(folder, results, errors, runtime.names, dataset.preprocess, on_event)
    result = EvalResult(
        folder=folder,
        precision=average_precision(results, runtime.names, max_detections),
        analysis=analyse(results, runtime.names, errors, groups, max_detections, mm_per_pixel),
        operating_point=errors.operating_point,
        best_scores=errors.best_scores,
        confusion=errors.confusion.tolist(),
        verdicts=measure(results, runtime.rule, runtime.names, lots),
        images_per_second=len(results) / seconds,
        seconds=seconds,
        weights=weights,
        model=runtime.model,
        fused=runtime.file_fused,
        data=info.name,
        split=split,
        preprocess=dataset.preprocess,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        device=runtime.device,
        left_out=[*loaded.left_out, *dataset.unreadable],
        label_problems=[str(problem) for problem in loaded.problems],
    )
    write_json(folder / "environment.json", environment())
    write_json(folder / "metrics.json", result.to_dict())
    subject = Subject(
        result,
        results,
        errors,
        names=runtime.names,
        rule=runtime.rule,
        calibration=runtime.calibration,
        lots=lots,
    )
    write_report(folder, subject, pictures, on_event)
    return result
