"""What a result was made with: versions, machine, threads."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy
import torch
import torchvision

from kdlnet import __version__


def environment() -> dict[str, Any]:
    """Versions, machine and threads, as JSON values."""
    return {
        "kdlnet": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": sys.argv,
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
