"""``report.html`` of a validation: one file that answers whether the model may go on the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kdlnet import __version__
from kdlnet.events import Listener, ignore
from kdlnet.metrics.average_precision import AveragePrecision, ClassPrecision
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.intervals import FigureIntervals
from kdlnet.metrics.rates import PartRates, tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.report.pages.analysis import precision_range, sections
from kdlnet.report.pages.answer import live
from kdlnet.report.pages.counting import BoxCounts, count_boxes
from kdlnet.report.pages.curves import precision_recall, trade
from kdlnet.report.pages.drift import drift_section
from kdlnet.report.pages.evidence import Boxes, column, evidence, interval_tables, pool
from kdlnet.report.pages.first import first_screen, rates_of
from kdlnet.report.pages.pictures import Cut, Key, Pictures, around, draw, wanted
from kdlnet.report.pages.render import MEGABYTES, render
from kdlnet.report.pages.subject import Subject
from kdlnet.report.pages.suspects import suspect_rows, suspect_section
from kdlnet.report.pages.words import common_folder, visible
from kdlnet.report.relabel import write_relabel
from kdlnet.utils.files import write_atomic

_MOST_PROBLEMS = 200
_MOST_LOTS = 300
_NAMES = 400_000  # letters of file names
Context = dict[str, Any]


def write_report(
    folder: Path, subject: Subject, pictures: bool = True, on_event: Listener = ignore
) -> None:
    """``report.html``, and where there are suspicious labels the folder ``suspicious``."""
    page = validation_page(subject, pictures, on_event)
    write_atomic(folder / "report.html", page.encode())
    suspects = subject.result.analysis.suspects
    write_relabel(folder / "suspicious", suspects, subject.images, subject.names)


def validation_page(subject: Subject, pictures: bool = True, on_event: Listener = ignore) -> str:
    """The page; without ``pictures`` it has none and its gallery is left out."""
    parts = tabulate_parts(subject.images, subject.rule, len(subject.names))
    boxes = pool(subject.images, subject.rule.lowest)
    sizes = [image.size for image in subject.images]
    found = evidence(parts, boxes, max((max(size) for size in sizes), default=1))
    pictures = pictures and found is not None and bool(subject.images)
    context = {
        **first_screen(subject),
        **_sections(subject, boxes, pictures),
        "trade": trade(parts),
        "data": None if found is None else {**_data(subject), "evidence": found},
    }
    if not pictures:
        return render("validation.html", **context)
    best = parts.scores.max(axis=1).astype(np.float64)
    suspects = [
        around(row.image, sizes[row.image], np.array(row.box)) for row in suspect_rows(subject)
    ]
    asked = wanted(sizes, best, parts.defective, boxes, suspects)
    return _with_pictures(context, subject, asked, on_event)


def _with_pictures(
    context: Context, subject: Subject, asked: Mapping[Key, Cut], on_event: Listener
) -> str:
    """The page is written twice: how large it is without pictures says how many it may have."""
    data = context["data"]
    data["pictures"] = Pictures((), (), {}).to_dict()
    left = MEGABYTES * 1e6 - len(render("validation.html", **context).encode())
    paths = [Path(image.name) for image in subject.images]
    window = subject.result.preprocess.window
    data["pictures"] = draw(asked, paths, left, window, on_event).to_dict()
    return render("validation.html", **context)


def _sections(subject: Subject, boxes: Boxes, pictures: bool) -> Context:
    counts = count_boxes(boxes, subject.rule, len(subject.names))
    total = sum(counts, BoxCounts(0, 0, 0))
    result = subject.result
    problems = result.problems
    lots = _lots(result.verdicts.per_lot)
    extra = list(sections(result.analysis, result.confusion, subject.thresholds))
    if result.drift:
        extra.append(drift_section(result, subject.limits))
    if result.analysis.suspects.boxes:
        extra.append(suspect_section(subject, _names(subject.images), pictures))
    names = [("setting", "The setting")]
    names += [("pictures", "Pictures")] if pictures else []
    names += [("classes", "Kinds of defect")]
    names += [("lots", "Lots")] if lots else []
    names += [(section.id, section.name) for section in extra]
    return {
        "sections": [*names, ("measured", "How it was measured")],
        "extra": extra,
        "live": live(rates_of(result), total.missed, total.extra),
        "box_texts": {name: f"{getattr(total, name):,}" for name in ("found", "missed", "extra")},
        "box_counts": total,
        "overall": result.verdicts.overall,
        "limits": subject.limits,
        "precision": _precision(result.precision, result.analysis.intervals.overall),
        "classes": [
            _class(subject, name, row) for name, row in zip(subject.names, counts, strict=True)
        ],
        "curves": precision_recall(subject.errors.curves),
        "lots": lots,
        "settings": _settings(result),
        "problems": problems[:_MOST_PROBLEMS],
        "problem_count": len(problems),
    }


def _class(subject: Subject, name: str, counts: BoxCounts) -> Context:
    rates = subject.result.verdicts.per_class[name]
    result = subject.result
    intervals = result.analysis.intervals.per_class[name]
    return {
        "name": visible(name),
        "escape": rates.escape,
        "overkill": rates.overkill,
        "found": counts.found,
        "missed": counts.missed,
        "extra": counts.extra,
        **_precision(result.precision.per_class[name], intervals),
    }


def _precision(found: AveragePrecision | ClassPrecision, intervals: FigureIntervals) -> Context:
    ends = {
        f"{name}_range": precision_range(intervals.figures.get(name)) for name in ("ap", "ap50")
    }
    return {"ap": found.ap, "ap50": found.ap50, **ends}


def _lots(per_lot: Mapping[str, PartRates]) -> list[Context]:
    return [
        {"name": visible(name), "escape": rates.escape, "overkill": rates.overkill}
        for name, rates in list(per_lot.items())[:_MOST_LOTS]
    ]


def _settings(result: EvalResult) -> list[tuple[str, str]]:
    height, width = result.preprocess.image_size
    tiling, roi = result.preprocess.tiling, result.preprocess.roi
    return [
        ("Weights", f"{result.weights}{' (fused)' if result.fused else ''}"),
        ("Model", result.model),
        ("Data", f"{result.data}, {result.split}"),
        (
            "Boxes that count for AP",
            f"from score {result.score_threshold:g}, "
            f"NMS at IoU {result.iou_threshold:g}, at most {result.max_detections} a picture",
        ),
        (
            "Picture size",
            f"{width} x {height}"
            + (f", tiles of {tiling.size[1]} x {tiling.size[0]}" if tiling else "")
            + (f", region {','.join(map(str, roi))} of a picture" if roi else ""),
        ),
        ("Device", f"{result.device}, {result.images_per_second:.1f} images per second"),
        ("kdlnet", __version__),
    ]


def _data(subject: Subject) -> Context:
    """What the script reads, the counts themselves aside."""
    rules = [subject.rule.of(label) for label in range(len(subject.names))]
    verdicts = subject.result.verdicts
    judged = [
        verdicts.overall,  # first: of very many parts not every interval finds room
        *list(verdicts.per_lot.values())[:_MOST_LOTS],
        *verdicts.per_class.values(),
    ]
    sizes = [n for r in judged for n in (r.escape.of, r.overkill.of)]
    sizes.append(verdicts.overall.unsure.of)
    return {
        "names": [visible(name) for name in subject.names],
        "rule": {"ng": [rule.score for rule in rules], "ask": [rule.lower for rule in rules]},
        "chosen": subject.chosen,
        "grouped": subject.grouped,
        "limits": {"escape": subject.limits.escape, "overkill": subject.limits.overkill},
        "intervals": interval_tables(sizes),
        "images": _names(subject.images),
        "lots": _lot_column(subject),
        "suspects": [asdict(row) for row in suspect_rows(subject)],
        "pictures": None,
    }


def _names(images: Sequence[ImageResult]) -> list[str]:
    """File names from the folder on that is common to all; "" where they would be too many."""
    names = [image.name.replace("\\", "/") for image in images]
    start = len(common_folder(names))
    left, shown = _NAMES, []
    for name in names:
        text = visible(name[start:])
        left -= len(text)
        shown.append(text if left > 0 else "")
    return shown


def _lot_column(subject: Subject) -> Context | None:
    if subject.lots is None:
        return None
    place = {lot: row for row, lot in enumerate(subject.result.verdicts.per_lot)}
    return {"of": column([place[lot] for lot in subject.lots], "u2")}
