"""``kdlnet bench``: how fast weights are from the bytes of a file to boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..benchmarks import show
from ..console import Console
from ..datasets import one_set
from ..options import (
    Data,
    DataRoot,
    Json,
    Quiet,
    RunnableArgument,
    RunnableDevice,
    Split,
    Weights,
    at_least_one,
    given,
    not_negative,
    one_weights,
    option,
)
from ..seeing import Overlap, Roi, Tile, Window, seeing


def bench(
    weights_file: RunnableArgument = None,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE", help="Image or folder to measure with.", show_default=False
        ),
    ] = None,
    weights: Weights = None,
    data: Data = None,
    data_root: DataRoot = None,
    split: Split = None,
    protocol: Annotated[
        str | None,
        option("--protocol", metavar="NAME", help="files, or paper: forward pass alone [files]."),
    ] = None,
    batch: Annotated[
        int | None,
        option(
            "--batch", metavar="N", callback=at_least_one, help="Images a call, 256 at most [1]."
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        option("--image-size", metavar="N|HxW", help="Network input [that of the weights]."),
    ] = None,
    window: Window = None,
    tile: Tile = None,
    overlap: Overlap = None,
    roi: Roi = None,
    device: RunnableDevice = None,
    threads: Annotated[
        int | None,
        option(
            "--threads", metavar="N", callback=at_least_one, help="Of networks and OpenCV [all]."
        ),
    ] = None,
    calls: Annotated[
        int | None,
        option("--calls", metavar="N", callback=at_least_one, help="Calls to measure [200]."),
    ] = None,
    rounds: Annotated[
        int | None,
        option("--rounds", metavar="N", callback=at_least_one, help="Turns they are split in [5]."),
    ] = None,
    warmup: Annotated[
        int | None,
        option("--warmup", metavar="N", callback=not_negative, help="Calls before [till stable]."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        option("--against", metavar="FILE", help="Take turns with this file. Repeatable."),
    ] = None,
    sweep: Annotated[bool, option("--sweep", help="Also by batch and by threads.")] = False,
    fuse: Annotated[
        bool | None, option("--fuse/--no-fuse", help="Fold the weights in memory first [on].")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure speed, from image files to boxes. Also: benchmark-fps.

    Without SOURCE or --data the images are made up; --data adds AP. No call is left out as an
    outlier.

    \b
    kdlnet bench best.pt --data neu-det --against best.onnx --against best.xml
    kdlnet bench best.pt --protocol paper
    """
    weights_file, source = _sorted(weights_file, source, weights)
    file = one_weights(weights_file, weights)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.bench import Workload
        from kdlnet.verbs.bench import bench as run_bench

        from ..progress import EventPrinter

        result = run_bench(
            file,
            workload=Workload(**given(batch=batch, calls=calls, rounds=rounds, warmup=warmup)),
            against=against or (),
            sweep=sweep,
            # Not entered as a context: bars that redraw would be measured, too.
            on_event=EventPrinter(console),
            **given(source=source, data=one_set(data), data_root=data_root, split=split),
            **seeing(image_size, window, tile, overlap, roi),
            **given(protocol=protocol, device=device),
            **given(threads=threads, fuse=fuse),
        )
        show(console, result)


def _sorted(
    first: Path | None, second: Path | None, named: Path | None
) -> tuple[Path | None, Path | None]:
    """Weights and SOURCE. With --weights a lone argument that is no weights file is SOURCE."""
    lone = named is not None and first is not None and second is None and first != named
    if lone and first is not None:
        from kdlnet.verbs.bench import kind_of

        if kind_of(first) is None:
            return None, first
    return first, second
