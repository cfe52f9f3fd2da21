"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from typing import Any

from kdlnet.errors import KdlnetError

_EXTRAS = {"openvino": "openvino", "nncf": "int8"}
"""Of setup.cfg, by package; the others are in ``export``."""


def optional_package(name: str, purpose: str) -> Any:
    """The imported package ``name``. Raises KdlnetError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise KdlnetError(
            f"{purpose} needs the package {name!r}, which is not installed: "
            f"pip install 'kdlnet[{_EXTRAS.get(name, 'export')}]'"
        ) from None
