"""``kdlnet bench``: how fast weights are from the bytes of a file to boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Console, figure
from ..options import (
    Data,
    DataRoot,
    Device,
    Json,
    Overlap,
    Quiet,
    RunnableArgument,
    Split,
    Tile,
    Weights,
    Window,
    at_least_one,
    given,
    not_negative,
    one_weights,
    option,
    seeing,
)

if TYPE_CHECKING:
    from kdlnet.verbs.bench import BenchResult


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
        option("--batch", metavar="N", callback=at_least_one, help="Images a call [1]."),
    ] = None,
    image_size: Annotated[
        str | None,
        option("--image-size", metavar="N|HxW", help="Network input [that of the weights]."),
    ] = None,
    window: Window = None,
    tile: Tile = None,
    overlap: Overlap = None,
    device: Device = None,
    threads: Annotated[
        int | None,
        option("--threads", metavar="N", callback=at_least_one, help="Of torch and OpenCV [all]."),
    ] = None,
    calls: Annotated[
        int | None,
        option("--calls", metavar="N", callback=at_least_one, help="Calls to measure [200]."),
    ] = None,
    warmup: Annotated[
        int | None,
        option("--warmup", metavar="N", callback=not_negative, help="Calls before them [10]."),
    ] = None,
    fuse: Annotated[
        bool | None, option("--fuse/--no-fuse", help="Fold the weights in memory first [on].")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure speed, from image files to boxes. Also: benchmark-fps.

    Without SOURCE or --data the images are made up. No call is left out as an outlier.

    \b
    kdlnet bench runs/train/neu-det/weights/best.pt --data neu-det
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
            workload=Workload(**given(batch=batch, calls=calls, warmup=warmup)),
            # Not entered as a context: bars that redraw would be measured, too.
            on_event=EventPrinter(console),
            **given(source=source, data=data, data_root=data_root, split=split),
            **seeing(image_size, window, tile, overlap),
            **given(protocol=protocol, device=device),
            **given(threads=threads, fuse=fuse),
        )
        _show(console, result)


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


def _show(console: Console, result: BenchResult) -> None:
    facts = result.to_dict()
    console.table(
        ("stage, ms a call", "mean", "p50", "p95", "p99", "largest"),
        [(name, *(figure(value, 2) for value in part.values())) for name, part in _parts(facts)],
    )
    height, width = result.image_size
    state = "fused" if result.fused else "not fused"
    console.say(
        f"model   {result.model}, {state}, {height}x{width}, batch {result.batch}, "
        f"{result.precision}, {result.runtime}"
    )
    threads = f"{result.threads} thread" + "s" * (result.threads > 1)
    console.say(f"device  {result.device}: {result.device_name}, {threads}")
    if result.images:
        console.say(f"images  {_images(facts['images'])}; {result.boxes_per_image:.1f} boxes each")
    first = result.first_call_ms["total"]
    console.say(
        f"calls   {result.calls} after {result.warmup} to warm up; the first of all took "
        f"{first:.0f} ms, loading {result.load_ms:.0f} ms"
    )
    if result.paper is not None:
        _show_paper(console, result, result.paper)
    else:
        console.say(
            f"speed   {result.images_per_second:.1f} images/s from file to boxes, "
            f"{result.infer_images_per_second:.1f} images/s for the network alone",
            "bold",
        )
    console.document(facts)


def _parts(facts: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """The stages; the total is left out where it is the only stage again."""
    stages: dict[str, dict[str, float]] = facts["stages"]
    return [(name, part) for name, part in stages.items() if len(stages) > 2 or name != "total"]


def _images(images: dict[str, Any]) -> str:
    kinds = {"made-up": "made-up grey PNG files, not real images", "data": "files of the dataset"}
    size = "x".join(map(str, images["size"])) if images["size"] else "of several sizes"
    kind = kinds.get(images["kind"], "files")
    return f"{images['count']} {kind}, {size}, {images['kilobytes']:.0f} kB each on average"


def _show_paper(console: Console, result: BenchResult, paper: dict[str, Any]) -> None:
    height, width = result.image_size
    console.table(
        ("forward pass, batch 1", "FPS", "<size", "<device"),
        [
            (
                f"{result.model}, here",
                figure(result.images_per_second, 1),
                f"{height}x{width}",
                result.device_name,
            ),
            (paper["model"], figure(paper["images_per_second"], 1), "not public", paper["device"]),
        ],
    )
    verdict = "comparable" if paper["comparable"] else "not comparable"
    console.say(f"{verdict}: {paper['note']}", "bold")
