"""``kdlnet env``: what a bug report needs to say about the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from kdlnet import __version__

from ..console import Console
from ..options import Json, Quiet


def env(as_json: Json = False, quiet: Quiet = False) -> None:
    """Show versions, devices and threads."""
    with Console(as_json=as_json, quiet=quiet) as console:
        facts = {**_versions(), **_devices()}
        rows = [(name.replace("_", " "), _text(value)) for name, value in facts.items()]
        console.table(("part", "<found"), rows)
        console.document(facts)


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str("none" if value is None else value)


def _versions() -> dict[str, Any]:
    facts: dict[str, Any] = {"kdlnet": __version__, "python": platform.python_version()}
    packages = {name: name for name in ("torch", "torchvision", "numpy")}
    for name, package in {**packages, "opencv": "opencv-python"}.items():
        try:
            facts[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = _opencv_version() if name == "opencv" else "not installed"
    return {**facts, "platform": platform.platform()}


def _opencv_version() -> str:
    """The version of OpenCV when it was installed under another name (headless, contrib)."""
    try:
        import cv2
    except ImportError:
        return "not installed"
    return str(cv2.__version__)


def _devices() -> dict[str, Any]:
    import torch

    devices = ["cpu"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        devices.append(f"cuda:{index} {properties.name} {memory:.0f} GiB")
    return {
        "devices": devices,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
