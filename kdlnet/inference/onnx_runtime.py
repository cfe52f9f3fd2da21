"""ONNX files of kdlnet in ONNX Runtime; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlnet.errors import ConfigError, WeightsError, unknown
from kdlnet.inference.exported import (
    METADATA_KEY,
    Run,
    damaged,
    exported_file,
    exported_runtime,
    read_header,
)
from kdlnet.inference.layouts import Array, Shapes
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.utils.environment import processor_name
from kdlnet.utils.memory import keep_freed_memory
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import is_damaged
from kdlnet.utils.threads import usable_threads

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "tensorrt": ("TensorrtExecutionProvider", {}),
}
"""By device: what computes, and its options."""


def open_file(path: Path, wanted: Wanted) -> Runtime:
    """The network in an ONNX file.

    Raises WeightsError for a file that is damaged, no ONNX file, or that kdlnet export did not
    write, ConfigError for a device that is not there, KdlnetError without the package onnxruntime.
    """
    data = exported_file(path, "ONNX file")
    package = optional_package("onnxruntime", "an ONNX file")
    keep_freed_memory()
    if is_damaged(data):
        raise damaged(path)
    threads = wanted.threads or usable_threads()
    device = _device(package, wanted.device)
    session = _session(package, data, path, threads, device)
    header = read_header(_metadata(session, path), _shapes(session), path, "an ONNX file")

    def divide(lanes: int) -> Run:
        return _runner(_session(package, data, path, threads // lanes, device))

    return exported_runtime(
        path,
        wanted,
        header,
        _runner(session),
        device,
        divide if device == "cpu" else None,
        name="onnxruntime",
        version=package.__version__,
        device_name=processor_name() if device == "cpu" else PROVIDERS[device][0],
        threads=threads,
        precision="float32 (TF32)" if device == "tensorrt" else "float32",
    )


def _device(package: Any, name: str) -> str:
    """A key of PROVIDERS: ``auto`` is the CPU, on which exports are proved."""
    found = package.get_available_providers()
    names = [name for name, (provider, _) in PROVIDERS.items() if provider in found]
    asked = name.lower()
    if asked in ("gpu", "npu"):
        raise ConfigError(
            f"device {name!r} is one of OpenVINO, for an exported .xml file; for a card of NVIDIA "
            "install onnxruntime-gpu in place of onnxruntime and give cuda or tensorrt. "
            f"Known here: {', '.join(['auto', *names])}"
        )
    if asked != "auto" and asked not in names:
        raise ConfigError(
            f"{unknown('device', name, ['auto', *names])}; for cuda and tensorrt install "
            "onnxruntime-gpu in place of onnxruntime"
        )
    return "cpu" if asked == "auto" else asked


def _session(package: Any, data: bytes, path: Path, threads: int, device: str) -> Any:
    options = package.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # What a card cannot do the CPU does.
    providers = list(dict([PROVIDERS[device], PROVIDERS["cpu"]]).items())
    try:
        # With its fallback it would print, and try the same again.
        session = package.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except Exception as error:  # its classes are many, and derive from Exception alone
        reason = str(error).split("\n")[0]
        what = "is not a readable ONNX file" if device == "cpu" else f"cannot run on {device}"
        raise WeightsError(f"{str(path)!r} {what}: {reason}") from None
    if session.get_providers()[0] != providers[0][0]:  # it went on without a word
        raise ConfigError(
            f"device {device!r}: ONNX Runtime could not start {providers[0][0]} (libraries or "
            "driver are missing); use cpu"
        )
    return session


def _runner(session: Any) -> Run:
    def run(images: Array, outputs: Sequence[str]) -> Sequence[Array]:
        found: Sequence[Array] = session.run(list(outputs), {"images": images})
        return found

    return run


def _metadata(session: Any, path: Path) -> str | None:
    try:
        text: str | None = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{str(path)!r} is not a readable ONNX file: {error}") from None
    return text


def _shapes(session: Any) -> Shapes:
    values = (*session.get_inputs(), *session.get_outputs())
    return {
        value.name: [size if isinstance(size, int) else None for size in value.shape[1:]]
        for value in values
    }
