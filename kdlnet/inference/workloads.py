"""What is timed: image files to boxes, one after the other or overlapped, or the network alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.events import ignore
from kdlnet.images.read import read_image
from kdlnet.inference.clock import Laps
from kdlnet.inference.pipeline import Pipeline
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import Runtime
from kdlnet.inference.turns import Call
from kdlnet.inference.views import FrameViews

_TILES = 16  # a batch of tiles, as for predict


def files_call(runtime: Runtime, paths: Sequence[Path], batch: int) -> Call:
    """From files to boxes, one stage after the other: nothing overlaps.

    ``total`` is the wall time around all stages, read from a clock of its own.
    """
    contract = runtime.preprocess
    pipeline = Pipeline(
        runtime.engine,
        contract.image_size,
        rule=runtime.rule,
        batch=batch if contract.tiling is None else max(batch, _TILES),
    )

    def call(number: int) -> tuple[dict[str, float], list[NDArray[Any]]]:
        began = time.perf_counter()
        clock = Laps()
        files = [paths[(number * batch + i) % len(paths)] for i in range(batch)]
        images = [read_image(path) for path in files]
        clock.end("decode")
        found = [each.boxes for each in pipeline.detect(FrameViews(images, contract), clock)]
        return clock.spent | {"total": 1e3 * (time.perf_counter() - began)}, found

    return call


def forward_call(runtime: Runtime) -> Call:
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


def overlapped_call(runtime: Runtime, paths: Sequence[Path], count: int, batch: int) -> Call:
    """``count`` images as predict sees them: files are read while the network works."""
    predictor = Predictor(
        runtime.engine, runtime.names, runtime.preprocess, runtime.rule, batch=batch
    )
    files = list(islice(cycle(paths), count))

    def call(number: int) -> tuple[dict[str, float], list[NDArray[Any]]]:
        began = time.perf_counter()
        found = [each.boxes for each in predictor.stream(files, on_event=ignore)]
        return {"total": 1e3 * (time.perf_counter() - began)}, found

    return call
