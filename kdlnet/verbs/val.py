"""``kdlnet val``: run a network over a split, measure, draw, write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kdlnet.curation.divided import groups_of, tell_groups
from kdlnet.curation.groups import lots_of
from kdlnet.data.folders import image_folders
from kdlnet.data.joined import find_datasets
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.contract import RoiChoice, Seeing, TileChoice
from kdlnet.images.window import Window
from kdlnet.inference.evaluate import VAL_SCORE, detect
from kdlnet.inference.folds import (
    Part,
    choices_of,
    each_fold,
    find_folds,
    folder_of_folds,
    learned_of,
    one_rule,
    open_part,
    require_alike,
)
from kdlnet.inference.runtimes import Runtime
from kdlnet.metrics.analysis import analyse
from kdlnet.metrics.average_precision import (
    AveragePrecision,
    ClassPrecision,
    average_precision,
)
from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.drift import CHANGES, Change, measure_drift
from kdlnet.metrics.errors import Errors, find_errors
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.intervals import Interval
from kdlnet.metrics.rates import PartRates, VerdictReport, measure
from kdlnet.metrics.result import ImageResult
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.report.images import after
from kdlnet.report.pages.calibrated import common_limits
from kdlnet.report.pages.subject import Subject
from kdlnet.report.pages.validation import write_report
from kdlnet.report.validation import draw_validation
from kdlnet.types import ImageSize
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json
from kdlnet.utils.given import AnyPath, Name, as_path, checked
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


@checked
def validate(
    weights: AnyPath,
    *,
    data: Name | Sequence[Name],
    split: str = "val",
    data_root: AnyPath | None = None,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
    roi: RoiChoice = None,
    group_by: str | None = None,
    mm_per_pixel: float | None = None,
    batch: int = 16,
    device: str = "auto",
    out: AnyPath | None = None,
    overwrite: bool = False,
    strict: bool = False,
    pictures: bool = True,
    lot_by: str | None = None,
    folds: bool = False,
    drift: bool = False,
    on_event: Listener = ignore,
) -> EvalResult:
    """Measures ``weights`` on a split and writes report.html, metrics.json, curves and pictures.

    ``data`` is one dataset or several, of which every image counts for the classes of its own.
    Any file that a runtime opens will do: plain, fused, exported. It is measured as it is: unfused
    weights are not fused in memory, as predict does, since that changes the last digits.
    ``image_size``, ``window``, ``tile``, ``overlap`` and ``roi`` replace what the file holds, see
    :func:`~kdlnet.images.contract.adjusted`; the figures are those of whole images all the same,
    and with a region of interest those of all that is in it.
    ``group_by`` names images that belong together, for the intervals, see
    :func:`~kdlnet.curation.groups.find_groups`: by default as ``data split`` grouped them.
    ``lot_by`` is a rule on the image names by which verdicts are counted apart, see
    :func:`~kdlnet.curation.groups.groups_by_rule`.
    ``mm_per_pixel`` of the original image gives the sizes of defects in mm, too.
    With ``folds`` both are folders, see :func:`~kdlnet.inference.folds.find_folds`: each file is
    measured on the part that it never saw, and the figures are of all parts together.
    ``drift`` measures again after each of :data:`~kdlnet.metrics.drift.CHANGES` of the images.
    Raises WeightsError, DataError or ConfigError for what cannot be used.
    """
    weights, data_root, out = as_path(weights), as_path(data_root), as_path(out)
    home = folder_of_folds(data) if folds else None
    pairs = find_folds(weights, home, split) if home else [(weights, data)]
    seen = Seeing(image_size, window, tile, overlap, roi)
    parts = [
        open_part(
            file, find_datasets(name, data_root), split, device, on_event, seen=seen, strict=strict
        )
        for file, name in pairs
    ]
    require_alike(parts)
    runtime = replace(parts[0].runtime, rule=one_rule(parts, on_event))
    judged = choices_of(parts, split)
    groups = groups_of([part.images for part in parts], group_by, on_event)
    tell_groups(groups, split, on_event)
    lots = _lots(parts, lot_by)
    title = home.absolute().name if home else parts[0].info.name
    folder = _folder(parts, title, out, overwrite)
    began = time.perf_counter()
    find = partial(_find, parts, batch, on_event)
    found = find()
    results = [result for each in found for result in each]
    runtime.engine.wait()
    seconds = time.perf_counter() - began
    drifts = []
    for change in CHANGES if drift else ():
        on_event(Message(f"again with {change.name}"))
        after = [result for each in find(change=change) for result in each]
        drifts.append(measure_drift(change, results, after, runtime.rule, runtime.names))
    errors = find_errors(results, runtime.names)
    result = EvalResult(
        folder=folder,
        precision=average_precision(results, runtime.names),
        analysis=analyse(results, runtime.names, errors, groups, mm_per_pixel),
        operating_point=errors.operating_point,
        best_scores=errors.best_scores,
        confusion=errors.confusion.tolist(),
        verdicts=measure(results, runtime.rule, runtime.names, lots),
        images_per_second=len(results) / seconds,
        seconds=seconds,
        weights=weights,
        model=runtime.model,
        fused=runtime.file_fused,
        data=title,
        split=split,
        preprocess=parts[0].dataset.preprocess,
        score_threshold=VAL_SCORE,
        iou_threshold=IOU_THRESHOLD,
        max_detections=MAX_DETECTIONS,
        device=runtime.device,
        learned=learned_of(parts),
        left_out=[line for part in parts for line in part.left_out],
        label_problems=[str(problem) for part in parts for problem in part.loaded.problems],
        folds=each_fold(parts, found) if folds else [],
        drift=drifts,
    )
    _write(result, results, errors, runtime, lots, judged, pictures, on_event)
    return result


def _write(
    result: EvalResult,
    results: list[ImageResult],
    errors: Errors,
    runtime: Runtime,
    lots: list[str] | None,
    judged: Sequence[tuple[Mapping[str, Any], str]],
    pictures: bool,
    on_event: Listener,
) -> None:
    """The files of a validation: the figures first, then pictures, which a disk may not hold."""
    folder = result.folder
    write_json(folder / "environment.json", environment())
    write_json(folder / "metrics.json", result.to_dict())
    calibrations, digests = zip(*judged, strict=True)
    subject = Subject(
        result,
        results,
        errors,
        names=runtime.names,
        rule=runtime.rule,
        calibrations=calibrations,
        lots=lots,
        limits=common_limits(calibrations),
        digests=digests,
    )
    if subject.fitted:
        text = "several thresholds were chosen on these very parts: rates and intervals flatter"
        on_event(Message(text, "warning"))
    with after(folder / "metrics.json"):
        if pictures:
            draw_validation(folder, results, errors, runtime.names, result.preprocess, on_event)
        write_report(folder, subject, pictures, on_event)


def _find(
    parts: Sequence[Part],
    batch: int,
    on_event: Listener,
    change: Change | None = None,
) -> list[list[ImageResult]]:
    """What each part's network finds on its images, or on them after a ``change``."""
    return [
        detect(part.runtime.engine, part.dataset, batch, on_event=on_event, change=change)
        for part in parts
    ]


def _folder(parts: Sequence[Part], title: str, out: Path | None, overwrite: bool) -> Path:
    return new_folder(
        Path("runs/val") / title,
        out,
        overwrite,
        reads=[path for part in parts for path in (part.file, *part.info.sources)],
        images=[path for part in parts for path in part.dataset.paths],
        folders=[folder for part in parts for folder in image_folders(part.info)],
    )


def _lots(parts: Sequence[Part], lot_by: str | None) -> list[str] | None:
    """The lot of each image, None without a rule."""
    if lot_by is None:
        return None
    found = [lots_of(part.info, part.dataset.paths, lot_by) or [] for part in parts]
    return [lot for lots in found for lot in lots]
