"""Paths as people read them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from kdlnet.errors import ConfigError

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def paths_from_text(work: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """``work``, to which paths may be given as text, as people write them in Python.

    They are the arguments that are annotated as Path or as a sequence of such, for which a single
    one will do. Raises ConfigError for what is no path.
    """
    signature = inspect.signature(work)
    kinds = {name: str(each.annotation) for name, each in signature.parameters.items()}
    kinds = {name: kind for name, kind in kinds.items() if re.search(r"\bPath\b", kind)}

    @wraps(work)
    def done(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        given = signature.bind(*args, **kwargs)
        for name in kinds.keys() & given.arguments.keys():
            given.arguments[name] = _as_paths(name, given.arguments[name], kinds[name])
        return work(*given.args, **given.kwargs)

    return done


def _as_paths(name: str, value: Any, kind: str) -> Any:
    """The Path, or paths, or None that ``kind`` asks for."""
    if isinstance(value, str | PathLike):
        return [Path(value)] if "Sequence" in kind else Path(value)
    if "Sequence" in kind and isinstance(value, list | tuple):
        return [_as_paths(name, each, "Path") for each in value]
    if value is None and "None" in kind:
        return None
    raise ConfigError(f"{name} {value!r} is no path: give text or a Path")


def shown(path: Path) -> str:
    """``path`` as short as it can be: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def asked(question: Callable[[], bool], otherwise: bool = False) -> bool:
    """What a path answers, asked whether it is a file, say; ``otherwise`` where nobody may look."""
    try:
        return question()
    except OSError:  # its folder is closed to us, or the name is too long for any
        return otherwise


def why_missing(path: Path) -> str:
    """Why nothing is found at ``path``."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no path has a NUL in it
        pass
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "does not exist"
