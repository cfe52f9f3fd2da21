"""``kdlnet env``: what a bug report needs to say about the machine."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from kdlnet.utils import environment as facts


def environment() -> dict[str, Any]:
    """Versions, machine, threads and devices; what torch sees of them where it is installed."""
    devices = ["cpu"]
    with contextlib.suppress(ModuleNotFoundError):
        devices = importlib.import_module("kdlnet.utils.device").available_devices()
    return {**facts.environment(), "devices": devices}
