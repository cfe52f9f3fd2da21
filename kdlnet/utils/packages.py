"""Packages that only some commands need, and the versions of those that are installed."""

from __future__ import annotations

import importlib
from typing import Any

from kdlnet.errors import KdlnetError

_EXTRAS = {"openvino": "openvino", "nncf": "int8"}
"""Of setup.cfg, by package; the others are in ``export``."""


def version_of(package: str) -> str | None:
    """From the package's own notes, since some take seconds to import; None if not installed."""
    import importlib.metadata  # noqa: PLC0415 a tenth of the start of every command

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def optional_package(name: str, purpose: str) -> Any:
    """The imported package ``name``. Raises KdlnetError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise KdlnetError(
            f"{purpose} needs the package {name!r}, which is not installed: "
            f"pip install 'kdlnet[{_EXTRAS.get(name, 'export')}]'"
        ) from None
