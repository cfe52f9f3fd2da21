"""What a result was made with: versions, machine, threads."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy

from kdlnet import __version__
from kdlnet.utils.packages import version_of
from kdlnet.utils.threads import usable_threads

_PACKAGES = ("torch", "torchvision", "onnxruntime", "openvino")


def environment() -> dict[str, Any]:
    """Versions, machine and threads, as JSON values.

    What torch knows about the machine is in it where torch is in use.
    """
    return {
        "kdlnet": __version__,
        "python": platform.python_version(),
        **{name: version_of(name) for name in _PACKAGES},
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        **_seen_by_torch(),
        "command": sys.argv,
    }


def _seen_by_torch() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {"threads": usable_threads()}
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def processor_name() -> str:
    """The CPU's name as the operating system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def sums_8_bits() -> bool:
    """Whether the processor multiplies 8-bit integers and sums them without running over.

    On x86 that takes VNNI or AMX; older ones sum pairs of products in 16 bits. False where the
    operating system does not say.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def has_amx() -> bool:
    """Whether the processor has AMX for bfloat16; False where the operating system does not say."""
    return "amx_bf16" in _flags()


def _flags() -> set[str]:
    """All words of what Linux says of the processor, its instructions among them."""
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()
