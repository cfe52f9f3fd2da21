"""The contest behind ``kdlnet bench``: files measured in turns, and what is said of each."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kdlnet.errors import KdlnetError
from kdlnet.events import Listener, Message
from kdlnet.inference.clock import STAGES, Timing
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import Runtime
from kdlnet.inference.sweeps import BatchSpeed, ThreadSpeed
from kdlnet.inference.turns import (
    Rows,
    Spread,
    Warmth,
    Workload,
    ratios,
    spread,
    take_turns,
    warm_up,
)
from kdlnet.inference.workloads import files_call, forward_call, overlapped_call
from kdlnet.ops.limits import IOU_THRESHOLD
from kdlnet.types import ImageSize
from kdlnet.utils.environment import environment
from kdlnet.utils.given import Name

PAPER: dict[str, Any] = {
    "model": "KD-LightNet (Liu et al., IEEE TIM 2023)",
    "images_per_second": 72.0,
    "device": "RTX 3070 Ti",
}


@dataclass(frozen=True)
class Overlapped:
    """Images a second where reading and the network overlap, ``batch`` at once, as predict does."""

    batch: int
    images: int
    images_per_second: Spread


@dataclass(frozen=True)
class BenchResult:
    """What was measured, on what, and how. Times are milliseconds for a call of ``batch`` images.

    ``stages`` are the parts of a call and ``total``, its wall time, of which the share
    ``unaccounted`` is in no stage. ``first_call_ms`` is the one before the ``warmup``, which made
    so many calls; ``settled`` says whether times no longer changed after them, None where their
    number was given. ``rounds`` holds the median total of each round. ``images_per_second`` counts
    whole calls, ``infer_images_per_second`` the network alone. ``images`` says what was read; it is
    empty for the paper's protocol, where ``paper`` holds the paper's row and whether the two can be
    compared. ``accuracy`` is that on the split of ``data``, where one was given and its labels fit.
    ``batches`` and ``thread_counts`` are empty without a sweep.
    """

    protocol: str
    weights: str
    model: str
    runtime: str
    precision: str
    file_precision: str
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
    settled: bool | None
    images: dict[str, Any]
    load_ms: float
    first_call_ms: dict[str, float]
    stages: dict[str, Timing]
    unaccounted: float
    rounds: list[float]
    spread: Spread
    images_per_second: float
    infer_images_per_second: float
    boxes_per_image: float | None
    score_threshold: float | None
    iou_threshold: float | None
    overlapped: Overlapped | None
    accuracy: dict[str, Any] | None
    batches: list[BatchSpeed]
    thread_counts: list[ThreadSpeed]
    paper: dict[str, Any] | None
    environment: dict[str, Any]
    against: list[Rival]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "image_size": list(self.image_size)}


@dataclass(frozen=True)
class Rival:
    """Another file, measured in turns with the first: the same images, threads and rounds.

    ``ratio`` is how many times as long as the first's its median call takes, round by round.
    """

    result: BenchResult
    ratio: Spread


@dataclass(frozen=True)
class Labelled:
    """A dataset whose labels say how accurate a network is."""

    data: Name
    split: str
    root: Path | None


@dataclass(frozen=True)
class Entry:
    """One file of the contest, and the images for it; none of them for a forward pass alone."""

    runtime: Runtime
    load_ms: float
    paths: Sequence[Path] = ()
    images: dict[str, Any] = field(default_factory=dict)


def measure(
    entries: Sequence[Entry],
    workload: Workload,
    on_event: Listener,
    labelled: Labelled | None = None,
) -> BenchResult:
    """The first of ``entries``; the others are its rivals."""
    calls = [
        files_call(one.runtime, one.paths, workload.batch)
        if one.paths
        else forward_call(one.runtime)
        for one in entries
    ]
    warmth = [warm_up(call, workload.warmup) for call in calls]
    for entry, each in zip(entries, warmth, strict=True):
        if each.settled is False:
            text = f"{str(entry.runtime.path)!r} never settled: is the machine busy?"
            on_event(Message(text, "warning"))
    each_of = " of each file" if len(entries) > 1 else ""
    on_event(Message(f"measuring {workload.calls} calls{each_of}"))
    rows = take_turns(calls, workload.turns)
    overlapped = _overlapped(entries, workload)
    results = [
        _result(entry, workload, warm, mine, side, _accuracy(entry.runtime, labelled, on_event))
        for entry, warm, mine, side in zip(entries, warmth, rows, overlapped, strict=True)
    ]
    rivals = [
        Rival(result, ratios(mine, rows[0]))
        for result, mine in zip(results[1:], rows[1:], strict=True)
    ]
    return replace(results[0], against=rivals)


def _overlapped(entries: Sequence[Entry], workload: Workload) -> list[Overlapped | None]:
    if not entries[0].paths:
        return [None] * len(entries)
    batch = max(Predictor.batch, workload.batch)
    count = max(2 * batch, workload.calls * workload.batch // len(workload.turns))
    calls = [overlapped_call(one.runtime, one.paths, count, batch) for one in entries]
    for call in calls:
        call(0)
    rows = take_turns(calls, [1] * len(workload.turns))
    return [Overlapped(batch, count, spread(mine.rates(count))) for mine in rows]


def _accuracy(
    runtime: Runtime, labelled: Labelled | None, on_event: Listener
) -> dict[str, Any] | None:
    if labelled is None:
        return None
    try:
        # Labels and AP need torch and more, which a runner of exported files may not have.
        measured = importlib.import_module("kdlnet.inference.accuracy").accuracy_on
        found = measured(runtime, labelled.data, labelled.split, labelled.root, on_event)
    except (KdlnetError, ImportError) as error:
        on_event(Message(f"no accuracy of {str(runtime.path)!r}: {error}", "warning"))
        return None
    return asdict(found)


def _result(
    entry: Entry,
    workload: Workload,
    warmth: Warmth,
    rows: Rows,
    overlapped: Overlapped | None,
    accuracy: dict[str, Any] | None,
) -> BenchResult:
    runtime, files = entry.runtime, bool(entry.paths)
    stages, batch = rows.stages, workload.batch
    parts = sum(timing.mean for stage, timing in stages.items() if stage in STAGES)
    return BenchResult(
        protocol="files" if files else "paper",
        weights=str(runtime.path),
        model=runtime.model,
        runtime=f"{runtime.name} {runtime.version}",
        precision=runtime.precision,
        file_precision=runtime.file_precision,
        fused=runtime.fused,
        file_fused=runtime.file_fused,
        device=runtime.device,
        device_name=runtime.device_name,
        threads=runtime.threads,
        image_size=runtime.preprocess.image_size,
        preprocess=runtime.preprocess.to_dict(),
        batch=batch,
        calls=workload.calls,
        warmup=warmth.calls,
        settled=warmth.settled,
        images=entry.images,
        load_ms=entry.load_ms,
        first_call_ms=warmth.first,
        stages=stages,
        unaccounted=1 - parts / stages["total"].mean,
        rounds=rows.medians(),
        spread=spread(rows.medians()),
        images_per_second=1e3 * batch / stages["total"].mean,
        infer_images_per_second=1e3 * batch / stages["infer"].mean,
        boxes_per_image=rows.boxes / workload.calls / batch if files else None,
        score_threshold=runtime.rule.lowest if files else None,
        iou_threshold=IOU_THRESHOLD if files else None,
        overlapped=overlapped,
        accuracy=accuracy,
        batches=[],
        thread_counts=[],
        paper=None if files else {**PAPER, **_comparable(runtime.device_name)},
        environment=environment(),
        against=[],
    )


def _comparable(name: str) -> dict[str, Any]:
    """Whether a figure of the device called ``name`` may stand beside the paper's, and why not."""
    same = PAPER["device"] in name and "Laptop" not in name
    note = "the paper's image size is not public" if same else f"another device: {name}"
    return {"comparable": same, "note": note}
