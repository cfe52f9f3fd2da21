"""``kdlnet train``: settings from file and flags, then the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import Console, figure, shown
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
    Init,
    Json,
    Model,
    Out,
    Overwrite,
    Quiet,
    Resume,
    Seed,
    Strict,
    Time,
    given,
)
from ..resume import check_same, resume_line, run_folder

if TYPE_CHECKING:
    from kdlnet.config import TrainConfig
    from kdlnet.engine.trainer import TrainResult


def train(
    model: Model = None,
    data: Data = None,
    data_root: DataRoot = None,
    epochs: Epochs = None,
    image_size: ImageSize = None,
    batch: Batch = None,
    seed: Seed = None,
    device: Device = None,
    time: Time = None,
    init: Init = None,
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
    """Train a detector from labelled images.

    The run folder (runs/train/NAME unless --out) gets weights/best.pt, weights/last.pt,
    config.yaml, results.csv, environment.json and plots.

    \b
    kdlnet train --model lightnet-n --data neu-det --image-size 224
    kdlnet train --resume runs/train/neu-det
    """
    flags: dict[str, Any] = {
        "model.name": model,
        "data.name": data,
        "data.root": str(data_root) if data_root else None,
        "data.cache": cache,
        "data.strict": strict or None,
        "epochs": epochs,
        "image_size": image_size,
        "batch": batch,
        "seed": seed,
        "device": device,
        "time": time,
    }
    with Console(as_json=as_json, quiet=quiet) as console:
        if resume is not None:
            settings = _resumed(resume, config, flags, assignments, out, overwrite)
            if init is not None:
                console.warn("--init is not used: the run that goes on has its weights already")
        else:
            settings = _settings(config, flags, assignments)
        places = given(out=out, resume=resume, init=None if resume else init)
        _run(console, settings, overwrite=overwrite, **places)


def _settings(
    config: Path | None, flags: dict[str, Any], assignments: list[str] | None
) -> TrainConfig:
    from kdlnet.config import load_config

    settings = load_config(config, flags, assignments)
    if not settings.data.name:
        raise UsageProblem("no dataset: give --data, a name in datasets.yaml or a data.yaml")
    return settings


def _resumed(
    resume: Path,
    config: Path | None,
    flags: dict[str, Any],
    assignments: list[str] | None,
    out: Path | None,
    overwrite: bool,
) -> TrainConfig:
    """The settings of the run that goes on. Raises UsageProblem for flags that say otherwise."""
    from kdlnet.config import load_config

    folder = run_folder(resume)
    if overwrite:
        raise UsageProblem("--overwrite and --resume exclude each other: leave one out")
    if out is not None and out.resolve() != folder.resolve():
        raise UsageProblem(f"--resume goes on in {folder}: leave --out {out} out")
    own_file = folder / "config.yaml"
    if not own_file.is_file():  # the engine says what is wrong with the folder
        return load_config(None, {})
    own = load_config(own_file)
    check_same(resume, own.to_dict(), load_config(config or own_file, flags, assignments).to_dict())
    return own


def _run(console: Console, settings: TrainConfig, **options: Any) -> None:
    from kdlnet.engine.trainer import train as run_training

    from ..progress import EventPrinter

    with EventPrinter(console, epochs_known=settings.time is None) as printer:
        try:
            result = run_training(settings, on_event=printer, **options)
        except KeyboardInterrupt as stop:
            if printer.folder is not None:
                stop.add_note(resume_line(printer.folder))
            raise
    _show(console, result)


def _show(console: Console, result: TrainResult) -> None:
    ap, ap50 = result.metrics.get("ap"), result.metrics.get("ap50")
    console.say(f"best    {shown(result.best)}: AP {figure(ap)}, AP50 {figure(ap50)}", "bold")
    console.document(
        {
            "folder": result.folder,
            "best": result.best,
            "last": result.last,
            "reason": result.reason,
            "metrics": result.metrics,
        }
    )
