"""``kdlnet data``: datasets from other layouts, and a synthetic one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import Console
from ..errors import UsageProblem
from ..options import Json, Overwrite, Quiet, Seed, Strict, given

app = typer.Typer(no_args_is_help=True, help="Convert a dataset, or make a synthetic one.")

OutArgument = Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the dataset.")]


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


@app.command()
def convert(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="voc or masks.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder to read.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="New folder for the dataset.", show_default=False)
    ],
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LIST",
            help="Images of a split, a file with one path a line, relative to SOURCE. Repeatable.",
            show_default=False,
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="Class names in their order [as found].", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert Pascal VOC or mask labels to a YOLO dataset with data.yaml.

    Images are linked, never re-encoded. SOURCE is only read.

    \b
    kdlnet data convert voc NEU-DET --out neu-det --split train=train.txt
    """
    splits, classes = parse_splits(split), parse_names(names)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.data.convert import convert as run_convert

        report = run_convert(
            format, source, out, splits=splits, names=classes, overwrite=overwrite, strict=strict
        )
        _show(console, out, report.to_dict())


@app.command()
def synth(
    out: OutArgument,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="Number of images.", show_default=False)
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Size of the images.", show_default=False),
    ] = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic defect dataset.

    Textured surfaces, some with labelled defects, some good. The same seed makes the same images.
    """
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.config import parse_image_size
        from kdlnet.data.synth import synthesize

        size = parse_image_size(image_size) if image_size is not None else None
        report = synthesize(
            out, overwrite=overwrite, **given(count=count, image_size=size, seed=seed)
        )
        _show(console, out, report.to_dict())


def _show(console: Console, out: Path, facts: dict[str, Any]) -> None:
    console.say(f"{facts}")
    console.document({"folder": out, **facts})
