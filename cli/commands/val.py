"""``kdlnet val``: average precision of weights on a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

from ..console import Console, figure
from ..datasets import sets_of
from ..errors import UsageProblem
from ..options import (
    Batch,
    DataNames,
    DataRoot,
    Json,
    LotBy,
    Out,
    Overwrite,
    Quiet,
    RunnableArgument,
    RunnableDevice,
    Split,
    Strict,
    Weights,
    above_zero,
    given,
    one_weights,
    option,
)
from ..seeing import ImageSize, Overlap, Roi, Tile, Window, seeing
from .data_split import GroupBy

if TYPE_CHECKING:
    from kdlnet.verbs.val import (
        AveragePrecision,
        ClassPrecision,
        EvalResult,
        Interval,
        PartRates,
        Rate,
        VerdictReport,
    )

_LABELS = {"ap": "AP", "ap50": "AP50", "recall": "recall"}


def val(
    weights_file: RunnableArgument = None,
    weights: Weights = None,
    data: DataNames = None,
    data_root: DataRoot = None,
    split: Split = None,
    image_size: ImageSize = None,
    window: Window = None,
    tile: Tile = None,
    overlap: Overlap = None,
    roi: Roi = None,
    group_by: GroupBy = None,
    mm_per_pixel: Annotated[
        float | None,
        option(
            "--mm-per-pixel",
            metavar="MM",
            callback=above_zero,
            help="Size of a pixel of the file: sizes in mm, too.",
        ),
    ] = None,
    batch: Batch = None,
    device: RunnableDevice = None,
    pictures: Annotated[
        bool | None,
        option("--pictures/--no-pictures", help="Draw what was found and missed [on]."),
    ] = None,
    lot_by: LotBy = None,
    folds: Annotated[
        Path | None,
        option(
            "--folds",
            metavar="RUNS",
            help="Pool fold-1, fold-2 ... of this folder, each on its part of --data.",
        ),
    ] = None,
    drift: Annotated[
        bool,
        option("--drift", help="Measure again under other light, blur and noise."),
    ] = False,
    out: Out = None,
    overwrite: Overwrite = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the precision of weights on a dataset.

    AP over all, per class and per size, and how many defective parts would pass and good ones be
    rejected, all with 95 % intervals. The folder (runs/val/NAME unless --out) gets report.html:
    may it go on the line? Also metrics.json, plots, pictures and suspicious labels.

    \b
    kdlnet val runs/train/neu-det/weights/best.pt --data neu-det --split test
    kdlnet val --folds runs/folds --data folds
    """
    if folds is not None and (weights_file or weights):
        raise UsageProblem("--folds and weights exclude each other: leave one out")
    file = one_weights(weights_file, weights) if folds is None else folds
    sets = sets_of(data)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.val import validate

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            result = validate(
                file,
                data=sets,
                on_event=printer,
                overwrite=overwrite,
                strict=strict,
                **seeing(image_size, window, tile, overlap, roi),
                **given(split=split, data_root=data_root, group_by=group_by, batch=batch),
                **given(device=device, out=out, pictures=pictures),
                **given(lot_by=lot_by, mm_per_pixel=mm_per_pixel),
                **given(folds=True if folds is not None else None, drift=drift or None),
            )
        _show(console, result)


def _show(console: Console, result: EvalResult) -> None:
    found = result.precision
    rows = [_row("all", found)]
    rows += [_row(name, values) for name, values in found.per_class.items()]
    console.table(("class", "boxes", "AP", "AP50", "AP75", "recall"), rows)
    if result.folds:
        parts = [
            (fold.data.parent.name, *map(figure, (fold.images, fold.boxes, fold.ap, fold.ap50)))
            for fold in result.folds
        ]
        console.table(("fold", "images", "boxes", "AP", "AP50"), parts)
    cells = ", ".join(f"{name} {figure(value)}" for name, value in found.per_size.items())
    console.say(f"AP by size: {cells}")
    console.say(_headline(result))
    for line in _inspection(result):
        console.say(line)
    show_verdicts(console, result.verdicts)
    if result.drift:
        _show_drift(console, result)
    problems = (
        f", {counted(len(result.problems), 'problem')} in the data" if result.problems else ""
    )
    console.say(f"{counted(found.images, 'image')}{problems}; all is in {shown(result.folder)}")
    console.document({"folder": result.folder, **result.to_dict(), "problems": result.problems})


def _show_drift(console: Console, result: EvalResult) -> None:
    """A line each: as it is, and under each change."""
    found = result.precision
    rows = [("nothing changed", found.ap, found.ap50, result.verdicts.overall, 0)]
    rows += [(one.change.name, one.ap, one.ap50, one.rates, one.flips) for one in result.drift]
    cells = [
        (name, figure(ap), figure(ap50), *_counts(rates), str(flips))
        for name, ap, ap50, rates, flips in rows
    ]
    console.table(("images with", "AP", "AP50", "passed", "rejected", "other verdicts"), cells)


def _counts(rates: PartRates) -> Iterator[str]:
    """Defective parts passed and good ones rejected, of how many."""
    for rate in (rates.escape, rates.overkill):
        yield f"{rate.count} of {rate.of}"


def show_verdicts(console: Console, found: VerdictReport) -> None:
    """Escape and overkill with their intervals, by class and lot where there are several."""
    rows = [(name, *_rates(rates)) for name, rates in found.per_class.items()]
    if len(rows) > 1:
        console.table(("class", *_RATES), rows)
    if found.per_lot:
        lots = [(name, *_rates(rates)) for name, rates in found.per_lot.items()]
        console.table(("lot", *_RATES), lots)
    for line in found.lines():
        console.say(line)


_RATES = ("defective", "passed", "escape", "unsure", "good", "rejected", "overkill")


def _rates(found: PartRates) -> tuple[str, ...]:
    escape, overkill = found.escape, found.overkill
    unsure = found.defective["UNSURE"] + found.good["UNSURE"]
    left = (escape.of, escape.count, _interval(escape), unsure)
    return tuple(map(str, (*left, overkill.of, overkill.count, _interval(overkill))))


def _interval(rate: Rate) -> str:
    if rate.value is None:
        return "-"
    low, share, high = rate.shares()
    return f"{share} ({low} to {high})"


def _row(name: str, found: AveragePrecision | ClassPrecision) -> tuple[str, ...]:
    values = (found.truths, found.ap, found.ap50, found.ap75, found.recall)
    return (name, *map(figure, values))


def _headline(result: EvalResult) -> str:
    """AP, AP50 and recall with their intervals, and what they rest on."""
    found = result.analysis.intervals
    cells = [f"{label} {_cell(found.overall.figures[name])}" for name, label in _LABELS.items()]
    boxes = counted(found.overall.boxes, "box", "boxes")
    support = f"{boxes} in {counted(found.overall.images, 'image')}"
    if found.groups != found.images:
        support += f" of {counted(found.overall.groups, 'group')}"
    return f"{', '.join(cells)}: 95 % intervals, {support}"


def _cell(value: Interval) -> str:
    if value.low is None:
        return f"{figure(value.value)} (no interval: {value.reason})"
    return f"{figure(value.value)} ({figure(value.low)} to {figure(value.high)})"


def _inspection(result: EvalResult) -> tuple[str, ...]:
    """FROC, POD and calibration, a line each."""
    found = result.analysis
    size, ece = found.pod.a90_95, found.calibration.overall
    if size.px is None:
        a90_95 = f"not defined: {size.reason}"
    else:
        in_mm = "" if size.mm is None else f" ({size.mm:.2f} mm)"
        a90_95 = f"{size.px:.1f} px{in_mm}, from there on 90 % are found, at 95 % confidence"
    calibrated = figure(ece.ece) if ece.reason is None else f"not defined: {ece.reason}"
    return (
        f"FROC, mean recall at 1/8 to 8 false calls per image: {_cell(found.froc.overall.mean)}",
        f"a90/95 {a90_95}",
        f"calibration error of the scores: {calibrated}",
    )
