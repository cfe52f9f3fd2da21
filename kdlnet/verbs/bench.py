"""Speed from the bytes of a file to boxes, stage by stage, and by the paper's protocol."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdlnet.errors import ConfigError, unknown
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.contract import RoiChoice, Seeing, TileChoice, adjusted
from kdlnet.images.roi import least_size
from kdlnet.images.window import Window, depth_line, image_depth
from kdlnet.inference.contest import PAPER, BenchResult, Entry, Labelled, Rival, measure
from kdlnet.inference.kinds import kind_of
from kdlnet.inference.probe_images import describe_files, find_images, readable
from kdlnet.inference.runtimes import Runtime, open_runtime, thread_count
from kdlnet.inference.sweeps import by_batch, by_threads, thread_counts
from kdlnet.inference.turns import MOST_IMAGES, Workload
from kdlnet.types import ImageSize
from kdlnet.utils.files import temporary_folder
from kdlnet.utils.given import AnyPath, Name, as_path, as_paths, checked

__all__ = ["PAPER", "PROTOCOLS", "BenchResult", "Rival", "Workload", "bench", "kind_of"]

PROTOCOLS = ("files", "paper")
PAPER_SIZE = (640, 640)
"""The paper's image size is not public."""


@dataclass(frozen=True)
class _How:
    """How files are opened, and for what."""

    protocol: str
    device: str
    fuse: bool
    seeing: Seeing


@checked
def bench(
    weights: AnyPath,
    *,
    source: AnyPath | None = None,
    data: Name | None = None,
    data_root: AnyPath | None = None,
    split: str = "val",
    protocol: str = "files",
    workload: Workload | None = None,
    against: AnyPath | Sequence[AnyPath] = (),
    sweep: bool = False,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
    roi: RoiChoice = None,
    device: str = "auto",
    threads: int | None = None,
    fuse: bool = True,
    on_event: Listener = ignore,
) -> BenchResult:
    """Measures ``weights`` on ``device``, fused in memory unless ``fuse`` is False.

    Protocol ``files``: from image files to boxes in pixels of the original image. The images are
    ``source`` (a file or a folder), the ``split`` of ``data``, or made-up ones. Each file is read
    once before, so that decoding starts from the system's cache and not from the disk. Protocol
    ``paper``: the forward pass of the fused network alone, one image, 640x640 unless told.
    ``against`` are other files, of any runtime, that take turns with the first. ``data`` also gives
    the accuracy of each on that split. ``sweep``: ``weights`` by batch and by threads, too.

    Raises WeightsError, DataError or ConfigError for what cannot be used.
    """
    weights, source, data_root = as_path(weights), as_path(source), as_path(data_root)
    against = as_paths(against)
    workload = workload or Workload()
    how = _How(protocol, device, fuse, Seeing(image_size, window, tile, overlap, roi))
    _check(how, workload, source is not None or data is not None, sweep)
    cores = os.cpu_count() or 1
    if threads is not None and threads > cores:
        raise ConfigError(f"threads {threads}: this machine has {cores}")
    opened = [_open(file, how, threads) for file in (weights, *against)]
    for runtime, _ in opened:
        _tell_batch(runtime, workload.batch, on_event)
    with thread_count(threads), temporary_folder() as folder:
        if protocol == "paper":
            _tell_fused(opened, on_event)
            return measure([Entry(*one) for one in opened], workload, on_event)
        sizes = [least_size(runtime.preprocess) for runtime, _ in opened]
        size = (max(height for height, _ in sizes), max(width for _, width in sizes))
        kind, found = find_images(source, data, split, data_root, Path(folder), size, on_event)
        rois = [runtime.preprocess.roi for runtime, _ in opened]
        found = readable(found, min(MOST_IMAGES, workload.calls * workload.batch), rois, on_event)
        _tell_fused(opened, on_event)
        about = {"kind": kind, **describe_files(found)}
        _tell_depth([runtime for runtime, _ in opened], found, on_event)
        entries = [Entry(*one, found, about) for one in opened]
        labelled = None if data is None else Labelled(data, split, data_root)
        result = measure(entries, workload, on_event, labelled)
        return (
            _swept(result, opened[0][0], found, workload, how, threads, on_event)
            if sweep
            else result
        )


def _swept(
    result: BenchResult,
    runtime: Runtime,
    paths: Sequence[Path],
    workload: Workload,
    how: _How,
    threads: int | None,
    on_event: Listener,
) -> BenchResult:
    """With the speeds by batch, and on a CPU by threads, up to ``threads``."""
    on_event(Message("measuring batches"))
    result = replace(result, batches=by_batch(runtime, paths, workload))
    if result.device != "cpu":
        return result
    on_event(Message("measuring threads"))
    runtimes = [_open(runtime.path, how, count)[0] for count in thread_counts(threads)]
    return replace(result, thread_counts=by_threads(runtimes, paths, workload))


def _check(how: _How, workload: Workload, source: bool, sweep: bool) -> None:
    if workload.batch > MOST_IMAGES:
        raise ConfigError(f"batch {workload.batch}: a call takes at most {MOST_IMAGES} images")
    if how.protocol not in PROTOCOLS:
        raise ConfigError(unknown("protocol", how.protocol, PROTOCOLS))
    if how.protocol == "files":
        return
    if workload.batch != 1:
        raise ConfigError(f"batch {workload.batch}: the paper's protocol has 1; leave --batch out")
    if not how.fuse:
        raise ConfigError("the paper's protocol measures the fused network: leave --no-fuse out")
    if source or sweep or replace(how.seeing, image_size=None) != Seeing():
        raise ConfigError(
            "the paper's protocol measures the forward pass alone: leave SOURCE, --data, --sweep, "
            "--window, --tile, --overlap and --roi out"
        )


def _open(path: Path, how: _How, threads: int | None) -> tuple[Runtime, float]:
    """The runtime, and how many milliseconds it took to be ready."""
    began = time.perf_counter()
    seeing = how.seeing
    size = seeing.image_size
    runtime = open_runtime(path, device=how.device, fuse=how.fuse, image_size=size, threads=threads)
    if how.protocol == "paper" and not runtime.fixed_size:
        size = size or PAPER_SIZE
    contract = adjusted(runtime.preprocess, replace(seeing, image_size=size))
    runtime.engine.wait()
    return replace(runtime, preprocess=contract), 1e3 * (time.perf_counter() - began)


def _tell_fused(opened: Sequence[tuple[Runtime, float]], on_event: Listener) -> None:
    for runtime, _ in opened:
        if runtime.fused and not runtime.file_fused:
            text = f"{str(runtime.path)!r} is not fused: it is fused in memory, as for inference"
            on_event(Message(text))


def _tell_batch(runtime: Runtime, batch: int, on_event: Listener) -> None:
    """Tells where the network takes another number of images at once than are measured."""
    size = runtime.batch
    if size is None or batch == size or runtime.preprocess.tiling is not None:
        return
    runs, more = math.ceil(batch / size), -batch % size
    filled = f", filled up with {more} black" if more else ""
    many = f"{runs} times {size}" if runs > 1 else str(size)
    text = f"{str(runtime.path)!r} takes batches of {size} only: {batch} run as {many}{filled}"
    on_event(Message(text, "warning"))


def _tell_depth(runtimes: Sequence[Runtime], paths: Sequence[Path], on_event: Listener) -> None:
    """Tells which network was trained on images of another bit depth."""
    depth = image_depth(paths)
    for contract in (runtime.preprocess for runtime in runtimes):
        if line := depth_line(str(paths[0]), contract, depth):
            on_event(Message(line, "warning"))
