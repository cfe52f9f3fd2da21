"""``kdlnet distill``: a trained teacher and a fresh student, or both in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ..console import Console
from ..errors import UsageProblem
from ..options import (
    Assignments,
    Batch,
    Cache,
    ConfigFile,
    Data,
    DataRoot,
    Device,
    Epochs,
    ImageSize,
    Json,
    Out,
    Overwrite,
    Quiet,
    Resume,
    Seed,
    Strict,
    Time,
    TrainOverlap,
    TrainTile,
    at_least_one,
    given,
    option,
)
from ..training import config_flags, new_settings, resumed_settings, run

Teachers = Annotated[
    list[Path] | None,
    option(
        "--teacher",
        metavar="FILE",
        help="Trained weights [train a teacher first]. Repeatable: answers are averaged.",
    ),
]
Student = Annotated[
    str | None, option("--student", metavar="NAME", help="Model to train [as the teacher].")
]
Recipe = Annotated[
    str | None,
    option("--recipe", metavar="NAME", help="Terms: kdlnet, paper, cross, features [kdlnet]."),
]
Generations = Annotated[
    int | None,
    option(
        "--generations",
        metavar="N",
        callback=at_least_one,
        help="Each student teaches the next, N times [1].",
    ),
]


def distill(
    teacher: Teachers = None,
    student: Student = None,
    recipe: Recipe = None,
    generations: Generations = None,
    data: Data = None,
    data_root: DataRoot = None,
    epochs: Epochs = None,
    image_size: ImageSize = None,
    tile: TrainTile = None,
    overlap: TrainOverlap = None,
    batch: Batch = None,
    seed: Seed = None,
    device: Device = None,
    time: Time = None,
    resume: Resume = None,
    cache: Cache = None,
    out: Out = None,
    overwrite: Overwrite = False,
    strict: Strict = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a student that also learns from a teacher's answers.

    Model and image size are the (first) teacher's unless told otherwise. Without
    --teacher one is trained first. The run folder is as train's.

    \b
    kdlnet distill --teacher best.pt --data neu-det
    kdlnet distill --teacher a.pt --teacher b.pt --student lightnet-n --data neu-det
    kdlnet distill --student lightnet-n --data neu-det --image-size 224
    """
    flags = config_flags(
        model=student,
        data=data,
        data_root=data_root,
        cache=cache,
        strict=strict,
        tile=tile,
        overlap=overlap,
        epochs=epochs,
        image_size=image_size,
        batch=batch,
        seed=seed,
        device=device,
        time=time,
    )
    if resume is not None and (teacher or recipe or generations):
        raise UsageProblem(
            "--resume goes on with the run's own teacher and recipe: leave --teacher, --recipe and "
            "--generations out"
        )
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.engine.distiller import distill as engine
        from kdlnet.engine.distiller import recipe_defaults, teacher_defaults

        if resume is not None:
            settings = resumed_settings(resume, config, flags, assignments, out, overwrite)
        else:
            base = {} if recipe is None else recipe_defaults(recipe)
            base |= teacher_defaults(teacher[0]) if teacher else {}
            settings = new_settings(config, flags, assignments, base)
        choices = given(out=out, resume=resume, teachers=teacher, generations=generations)
        run(console, engine, settings, overwrite=overwrite, **choices)
