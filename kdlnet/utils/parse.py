"""Values that a person writes on the command line or in a config."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from kdlnet.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError

_SMALLEST_TILE = 32


def parse_sides(value: Any) -> tuple[int, int] | None:
    """(H, W) of ``640``, ``"640"``, ``"480x640"`` (H x W) or a pair; None for anything else."""
    parts = value.lower().split("x") if isinstance(value, str) else value
    parts = list(parts) if isinstance(parts, Sequence) else [parts]
    whole = [isinstance(part, str | Integral) and not isinstance(part, bool) for part in parts]
    try:
        numbers = [int(part) for part in parts] if all(whole) else []
    except ValueError:
        return None
    if len(numbers) == 1:
        numbers *= 2
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def parse_image_size(value: Any) -> tuple[int, int]:
    """(H, W) from ``640``, ``"640"``, ``"480x640"`` (H x W) or a pair; checked against stride 32.

    Raises ConfigError for anything that is not a positive multiple of 32.
    """
    sides = parse_sides(value)
    if sides is None or any(side < 32 or side % 32 for side in sides):
        raise ConfigError(
            f"image size {value!r}: give one multiple of 32 or HxW, both multiples of 32, "
            "for example 640 or 480x640"
        )
    return sides


def parse_window(value: Any) -> tuple[float, float]:
    """The intensities (low, high) of ``"0-4095"`` or of a pair.

    Raises ConfigError for anything else and where low is not below high.
    """
    parts = value.split("-") if isinstance(value, str) else value
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0:
        raise ConfigError(
            f"window {value!r}: give the two intensities that become black and white, "
            "for example 0-4095"
        )
    if low >= high:
        raise ConfigError(f"window {value!r}: give the lower value first")
    return low, high


def parse_tile(value: Any) -> tuple[int, int] | Literal["off"]:
    """(H, W) of ``640``, ``"640"``, ``"480x640"`` (H x W) or a pair; "off" for ``"off"``.

    YAML reads off as False, which is the same. Raises ConfigError for anything else and for a side
    below 32 pixels.
    """
    if value is False or value == "off":
        return "off"
    sides = parse_sides(value)
    if sides is None or min(sides) < _SMALLEST_TILE:
        raise ConfigError(
            f"tile {value!r}: give pixels of the original image, {_SMALLEST_TILE} or more, as one "
            "number or HxW, for example 640 or 480x640, or off for whole images"
        )
    return sides


def parse_roi(value: Any) -> tuple[int, int, int, int] | Literal["off"]:
    """(x1, y1, x2, y2) of ``"100,50,1720,980"`` or of four whole numbers; "off" for ``"off"``.

    YAML reads off as False, which is the same. Raises ConfigError for anything else and for a side
    below 32 pixels.
    """
    if value is False or (isinstance(value, str) and value == "off"):
        return "off"
    parts = value.split(",") if isinstance(value, str) else value
    try:
        x1, y1, x2, y2 = (int(part) for part in parts if str(int(part)) == str(part).strip())
        fits = min(x1, y1) >= 0 and min(x2 - x1, y2 - y1) >= _SMALLEST_TILE
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ConfigError(
            f"region of interest {value!r}: give X1,Y1,X2,Y2, its corners in whole pixels of the "
            f"original image, {_SMALLEST_TILE} or more a side, for example 100,50,1720,980, or off "
            "for whole images"
        )
    return x1, y1, x2, y2


def check_number(
    name: str, value: object, fits: Callable[[float], bool], allowed: str, whole: bool = False
) -> None:
    """Raises ConfigError unless ``value`` is a number, a ``whole`` one, that ``fits``."""
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise ConfigError(f"{name} {value!r} is no {'whole ' * whole}number: allowed is {allowed}")
    if not fits(float(value)):
        raise ConfigError(f"{name} {value} is out of range: allowed is {allowed}")


def parse_numbers(flag: str, value: str) -> dict[str, float]:
    """Numbers by key of ``"ap=0.01,flips=0.02"``. Raises ConfigError for anything else."""
    found: dict[str, float] = {}
    for part in value.split(","):
        key, sign, number = part.partition("=")
        if key.strip() in found:
            raise ConfigError(f"{flag} is given twice for {key.strip()}: keep one")
        try:
            found[key.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise ConfigError(f"{flag} {value!r}: give KEY=NUMBER, several with a comma between")
    return found


def first_fault(error: ValidationError) -> str:
    """``key KEY: what is wrong`` of the first value that a file's model refused."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "file"
    return f"key {key}: {first['msg']}"
