"""``kdlnet data``: datasets from other layouts, and a synthetic one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import Console, shown
from ..errors import UsageProblem
from ..options import Json, Overwrite, Quiet, Seed, at_least_one, given, option

if TYPE_CHECKING:
    from kdlnet.data.writer import ConvertReport

app = typer.Typer(no_args_is_help=True, help="Convert, split, show or make a dataset.")

NewFolder = Annotated[Path, option("--out", metavar="DIR", help="New folder for the dataset.")]
SplitLists = Annotated[
    list[str] | None,
    option("--split", metavar="NAME=LIST", help="File with a path in SOURCE a line. Repeatable."),
]
Names = Annotated[
    str | None, option("--names", metavar="A,B,C", help="Order of the classes [as found].")
]
Origin = Annotated[
    str | None, option("--origin", metavar="N", help="voc: number of the first pixel, 0 or 1.")
]
Good = Annotated[
    list[str] | None,
    option("--good", metavar="DIR", help="masks: folder of good parts."),
]
ClassName = Annotated[
    str | None, option("--class-name", metavar="NAME", help="masks: the class of all boxes.")
]
MinArea = Annotated[
    int | None, option("--min-area", metavar="N", help="masks: smallest defect in pixels [16].")
]
Count = Annotated[
    int | None,
    option("--count", metavar="N", callback=at_least_one, help="Number of images [500]."),
]
PictureSize = Annotated[
    str | None, option("--image-size", metavar="N|HxW", help="Size of the images [256].")
]


def parse_splits(entries: list[str] | None) -> dict[str, Path] | None:
    """``["train=train.txt"]`` as ``{"train": Path("train.txt")}``. Raises UsageProblem."""
    splits: dict[str, Path] = {}
    for entry in entries or []:
        name, separator, file = entry.partition("=")
        if not (name and separator and file):
            raise UsageProblem(f"--split {entry!r}: write NAME=LIST, for example train=train.txt")
        if name in splits:
            raise UsageProblem(f"--split {name}: given twice")
        splits[name] = Path(file)
    return splits or None


def parse_names(text: str | None) -> list[str] | None:
    """``"scratch, pit"`` as ``["scratch", "pit"]``. Raises UsageProblem for an empty name."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageProblem(f"--names {text!r}: write names with commas between, scratch,pit")
    return names


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) from ``200`` or ``200x300``; unlike a network's input it needs no stride."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise UsageProblem(f"--image-size {text!r}: write N or HxW, for example 256 or 200x300")
    return int(parts[0]), int(parts[-1])


@app.command()
def convert(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="voc, masks or yolo.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder to read.")],
    out: NewFolder,
    split: SplitLists = None,
    names: Names = None,
    origin: Origin = None,
    good: Good = None,
    class_name: ClassName = None,
    min_area: MinArea = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert labels of another tool to a YOLO dataset with data.yaml.

    Images are linked, never encoded again. SOURCE is only read.

    \b
    kdlnet data convert voc NEU-DET --out neu-det --split train=train.txt
    """
    splits, classes = parse_splits(split), parse_names(names)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.data.convert import convert as run_convert
        from kdlnet.data.formats.record import ImportOptions
        from kdlnet.engine.events import Progress

        from ..progress import EventPrinter

        if origin not in (None, "auto", "0", "1"):
            raise UsageProblem(f"--origin {origin!r}: write 0, 1 or auto")
        choices = given(origin=origin, class_name=class_name, min_area=min_area)
        options = ImportOptions(**choices, good=tuple(good or ()))
        with EventPrinter(console) as printer:
            report = run_convert(
                format,
                source,
                out,
                splits=splits,
                names=classes,
                options=options,
                overwrite=overwrite,
                on_progress=lambda done, total: printer(Progress("link images", done, total)),
            )
        _show(console, report)


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the dataset.")],
    count: Count = None,
    image_size: PictureSize = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic defect dataset.

    Textured surfaces, some with labelled defects, some good. The same seed makes the same images.
    """
    size = parse_size(image_size)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.data.synth import synthesize
        from kdlnet.engine.events import Progress

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            report = synthesize(
                out,
                overwrite=overwrite,
                on_progress=lambda done, total: printer(Progress("draw images", done, total)),
                **given(count=count, image_size=size, seed=seed),
            )
        _show(console, report)


def _show(console: Console, report: ConvertReport) -> None:
    rows = [
        (name, counts.images, counts.good, counts.boxes, *counts.classes.values())
        for name, counts in report.splits.items()
    ]
    console.table(("split", "images", "good", "boxes", *report.names), rows)
    for what, counts in (("boxes dropped", report.dropped), ("files left out", report.left_out)):
        if counts:
            console.warn(f"{what}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    if report.clipped:
        console.warn(f"boxes clipped to their image: {report.clipped}")
    for line in report.examples:
        console.warn(line)
    console.say(f"dataset {shown(report.folder / 'data.yaml')}", "bold")
    console.document(report.to_dict())
