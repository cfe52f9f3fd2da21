"""``kdlnet pretrain``: settings from file and flags, then the verb."""

from __future__ import annotations

from typing import Annotated

import typer

from kdlnet.utils.paths import shown, typed

from ..console import Console, figure
from ..options import (
    Assignments,
    ConfigFile,
    DataRoot,
    Device,
    Devices,
    Init,
    Json,
    Out,
    Overwrite,
    Quiet,
    Resume,
    Seed,
    Time,
    above_zero,
    at_least_one,
    given,
    option,
)
from ..team import as_team
from ..training import LONGER, progress, resumed, start_of, weights_for

Images = Annotated[
    list[str] | None,
    option(
        "--images",
        metavar="SOURCE",
        help="A folder, a glob or a .txt list of images. Repeatable.",
    ),
]
DataNames = Annotated[
    list[str] | None,
    option("--data", metavar="NAME", help="The train images of a dataset, unlabelled. Repeatable."),
]
Teacher = Annotated[
    str | None,
    option(
        "--teacher",
        metavar="NAME|FILE",
        help="A name, a torchvision classifier, .onnx or weights [efficientnet-lite2].",
    ),
]
Model = Annotated[
    str | None,
    option(
        "--model", metavar="NAME", help="See 'kdlnet models' [that of --init, else lightnet-n]."
    ),
]
Epochs = Annotated[
    int | None,
    option("--epochs", metavar="N", callback=at_least_one, help="Passes over the views [10]."),
]
ViewSize = Annotated[
    int | None,
    option("--image-size", metavar="N", help="Side of a view, a multiple of 32 [128]."),
]
Batch = Annotated[
    int | None, option("--batch", metavar="N", callback=at_least_one, help="Views a step [32].")
]
Views = Annotated[
    int | None,
    option(
        "--views",
        metavar="N",
        callback=at_least_one,
        help="Views of an image [what time and room allow, up to 8].",
    ),
]
CacheGb = Annotated[
    float | None,
    option("--cache-gb", metavar="GB", callback=above_zero, help="Room for the lessons [8]."),
]


def pretrain(
    context: typer.Context,
    images: Images = None,
    data: DataNames = None,
    data_root: DataRoot = None,
    teacher: Teacher = None,
    model: Model = None,
    time: Time = None,
    epochs: Epochs = None,
    image_size: ViewSize = None,
    batch: Batch = None,
    views: Views = None,
    cache_gb: CacheGb = None,
    seed: Seed = None,
    device: Device = None,
    devices: Devices = None,
    init: Init = None,
    resume: Resume = None,
    out: Out = None,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn from images without labels what a frozen network sees in them.

    The run folder (runs/pretrain/NAME unless --out) gets weights/best.pt: weights to start from,
    for train --init and distill --init, whatever the classes, channels and size.

    \b
    kdlnet pretrain --images line/ --model lightnet-n --time 60m
    kdlnet train --data parts/data.yaml --init runs/pretrain/line/weights/best.pt
    """
    as_team(devices, context)
    flags = {
        "images": images,
        "data": data,
        "data_root": str(data_root) if data_root else None,
        "teacher": teacher,
        "model.name": model,
        "model.start": start_of(init),
        "time": time,
        "epochs": epochs,
        "image_size": image_size,
        "batch": batch,
        "views": views,
        "cache_gb": cache_gb,
        "seed": seed,
        "device": device,
    }
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.settings import load_settings
        from kdlnet.verbs.pretrain import PretrainConfig
        from kdlnet.verbs.pretrain import pretrain as verb

        if resume is not None:
            fixed = flags | {"device": None}
            settings = resumed(PretrainConfig, resume, config, fixed, assignments, out, overwrite)
            settings = settings.model_copy(update=given(device=device))
        else:
            settings = load_settings(PretrainConfig, config, flags, assignments)
        places = given(out=out, resume=resume, init=weights_for(console, init, resume))
        with progress(console, settings, "pretrain") as printer:
            result = verb(settings, overwrite=overwrite, on_event=printer, **places)
        if not printer.trained:
            console.say(LONGER)
        share = figure(result.metrics.get("explained"))
        console.say(f"start   {shown(result.best)}: explains {share} of the teacher", "bold")
        console.say(f"next    kdlnet train --init {typed(shown(result.best))} --data DATA")
        console.document(result.to_dict())
