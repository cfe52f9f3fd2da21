"""``kdlnet train``: settings from file and flags, then the engine."""

from __future__ import annotations

import typer

from ..console import Console
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
    Model,
    Out,
    Overwrite,
    Quiet,
    Resume,
    Seed,
    Strict,
    Time,
    TrainBatch,
    given,
)
from ..seeing import TrainOverlap, TrainRoi, TrainSize, TrainTile
from ..team import as_team
from ..training import (
    config_flags,
    final_settings,
    new_settings,
    resumed_settings,
    run,
    weights_for,
)


def train(
    context: typer.Context,
    model: Model = None,
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
    time: Time = None,
    init: Init = None,
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
    """Train a detector from labelled images.

    What is not given suits the dataset: size, tiles, epochs, batch (docs/defaults.md).
    The run folder (runs/train/NAME unless --out) gets weights/best.pt, weights/last.pt,
    config.yaml, results.csv, environment.json and plots.

    \b
    kdlnet train --data neu-det
    kdlnet train --data camera1/data.yaml --data camera2/data.yaml --time 60m
    kdlnet train --resume runs/train/neu-det
    kdlnet train --final runs/train/neu-det
    """
    as_team(devices, context)
    flags = config_flags(
        model=model,
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
    with Console(as_json=as_json, quiet=quiet) as console:
        if final is not None:
            others = {"--resume": resume, "--config": config}
            settings = final_settings(final, others, flags, assignments)
        elif resume is not None:
            settings = resumed_settings(resume, config, flags, assignments, out, overwrite)
        else:
            settings = new_settings(config, flags, assignments)
        places = given(out=out, resume=resume, final=final)
        places |= given(init=weights_for(console, init, resume))
        from kdlnet.verbs.train import train as verb

        run(console, verb, settings, overwrite=overwrite, **places)
