"""``kdlnet compare``: what is better, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

from ..console import Console, figure
from ..datasets import sets_of
from ..options import (
    Batch,
    DataNames,
    DataRoot,
    Json,
    Out,
    Overwrite,
    Quiet,
    RunnableDevice,
    Seed,
    Split,
    given,
    option,
)
from .data_split import GroupBy

if TYPE_CHECKING:
    from kdlnet.verbs.compare import ClassDifference, Comparison, Difference, McNemar

Side = Annotated[
    str,
    typer.Argument(metavar="WEIGHTS", help="Weights, or several with commas: one a seed."),
]
Rounds = Annotated[
    int | None,
    option("--rounds", metavar="N", help="Resamples of the images [1000]."),
]


def compare(
    a: Side,
    b: Side,
    data: DataNames = None,
    data_root: DataRoot = None,
    split: Split = None,
    group_by: GroupBy = None,
    folds: Annotated[
        bool,
        option("--folds", help="A and B are folders of runs fold-1, fold-2 ...; --data theirs."),
    ] = False,
    rounds: Rounds = None,
    seed: Seed = None,
    batch: Batch = None,
    device: RunnableDevice = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two weights on the same images.

    Differences of AP, AP50, AP75 and recall with 95 % intervals from a paired bootstrap
    over images, the images whose verdict changes with an exact test, and how far the scores
    are shifted. Several files a side, joined by commas, are seeds: their differences are
    averaged. Exported files will do. With --folds every image is judged by the training that
    never saw it, on both sides.

    \b
    kdlnet compare baseline/best.pt student/best.pt --data neu-det --split test
    kdlnet compare runs/before runs/after --folds --data folds
    """
    sets = sets_of(data)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.compare import compare as engine

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            result = engine(
                _files(a),
                _files(b),
                data=sets,
                overwrite=overwrite,
                folds=folds,
                on_event=printer,
                **given(data_root=data_root, split=split, group_by=group_by, rounds=rounds),
                **given(seed=seed, batch=batch, device=device, out=out),
            )
        show_comparison(console, result)
        console.document({"folder": result.folder, **result.to_dict()})


def _files(side: str) -> list[Path]:
    """One file, whose name may have a comma, or several."""
    return [Path(side)] if Path(side).exists() else [Path(part) for part in side.split(",")]


def show_comparison(console: Console, result: Comparison) -> None:
    """The differences, verdict flips and the verdict."""
    rows = [_row(name, value) for name, value in result.differences.items()]
    rows += [_class_row(name, found) for name, found in result.per_class.items()]
    if result.differences:
        console.table(("", "A", "B", "difference", "95 % interval"), rows)
    if result.folds:
        parts = [
            (fold.data.parent.name, str(fold.boxes), *map(figure, (*fold.ap, *fold.ap50)))
            for fold in result.folds
        ]
        heads = ("AP of A", "AP of B", "AP50 of A", "AP50 of B")
        console.table(("fold", "boxes", *heads), parts)
    pairs = len(result.shifts)
    over = f", {pairs} pairs added up" if pairs > 1 else ""
    for kind, counts in result.flips.counts.items():
        if any(counts.values()):
            cells = ", ".join(f"{name} {count}" for name, count in counts.items())
            console.say(f"{kind} images{over}: {cells}{_chance(result.flips.tests[kind])}")
    for number, shift in enumerate(result.shifts if result.differences else (), start=1):
        pair = f" of pair {number}" if pairs > 1 else ""
        console.say(f"scores{pair}: {shift.words}")
    console.say(
        f"{counted(result.images, 'image')} of {result.split}; all is in {shown(result.folder)}"
    )
    console.say(result.verdict, "bold")


def _row(name: str, value: Difference) -> tuple[str, ...]:
    interval = f"{value.low:+.3f} to {value.high:+.3f}"
    return name, figure(value.a), figure(value.b), f"{value.difference:+.3f}", interval


def _class_row(name: str, found: ClassDifference) -> tuple[str, ...]:
    title = f"{name}, {counted(found.boxes, 'box', 'boxes')}"
    if found.reason:
        return title, "", "", "", found.reason
    return _row(title, found.figures["ap"])


def _chance(test: McNemar) -> str:
    if test.p is None or not test.only_a + test.only_b:
        return ""
    return f"; stopped by A alone {test.only_a}, by B alone {test.only_b}, McNemar p {test.p:.3g}"
