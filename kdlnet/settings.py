"""Settings read from a file, flags and ``key=value`` texts into any checked model of them.

Unknown keys and values out of range end in a :class:`~kdlnet.errors.ConfigError` that names the
key.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError

from kdlnet.errors import ConfigError, unknown
from kdlnet.utils.yaml_loader import UniqueKeys

Settings = TypeVar("Settings", bound=BaseModel)

Precision = Annotated[
    Literal["auto", "off", "bf16", "fp16"],
    BeforeValidator(lambda value: "off" if value is False else value),
]
"""What mixed precision does; YAML reads an unquoted ``off`` as false."""


def read_by(parse: Callable[[Any], Any]) -> BeforeValidator:
    """What ``parse`` makes of a value of a model; None for null and for off."""

    def read(value: Any) -> Any:
        found = None if value is None else parse(value)
        return None if found == "off" else found

    return BeforeValidator(read)


def load_settings(
    kind: type[Settings],
    file: Path | None = None,
    flags: dict[str, Any] | None = None,
    assignments: list[str] | None = None,
    base: dict[str, Any] | None = None,
) -> Settings:
    """Defaults, ``base``, ``file``, ``flags`` (dotted keys), then ``key=value`` assignments.

    ``None`` among the flags means "not given". Raises ConfigError naming the key at fault.
    """
    values = merged(base or {}, _read_sections(kind, file) if file is not None else {})
    for key, value in (flags or {}).items():
        if value is not None:
            _put(values, key, value)
    for text in assignments or []:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {text!r}: write key=value, for example optim.lr=0.01")
        _put(values, key.strip(), _parse_value(text, value))
    return build_settings(kind, values)


def build_settings(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Settings of ``kind`` from nested values. Raises ConfigError naming the first key at fault."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, kind)) from None


def changed(settings: Settings, values: dict[str, Any]) -> Settings:
    """``settings`` with nested ``values`` in place of their own, checked as when they were read."""
    return build_settings(type(settings), merged(settings.model_dump(mode="json"), values))


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of the config, in the order of the file."""
    keys = []
    for name, info in model.model_fields.items():
        nested = info.annotation
        if _is_section(nested):
            keys += _known_keys(nested, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _is_section(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _read_sections(kind: type[BaseModel], file: Path) -> dict[str, Any]:
    """What ``file`` says; of a section whose lines are all comments that is nothing."""
    sections = {name for name, info in kind.model_fields.items() if _is_section(info.annotation)}
    values = _read_yaml(file)
    return {key: value for key, value in values.items() if value is not None or key not in sections}


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), UniqueKeys)
    except OSError as error:
        raise ConfigError(f"cannot read config {str(file)!r}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).replace("\n", " ")
        raise ConfigError(f"config {str(file)!r} is not YAML: {reason}") from None
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"config {str(file)!r} must hold key: value pairs at its top level")
    return values or {}


def _parse_value(text: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: {value!r} is not a YAML value") from None


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested values where those of ``above`` win."""
    result = deepcopy(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"setting {dotted!r}: {section!r} is given as a value, not a section")
    values[last] = value


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    known = _known_keys(kind)
    if first["type"] == "extra_forbidden":
        return unknown("setting", key, known, listed=_beside(key, known))
    if first["type"] == "model_type":
        inside = ", ".join(name for name in known if name.startswith(f"{key}."))
        return f"setting {key} = {first['input']!r}: {key} is a section, write one of {inside}"
    # Behind the key stands which of several types was tried, or the place in a list.
    key = next((name for name in known if f"{key}.".startswith(f"{name}.")), key)
    return f"setting {key} = {first['input']!r}: {first['msg']}"


def _beside(key: str, known: list[str]) -> list[str]:
    """What could stand where ``key`` does: settings of its section, and sections as ``optim.*``."""
    section = key[: key.rfind(".") + 1]
    rest = (name[len(section) :].partition(".") for name in known if name.startswith(section))
    return list(dict.fromkeys(f"{section}{name}{'.*' * bool(dot)}" for name, dot, _ in rest))
