"""``kdlnet distill``: a trained teacher and a fresh student, or both in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Console, duration
from ..errors import UsageProblem
from ..options import (
    Assignments,
    Cache,
    ConfigFile,
    DataNames,
    DataRoot,
    Device,
    Devices,
    Epochs,
    Final,
    Init,
    Json,
    Out,
    Overwrite,
    Quiet,
    Resume,
    Seed,
    Strict,
    TrainBatch,
    at_least_one,
    given,
    joined,
    option,
    time_option,
)
from ..seeing import TrainOverlap, TrainRoi, TrainSize, TrainTile
from ..team import as_team
from ..training import (
    config_flags,
    final_settings,
    new_settings,
    progress,
    resumed_settings,
    run,
    weights_of,
)
from .compare import show_comparison

if TYPE_CHECKING:
    from kdlnet.config import TrainConfig

Teachers = Annotated[
    list[Path] | None,
    option(
        "--teacher",
        metavar="FILE",
        help="Trained weights [trains one first]. Repeatable.",
    ),
]
TeacherModel = Annotated[
    str | None,
    option(
        "--teacher-model",
        metavar="NAME",
        help="Model of the teacher trained first [the student's].",
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
Time = Annotated[float | None, time_option("Wall time of each training")]
Baseline = Annotated[
    bool,
    option("--baseline", help="Also train a plain model of equal budget."),
]
Seeds = Annotated[
    list[str] | None,
    option("--seeds", metavar="N,N", help="With --baseline: rounds, one a seed [0]."),
]


def parse_seeds(text: str) -> list[int]:
    """``"0,1,2"`` as numbers. Raises UsageProblem."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise UsageProblem(f"--seeds {text!r}: write different numbers from 0, such as 0,1,2")
    return seeds


def _refuse_clashes(
    *,
    resumed_with: bool,
    two_teachers: bool,
    unnamed_student: str | None,
    stray_seeds: bool,
    both: bool,
) -> None:
    """Raises UsageProblem for flags that do not go together."""
    if resumed_with:
        raise UsageProblem(
            "--resume goes on with the run's own teacher, recipe and weights: leave --teacher, "
            "--teacher-model, --recipe, --generations, --baseline, --seeds and --init out"
        )
    if two_teachers:
        raise UsageProblem(
            "--teacher is trained already and --teacher-model would be trained first: leave one out"
        )
    if unnamed_student:
        raise UsageProblem(f"--teacher-model {unnamed_student}: name the --student that it teaches")
    if stray_seeds:
        raise UsageProblem("--seeds belongs to --baseline: add it, or give --seed")
    if both:
        raise UsageProblem("--baseline and --generations exclude each other: leave one out")


def distill(
    context: typer.Context,
    teacher: Teachers = None,
    teacher_model: TeacherModel = None,
    student: Student = None,
    recipe: Recipe = None,
    generations: Generations = None,
    baseline: Baseline = False,
    seeds: Seeds = None,
    data: DataNames = None,
    data_root: DataRoot = None,
    epochs: Epochs = None,
    image_size: TrainSize = None,
    tile: TrainTile = None,
    overlap: TrainOverlap = None,
    roi: TrainRoi = None,
    batch: TrainBatch = None,
    seed: Seed = None,
    device: Device = None,
    devices: Devices = None,
    init: Init = None,
    time: Time = None,
    resume: Resume = None,
    final: Final = None,
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
    --teacher one is trained first. --baseline measures the gain on val.

    \b
    kdlnet distill --teacher best.pt --data neu-det
    kdlnet distill --student lightnet-n --teacher-model lightnet --data neu-det
    kdlnet distill --baseline --seeds 0,1,2 --student lightnet-n --data neu-det
    """
    flags = config_flags(
        model=student,
        data=data,
        data_root=data_root,
        cache=cache,
        strict=strict,
        tile=tile,
        overlap=overlap,
        roi=roi,
        epochs=epochs,
        image_size=image_size,
        batch=batch,
        seed=seed,
        device=device,
        time=time,
        init=init,
    )
    as_team(devices, context)
    own = teacher or teacher_model or recipe or generations or baseline or seeds or init
    _refuse_clashes(
        resumed_with=resume is not None and bool(own),
        two_teachers=bool(teacher and teacher_model),
        unnamed_student=teacher_model if student is None and config is None else None,
        stray_seeds=bool(seeds) and not baseline,
        both=baseline and bool(generations),
    )
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.baseline import is_comparison
        from kdlnet.verbs.distill import distill as verb

        if final is not None:
            others = {
                "--resume": resume,
                "--config": config,
                "--teacher-model": teacher_model,
                "--recipe": recipe,
                "--generations": generations,
                "--baseline": baseline,
            }
            settings = final_settings(final, others, flags, assignments)
        elif resume is None:
            settings = new_settings(config, flags, assignments, _defaults(recipe, teacher))
        else:
            settings = resumed_settings(resume, config, flags, assignments, out, overwrite)
            if is_comparison(resume):
                show_gain(console, settings, resume=resume)
                return
        places = given(out=out, final=final, teachers=teacher, teacher_model=teacher_model)
        places |= given(init=weights_of(init), resume=resume, generations=generations)
        if baseline:
            numbers = parse_seeds(joined(seeds) or str(settings.seed))
            show_gain(console, settings, seeds=numbers, overwrite=overwrite, **places)
            return
        run(console, verb, settings, overwrite=overwrite, **places)


def _defaults(recipe: str | None, teachers: list[Path] | None) -> dict[str, Any]:
    """Settings that come with a recipe, and those of the first teacher."""
    from kdlnet.verbs.distill import recipe_defaults, teacher_defaults

    found = {} if recipe is None else recipe_defaults(recipe)
    return found | (teacher_defaults(teachers[0]) if teachers else {})


def show_gain(console: Console, settings: TrainConfig, **options: Any) -> None:
    """Trains teachers, students and baselines, and shows what the teachers were worth."""
    from kdlnet.verbs.baseline import measure_gain

    with progress(console, settings) as printer:
        gain = measure_gain(settings, on_event=printer, **options)
    console.say("A: baselines of the same budget, B: students")
    show_comparison(console, gain.comparison)
    rows = [(name, v.epochs, duration(v.seconds)) for name, v in gain.spent.items()]
    console.table(("spent on", "epochs", "time"), rows)
    console.document({"folder": gain.folder, "best": gain.student.best, **gain.to_dict()})
