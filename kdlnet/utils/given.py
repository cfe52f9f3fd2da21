"""What people give to the functions that `import kdlnet` offers."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from errno import ENAMETOOLONG
from functools import wraps
from math import inf
from pathlib import Path
from reprlib import Repr
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np

from kdlnet.errors import ConfigError
from kdlnet.utils.parse import check_number

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")

AnyPath = str | os.PathLike[str]
"""A path; text will do, as people write it in Python."""
Name = AnyPath
"""Of a dataset in a catalog, or where it lies."""


@overload
def as_path(given: AnyPath) -> Path: ...
@overload
def as_path(given: AnyPath | None) -> Path | None: ...
def as_path(given: AnyPath | None) -> Path | None:
    """A Path where one was given."""
    return None if given is None else Path(given)


def as_paths(given: AnyPath | Sequence[AnyPath]) -> list[Path]:
    """Those of a list, or the one that was given in place of it."""
    return [Path(given)] if isinstance(given, str | os.PathLike) else list(map(Path, given))


def checked(work: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """``work``, whose arguments are looked at before it begins.

    They go by their annotations, where these are of :data:`_KINDS`, lists of them or None, and by
    :data:`_NUMBERS`; others are left to ``work``. Scalars of NumPy become those of Python. Raises
    ConfigError for the first that does not fit.
    """
    signature = inspect.signature(work)
    kinds = {
        name: [_head(kind) for kind in str(each.annotation).split(" | ")]
        for name, each in signature.parameters.items()
    }
    known = {name for name, parts in kinds.items() if set(parts) <= {*_KINDS, *_LISTS, "None"}}

    @wraps(work)
    def done(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        given = signature.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            value = value.item() if isinstance(value, np.generic) else value
            if name in known:
                _check(name, value, kinds[name])
            if name in _NUMBERS and not (value is None and "None" in kinds[name]):
                check_number(name, value, *_NUMBERS[name], whole="int" in kinds[name])
            given.arguments[name] = value
        return work(*given.args, **given.kwargs)

    return done


@dataclass(frozen=True)
class _Kind:
    """``what`` it is that ``fits`` and what to ``give``, for people."""

    what: str
    give: str
    fits: Callable[[Any], bool]


def _instance(name: str, give: str) -> _Kind:
    """Of a class that is known by its ``name``: it lies in a room above this one."""
    return _Kind(name, give, lambda value: name in [each.__name__ for each in type(value).__mro__])


def _is_path(value: object) -> bool:
    """Whether a file may be called so; it need not be there."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        return False
    try:
        os.lstat(value)
    except OSError as error:
        return error.errno != ENAMETOOLONG
    except ValueError:  # a NUL, or half of a character
        return False
    return True


def _is_choice(value: object) -> bool:
    return isinstance(value, int) and value in (0, 1)


_KINDS = {
    "AnyPath": _Kind("path", "text or a Path", _is_path),
    "Name": _Kind("name", "text or a Path", _is_path),
    "str": _Kind("text", "a str", lambda value: isinstance(value, str)),
    "bool": _Kind("choice", "True or False", _is_choice),
    "Listener": _Kind("function", "one that takes an event", callable),
    "Mapping": _Kind("mapping", "a dict", lambda value: isinstance(value, Mapping)),
    "TrainConfig": _instance("TrainConfig", "what load_config returns"),
    "PretrainConfig": _instance("PretrainConfig", "one of kdlnet.verbs.pretrain"),
    "Goal": _instance("Goal", "a kdlnet.Goal"),
    "Unsure": _instance("Unsure", "a kdlnet.Unsure"),
    "Workload": _instance("Workload", "one of kdlnet.verbs.bench"),
}
_LISTS = {"Sequence[AnyPath]": "AnyPath", "Sequence[Name]": "Name", "list[str]": "str"}
_NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {
    **dict.fromkeys(
        ("batch", "calibration", "generations", "images", "rounds", "threads"),
        (lambda number: number >= 1, "1 or more"),
    ),
    "seed": (lambda number: number >= 0, "0 or more"),
    "mm_per_pixel": (lambda number: 0 < number < inf, "above 0"),
    "timeout": (lambda number: number > 0, "above 0"),
}
"""What is allowed of numbers that mean the same wherever they are asked for."""

_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 80


def _head(kind: str) -> str:
    """Without what a mapping holds."""
    return "Mapping" if kind.startswith(("Mapping[", "dict[")) else kind


def _check(name: str, value: object, kinds: Sequence[str]) -> None:
    """Raises ConfigError where ``value`` is of none of ``kinds``."""
    for kind in kinds:
        if kind in _LISTS and isinstance(value, list | tuple):
            for each in value:
                _check(name, each, [_LISTS[kind]])
            return
        if value is None if kind == "None" else kind in _KINDS and _KINDS[kind].fits(value):
            return
    wanted = _LISTS.get(kinds[0], kinds[0])
    shown = " ".join(_BRIEF.repr(value).split())
    name = "dataset" if wanted == "Name" else name
    if isinstance(value, str | os.PathLike) and _KINDS[wanted].fits is _is_path:
        why = "it is too long for one, or has a NUL in it or half of a letter"
        raise ConfigError(f"{name} {shown} is no path: {why}")
    raise ConfigError(f"{name} {shown} is no {_KINDS[wanted].what}: give {_KINDS[wanted].give}")
