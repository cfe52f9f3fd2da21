"""OpenVINO files of kdlnet on any device of OpenVINO; nothing here needs torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from kdlnet.errors import ConfigError, WeightsError
from kdlnet.inference.exported import (
    METADATA_KEY,
    Run,
    damaged,
    exported_file,
    exported_runtime,
    input_size,
    read_header,
)
from kdlnet.inference.layouts import Array, Layout, Shapes
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.utils.environment import has_amx
from kdlnet.utils.memory import keep_freed_memory
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import is_damaged
from kdlnet.utils.threads import Home, usable_threads

_SIZES = 4  # batches of so many sizes stay compiled
_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def open_file(path: Path, wanted: Wanted) -> Runtime:
    """The network in an OpenVINO file and the ``.bin`` beside it.

    Raises WeightsError for files that are missing, damaged, or that kdlnet export did not write,
    ConfigError for a device that is not there, KdlnetError without the package openvino.
    """
    graph = exported_file(path, "OpenVINO file")
    numbers = exported_file(path.with_suffix(".bin"), f"{path.name!r} is one of two files:")
    openvino = optional_package("openvino", "an OpenVINO file")
    keep_freed_memory()
    if is_damaged(graph + numbers):
        raise damaged(path)
    core = openvino.Core()
    device = _device(core, wanted.device)
    model = _model(core, graph, numbers, path)
    header = read_header(_metadata(model), _shapes(model), path, "an OpenVINO file")
    threads = wanted.threads or usable_threads()
    options = _options(device, threads, "products" in header)
    first = Layout.of_header(header).batch or 1, *input_size(path, wanted, header)
    compiled = _compiler(core, model, device, options)
    network = compiled((first[0], model.input("images").partial_shape[1].get_length(), *first[1:]))
    kind = network.get_property("INFERENCE_PRECISION_HINT").get_type_name()

    home = Home()

    def divide(lanes: int) -> Run:
        more = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(lanes)} if lanes > 1 else {}
        return _runner(_compiler(core, model, device, options | more), threads, home)

    return exported_runtime(
        path,
        wanted,
        header,
        _runner(compiled, threads, home),
        device.lower(),
        divide if device == "CPU" else None,
        name="openvino",
        version=openvino.__version__.split("-")[0],
        device_name=str(core.get_property(device, "FULL_DEVICE_NAME")).strip(),
        threads=threads,
        precision=_PRECISIONS.get(kind, kind),
    )


def _options(device: str, threads: int, bf16: bool) -> dict[str, str]:
    """How a network is compiled for one call at a time.

    On the CPU in float32, whatever it can do, since that is what was proved, or in ``bf16`` where
    the file was proved in that and the processor has AMX: with other instructions for it OpenVINO
    takes longer than in float32 (RECIPES.md).
    """
    options = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        kind = "bf16" if bf16 and has_amx() else "f32"
        options |= {"INFERENCE_PRECISION_HINT": kind, "INFERENCE_NUM_THREADS": str(threads)}
    return options


def _device(core: Any, name: str) -> str:
    """OpenVINO's name of a device: ``auto`` is the CPU, on which exports are proved."""
    found = list(core.available_devices)
    wanted = "CPU" if name == "auto" else name.upper()
    if wanted not in found and f"{wanted}.0" not in found:
        raise ConfigError(
            f"OpenVINO finds no device {name!r} here, only {', '.join(map(str.lower, found))}; "
            "gpu and npu need Intel's driver"
        )
    return wanted


def _model(core: Any, graph: bytes, numbers: bytes, path: Path) -> Any:
    try:
        return core.read_model(model=graph, weights=numbers)
    except Exception as error:  # its classes are many, and derive from Exception alone
        reason = str(error).strip().split("\n")[-1]
        raise WeightsError(f"{str(path)!r} is not a readable OpenVINO file: {reason}") from None


def _metadata(model: Any) -> str | None:
    keys = [METADATA_KEY]
    return str(model.get_rt_info(keys).value) if model.has_rt_info(keys) else None


def _shapes(model: Any) -> Shapes:
    return {
        # Ports of other tools' files may have no name.
        min(port.get_names(), default=""): [
            None if size.is_dynamic else size.get_length() for size in list(port.partial_shape)[1:]
        ]
        for port in (*model.inputs, *model.outputs)
    }


Compiler = Callable[[tuple[int, ...]], Any]
"""The network compiled for images (B, channels, H, W) of a shape."""


def _compiler(core: Any, model: Any, device: str, options: dict[str, str]) -> Compiler:
    """Each size compiled for itself: a fifth quicker, and an NPU takes nothing else."""
    one_at_a_time = threading.Lock()

    @lru_cache(_SIZES)
    def kept(shape: tuple[int, ...]) -> Any:
        sized = model.clone()
        sized.reshape(list(shape))
        return core.compile_model(sized, device, options)

    def compiled(shape: tuple[int, ...]) -> Any:
        with one_at_a_time:
            return kept(shape)

    return compiled


def _runner(compiled: Compiler, threads: int, home: Home) -> Run:
    """Runs batches; each thread that calls has a request of its own, made anew for another size."""
    of_thread = threading.local()

    def run(images: Array, outputs: Sequence[str]) -> Sequence[Array]:
        home.require(threads)
        network = compiled(images.shape)
        if getattr(of_thread, "network", None) is not network:
            of_thread.network, of_thread.request = network, network.create_infer_request()
        one = of_thread.request
        one.infer({"images": images}, share_inputs=True)  # else they are copied first
        # The request owns its answers and writes the next ones in their place.
        return [one.get_tensor(name).data.copy() for name in outputs]

    return run
