"""``kdlnet data``: datasets from other layouts, and a synthetic one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Console
from ..datasets import show_report
from ..errors import UsageProblem
from ..options import (
    DataRoot,
    Json,
    Overwrite,
    Quiet,
    Seed,
    at_least_one,
    given,
    names_in,
    option,
    refuse_beside,
)
from ..pairs import (
    parse_classes,
    parse_columns,
    parse_shapes,
    parse_size,
    parse_splits,
    parse_values,
)

if TYPE_CHECKING:
    from kdlnet.verbs.convert import ImportOptions

_FORMATS = "voc, coco, labelme, cvat, csv, masks or yolo."

app = typer.Typer(
    no_args_is_help=True, help="Convert, prepare, check, split, show or make a dataset."
)

NewFolder = Annotated[Path, option("--out", metavar="DIR", help="New folder for the dataset.")]
SplitLists = Annotated[
    list[str] | None,
    option(
        "--split", metavar="NAME=LIST", help="File, a path in the source folder a line. Repeatable."
    ),
]
Names = Annotated[
    list[str] | None,
    option(
        "--names", metavar="A,B,C", help="Order of the classes [as found], names of yolo's numbers."
    ),
]
Classes = Annotated[
    list[str] | None,
    option(
        "--class",
        metavar="OLD=NEW",
        help="Boxes of OLD are NEW's; 'OLD=': no defect; '*': all other classes. Repeatable.",
    ),
]
Form = Annotated[
    str | None, option("--to", metavar="FORM", help="Form to write: yolo, coco or voc [yolo].")
]
Images = Annotated[
    Path | None, option("--images", metavar="DIR", help="Folder of the images [SOURCE].")
]
Corrected = Annotated[
    Path | None,
    option("--onto", metavar="DATA", help="labelme: data.yaml whose labels SOURCE corrects."),
]
Origin = Annotated[
    str | None, option("--origin", metavar="N", help="voc: number of the first pixel, 0 or 1.")
]
Good = Annotated[
    list[str] | None,
    option("--good", metavar="DIR", help="masks: folder of good parts."),
]
ClassFrom = Annotated[
    str | None,
    option(
        "--class-from",
        metavar="WHAT",
        help="masks: folder, name or value [folder; value with --value].",
    ),
]
ClassName = Annotated[
    str | None, option("--class-name", metavar="NAME", help="masks, csv: the class of all boxes.")
]
ColumnNames = Annotated[
    list[str] | None,
    option(
        "--column",
        metavar="KEY=HEAD",
        help="csv: head of the column of image, class, split, xmin ... Repeatable.",
    ),
]
Values = Annotated[
    list[str] | None,
    option("--value", metavar="V=NAME", help="masks: class of a pixel value, 7 or #ff0000."),
]
MinArea = Annotated[
    int | None,
    option("--min-area", metavar="N", help="masks, csv: smallest defect in pixels [16]."),
]
Unchecked = Annotated[
    bool, option("--unchecked", help="labelme: take suggestions that nobody ticked, too.")
]
KeepPartial = Annotated[
    bool,
    option(
        "--keep-partial",
        help="Keep images of which something drawn is no box [left out: it would be background].",
    ),
]
Count = Annotated[
    int | None,
    option("--count", metavar="N", callback=at_least_one, help="Number of images [500]."),
]
PictureSize = Annotated[
    str | None, option("--image-size", metavar="N|HxW", help="Size of the images [256].")
]

Onto = Annotated[
    str | None,
    option("--onto", metavar="GOOD", help="Draw on good parts: a folder, or a dataset's own."),
]
Shapes = Annotated[
    list[str] | None,
    option(
        "--shape",
        metavar="NAME=CLASS",
        help="With --onto: crack, hole, chip, blotch or fray, and its class. Repeatable [all].",
    ),
]


def import_options(format: str, **choices: Any) -> ImportOptions:
    """The options that were given. Raises UsageProblem for a value or a format they are not for."""
    from kdlnet.verbs.convert import IMPORTERS, OPTIONS_OF, ImportOptions

    if choices.get("origin", "auto") not in ("auto", "0", "1"):
        raise UsageProblem(f"--origin {choices['origin']!r}: write 0, 1 or auto")
    if choices.get("class_from", "name") not in ("folder", "name", "value"):
        raise UsageProblem(f"--class-from {choices['class_from']!r}: write folder, name or value")
    flags = {"values": "--value", "columns": "--column"}
    for name in choices:
        if format in IMPORTERS and format not in OPTIONS_OF[name]:
            flag = flags.get(name, f"--{name.replace('_', '-')}")
            known = ", ".join(OPTIONS_OF[name])
            raise UsageProblem(f"{flag} is not for {format!r}, only for {known}: leave it out")
    if "values" in choices and choices.setdefault("class_from", "value") != "value":
        raise UsageProblem(
            f"--value names the class of pixel values, --class-from is {choices['class_from']!r}: "
            "leave one out, or write --class-from value"
        )
    return ImportOptions(**choices)


@app.command()
def convert(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=_FORMATS)],
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Its folder (coco, cvat, csv: or file).")
    ],
    out: NewFolder,
    to: Form = None,
    images: Images = None,
    onto: Corrected = None,
    split: SplitLists = None,
    names: Names = None,
    class_: Classes = None,
    origin: Origin = None,
    good: Good = None,
    class_from: ClassFrom = None,
    class_name: ClassName = None,
    column: ColumnNames = None,
    value: Values = None,
    min_area: MinArea = None,
    unchecked: Unchecked = False,
    keep_partial: KeepPartial = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert labels of another tool to a YOLO dataset, or that to COCO or VOC.

    Images are linked, never encoded again. SOURCE is only read.

    \b
    kdlnet data convert coco export --out parts
    kdlnet data convert yolo parts --to coco --out parts-coco
    kdlnet data convert yolo label --images image --names dent,pore --out parts
    kdlnet data convert labelme suspicious --onto parts/data.yaml --out parts-2
    """
    if onto is not None:
        refuse_beside("--onto", {"--images": images, "--class": class_})
    splits, order, values = parse_splits(split), names_in("--names", names), parse_values(value)
    classes = parse_classes(class_)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.convert import convert as run_convert

        from ..progress import EventPrinter

        options = import_options(
            format,
            **given(origin=origin, images=images, class_from=class_from, class_name=class_name),
            **given(good=tuple(good or ()) or None, values=values or None, min_area=min_area),
            **given(unchecked=unchecked or None, columns=parse_columns(column) or None),
        )
        with EventPrinter(console) as printer:
            report = run_convert(
                format,
                source,
                out,
                splits=splits,
                names=order,
                classes=classes,
                options=options,
                keep_partial=keep_partial,
                overwrite=overwrite,
                on_event=printer,
                **given(to=to, onto=onto),
            )
        show_report(console, report)
        if report.next_command:
            console.say(f"no val, which train needs; next: {report.next_command}")


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the dataset.")],
    count: Count = None,
    image_size: PictureSize = None,
    seed: Seed = None,
    onto: Onto = None,
    shape: Shapes = None,
    data_root: DataRoot = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make defects: on textured surfaces, or drawn on photographs of your good parts.

    The same seed makes the same images. A class that has a name of your dataset is trained as one
    with it.

    \b
    kdlnet data synth drawn --onto parts --shape crack=crack --shape hole=pore
    kdlnet train --data parts --data drawn
    """
    size, shapes = parse_size(image_size), parse_shapes(shape)
    if onto is None and shapes is not None:
        raise UsageProblem("--shape is drawn on photographs: name good parts with --onto")
    if onto is not None and size is not None:
        raise UsageProblem("--image-size with --onto: the images keep the size of the good parts")
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.synth import synthesize, synthesize_onto

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            how = {"overwrite": overwrite, "on_event": printer, **given(count=count, seed=seed)}
            if onto is None:
                report = synthesize(out, **how, **given(image_size=size))
            else:
                report = synthesize_onto(onto, out, data_root=data_root, shapes=shapes, **how)
        show_report(console, report)
