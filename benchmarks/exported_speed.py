"""Milliseconds a call of exported files of any tool, batch 1, on noise, in turns in one process.

    python benchmarks/exported_speed.py a.onnx b.onnx --runtime openvino --threads 2

The network alone: each file's inputs and outputs are as its tool wrote them. Prints a JSON object:
file to the median milliseconds of each round.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

Call = Callable[[], Any]
RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16")
_WARM = 5  # calls before the first round


def onnxruntime_call(file: str, threads: int, size: int) -> Call:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    image = {session.get_inputs()[0].name: noise(size)}
    return lambda: session.run(None, image)


def openvino_call(file: str, threads: int, size: int, precision: str = "f32") -> Call:
    openvino = importlib.import_module("openvino")
    model = openvino.Core().read_model(file)
    model.reshape([1, 3, size, size])
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads),
    }
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    image = noise(size)
    return lambda: request.infer([image], share_inputs=True)


def noise(size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random((1, 3, size, size), np.float32)


def in_turns(calls: dict[str, Call], rounds: int, count: int) -> dict[str, list[float]]:
    """Median milliseconds of ``count`` calls, by round; the first of a turn does not count."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(_WARM):
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            found[name].append(statistics.median(_milliseconds(call) for _ in range(count)))
    return found


def _milliseconds(call: Call) -> float:
    began = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0])
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=30, help="a round [30]")
    options = parser.parse_args(arguments)
    bf16 = partial(openvino_call, precision="bf16")
    ways: Sequence[Callable[[str, int, int], Call]] = (onnxruntime_call, openvino_call, bf16)
    call = dict(zip(RUNTIMES, ways, strict=True))[options.runtime]
    calls = {file: call(file, options.threads, options.image_size) for file in options.files}
    print(json.dumps(in_turns(calls, options.rounds, options.calls)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
