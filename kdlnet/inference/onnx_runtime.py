"""ONNX files of kdlnet in ONNX Runtime, on the CPU; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlnet.errors import ConfigError, WeightsError
from kdlnet.inference.exported import (
    METADATA_KEY,
    damaged,
    exported_file,
    exported_runtime,
    read_header,
)
from kdlnet.inference.layouts import Array
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.utils.environment import processor_name
from kdlnet.utils.memory import keep_freed_memory
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import is_damaged
from kdlnet.utils.threads import usable_threads


def open_file(path: Path, wanted: Wanted) -> Runtime:
    """The network in an ONNX file.

    Raises WeightsError for a file that is damaged, no ONNX file, or that kdlnet export did not
    write, KdlnetError without the package onnxruntime.
    """
    if wanted.device not in ("auto", "cpu"):
        raise ConfigError(
            f"device {wanted.device!r}: ONNX files run on the CPU here; use auto or cpu, the .pt "
            "file, or an export to OpenVINO"
        )
    data = exported_file(path, "ONNX file")
    package = optional_package("onnxruntime", "an ONNX file")
    keep_freed_memory()
    if is_damaged(data):
        raise damaged(path)
    threads = wanted.threads or usable_threads()
    session = _session(package, data, path, threads)
    header = read_header(_metadata(session, path), _shapes(session), path, "an ONNX file")

    def run(images: Array, outputs: Sequence[str]) -> Sequence[Array]:
        found: Sequence[Array] = session.run(list(outputs), {"images": images})
        return found

    return exported_runtime(
        path,
        wanted,
        header,
        run,
        "cpu",
        name="onnxruntime",
        version=package.__version__,
        device_name=processor_name(),
        threads=threads,
    )


def _session(package: Any, data: bytes, path: Path, threads: int) -> Any:
    options = package.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        # With its fallback it would print, and try the same again.
        cpu = ["CPUExecutionProvider"]
        return package.InferenceSession(data, options, providers=cpu, enable_fallback=0)
    except Exception as error:  # its classes are many, and derive from Exception alone
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{str(path)!r} is not a readable ONNX file: {reason}") from None


def _metadata(session: Any, path: Path) -> str | None:
    try:
        text: str | None = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{str(path)!r} is not a readable ONNX file: {error}") from None
    return text


def _shapes(session: Any) -> dict[str, list[object]]:
    values = (*session.get_inputs(), *session.get_outputs())
    return {value.name: list(value.shape)[1:] for value in values}
