"""Speed from the bytes of a file to boxes, stage by stage, and by the paper's protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import ConfigError, unknown
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.contract import TileChoice, adjusted
from kdlnet.images.read import read_image
from kdlnet.images.window import Window, fit_depth, image_depth, other_depth
from kdlnet.inference.clock import Laps, Timing, timing
from kdlnet.inference.kinds import kind_of
from kdlnet.inference.pipeline import IOU_THRESHOLD, Pipeline
from kdlnet.inference.probe_images import describe_files, find_images, readable
from kdlnet.inference.runtimes import Runtime, open_runtime, thread_count
from kdlnet.inference.views import FrameViews
from kdlnet.types import ImageSize
from kdlnet.utils.environment import environment

__all__ = ["PAPER", "PROTOCOLS", "BenchResult", "Workload", "bench", "kind_of"]

PROTOCOLS = ("files", "paper")
PAPER: dict[str, Any] = {
    "model": "KD-LightNet (Liu et al., IEEE TIM 2023)",
    "images_per_second": 72.0,
    "device": "RTX 3070 Ti",
}
PAPER_SIZE = (640, 640)
"""The paper's image size is not public."""
_MOST_IMAGES = 256
_TILES = 16  # a batch of tiles, as for predict

Call = Callable[[int], tuple[dict[str, float], list[NDArray[Any]]]]
"""Call number n: milliseconds by stage, and boxes (N, 4) in pixels of each original image."""


@dataclass(frozen=True)
class BenchResult:
    """What was measured, on what, and how. Times are milliseconds for a call of ``batch`` images.

    ``stages`` are the parts of a call and ``total``, the whole of it; ``first_call_ms`` is the one
    before the warm-up. ``images_per_second`` counts whole calls, ``infer_images_per_second`` the
    network alone. ``images`` says what was read; it is empty for the paper's protocol, where
    ``paper`` holds the paper's row and whether the two can be compared.
    """

    protocol: str
    weights: str
    model: str
    runtime: str
    precision: str
    fused: bool
    file_fused: bool
    device: str
    device_name: str
    threads: int
    image_size: ImageSize
    preprocess: dict[str, Any]
    batch: int
    calls: int
    warmup: int
    images: dict[str, Any]
    load_ms: float
    first_call_ms: dict[str, float]
    stages: dict[str, Timing]
    images_per_second: float
    infer_images_per_second: float
    boxes_per_image: float | None
    score_threshold: float | None
    iou_threshold: float | None
    paper: dict[str, Any] | None
    environment: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "image_size": list(self.image_size)}


@dataclass(frozen=True)
class Workload:
    """How to measure: ``batch`` images a call, ``calls`` of them after ``warmup`` others."""

    batch: int = 1
    calls: int = 200
    warmup: int = 10


def bench(
    weights: Path,
    *,
    source: Path | None = None,
    data: str | None = None,
    data_root: Path | None = None,
    split: str = "val",
    protocol: str = "files",
    workload: Workload | None = None,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
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

    Raises WeightsError, DataError or ConfigError for what cannot be used.
    """
    workload = workload or Workload()
    if protocol not in PROTOCOLS:
        raise ConfigError(unknown("protocol", protocol, PROTOCOLS))
    if protocol == "paper":
        given = any(value is not None for value in (source, data, window, tile, overlap))
        _check_paper(workload, fuse, given)
    began = time.perf_counter()
    runtime = open_runtime(
        weights, device=device, fuse=fuse, image_size=image_size, threads=threads
    )
    with thread_count(threads), TemporaryDirectory() as folder:
        size = PAPER_SIZE if protocol == "paper" and not runtime.fixed_size else None
        contract = adjusted(runtime.preprocess, image_size or size, window, tile, overlap)
        runtime = replace(runtime, preprocess=contract)
        runtime.engine.wait()
        load_ms = 1e3 * (time.perf_counter() - began)
        images, call = {}, _forward(runtime)
        if protocol == "files":
            size, limit = runtime.preprocess.image_size, workload.calls * workload.batch
            kind, found = find_images(source, data, split, data_root, Path(folder), size)
            found = readable(found, min(_MOST_IMAGES, limit), on_event)
            fitted = fit_depth(contract, image_depth(found))
            if fitted != contract:
                on_event(Message(other_depth(str(found[0]), contract, fitted), "warning"))
            images, call = {"kind": kind, **describe_files(found)}, _files(runtime, found, workload)
        if runtime.fused and not runtime.file_fused:
            text = f"{str(weights)!r} is not fused: it is fused in memory, as for inference"
            on_event(Message(text))
        on_event(Message(f"measuring {workload.calls} calls, after {workload.warmup} to warm up"))
        return _measure(runtime, protocol, workload, load_ms, images, call)


def _check_paper(workload: Workload, fuse: bool, given: bool) -> None:
    if workload.batch != 1:
        raise ConfigError(f"batch {workload.batch}: the paper's protocol has 1; leave --batch out")
    if not fuse:
        raise ConfigError("the paper's protocol measures the fused network: leave --no-fuse out")
    if given:
        raise ConfigError(
            "the paper's protocol measures the forward pass alone: leave SOURCE, --data, --window, "
            "--tile and --overlap out"
        )


def _files(runtime: Runtime, paths: Sequence[Path], workload: Workload) -> Call:
    """From files to boxes, one after the other: nothing overlaps."""
    contract = runtime.preprocess
    pipeline = Pipeline(
        runtime.engine,
        contract.image_size,
        rule=runtime.rule,
        batch=workload.batch if contract.tiling is None else max(workload.batch, _TILES),
    )

    def call(number: int) -> tuple[dict[str, float], list[NDArray[Any]]]:
        clock = Laps()
        files = [paths[(number * workload.batch + i) % len(paths)] for i in range(workload.batch)]
        images = [read_image(path) for path in files]
        clock.end("decode")
        found = [each.boxes for each in pipeline.detect(FrameViews(images, contract), clock)]
        return clock.spent | {"total": sum(clock.spent.values())}, found

    return call


def _forward(runtime: Runtime) -> Call:
    """The forward pass of one image of noise. No boxes are made."""
    contract, engine = runtime.preprocess, runtime.engine
    shape = (1, *contract.image_size, contract.channels)
    noise = np.random.default_rng(0).random(shape, np.float32)
    image = engine.load(noise, replace(contract, window=(0.0, 1.0), depth=None))

    def call(number: int) -> tuple[dict[str, float], list[NDArray[Any]]]:
        engine.wait()
        began = time.perf_counter()
        engine.run(image)
        engine.wait()
        spent = 1e3 * (time.perf_counter() - began)
        return {"infer": spent, "total": spent}, []

    return call


def _measure(
    runtime: Runtime,
    protocol: str,
    workload: Workload,
    load_ms: float,
    images: dict[str, Any],
    call: Call,
) -> BenchResult:
    first, stages, boxes = _repeat(call, workload)
    files = protocol == "files"
    speed = {stage: 1e3 * workload.batch / stages[stage].mean for stage in ("total", "infer")}
    return BenchResult(
        protocol=protocol,
        weights=str(runtime.path),
        model=runtime.model,
        runtime=f"{runtime.name} {runtime.version}",
        precision=runtime.precision,
        fused=runtime.fused,
        file_fused=runtime.file_fused,
        device=runtime.device,
        device_name=runtime.device_name,
        threads=runtime.threads,
        image_size=runtime.preprocess.image_size,
        preprocess=runtime.preprocess.to_dict(),
        batch=workload.batch,
        calls=workload.calls,
        warmup=workload.warmup,
        images=images,
        load_ms=load_ms,
        first_call_ms=first,
        stages=stages,
        images_per_second=speed["total"],
        infer_images_per_second=speed["infer"],
        boxes_per_image=boxes / workload.calls / workload.batch if files else None,
        score_threshold=runtime.rule.lowest if files else None,
        iou_threshold=IOU_THRESHOLD if files else None,
        paper=None if files else {**PAPER, **_comparable(runtime.device_name)},
        environment=environment(),
    )


def _repeat(call: Call, workload: Workload) -> tuple[dict[str, float], dict[str, Timing], int]:
    """The first call, the timings of the measured ones by stage, and their boxes in all."""
    first, _ = call(0)
    for number in range(workload.warmup):
        call(number + 1)
    rows, boxes = [], 0
    for number in range(workload.calls):
        row, found = call(number)
        rows.append(row)
        boxes += sum(len(image) for image in found)
    return first, {stage: timing([row[stage] for row in rows]) for stage in first}, boxes


def _comparable(name: str) -> dict[str, Any]:
    """Whether a figure of the device called ``name`` may stand beside the paper's, and why not."""
    same = PAPER["device"] in name and "Laptop" not in name
    note = "the paper's image size is not public" if same else f"another device: {name}"
    return {"comparable": same, "note": note}
