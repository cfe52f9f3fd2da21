"""What is written in pairs, NAME=VALUE or HxW, read from flags."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import UsageProblem


def parse_splits(entries: list[str] | None) -> dict[str, Path] | None:
    """``["train=train.txt"]`` as ``{"train": Path("train.txt")}``. Raises UsageProblem."""
    pairs = _parse_pairs("--split", entries, "NAME=LIST, for example train=train.txt")
    return {name: Path(file) for name, file in pairs.items()} or None


def parse_values(entries: list[str] | None) -> dict[str, str]:
    """``["7=pit", "#FF0000=crack"]`` as ``{"7": "pit", "#ff0000": "crack"}``, or UsageProblem."""
    pairs = _parse_pairs("--value", entries, "V=NAME, for example 7=pit or #ff0000=crack")
    for value in pairs:
        if not re.fullmatch(r"\d+|#[0-9a-fA-F]{6}", value):
            raise UsageProblem(f"--value {value!r}: write a number or a colour such as #ff0000")
    return {value.lower(): name for value, name in pairs.items()}


def parse_classes(entries: list[str] | None) -> dict[str, str] | None:
    """``["scuff=scratch", "dust="]`` as ``{"scuff": "scratch", "dust": ""}``; OLD may have an =."""
    form = "OLD=NEW, for example scuff=scratch, or dust= where dust is no defect"
    return _parse_pairs("--class", entries, form, classes=True) or None


def parse_columns(entries: list[str] | None) -> dict[str, str]:
    """``["class=cell_type"]`` as ``{"class": "cell_type"}``. Raises UsageProblem."""
    return _parse_pairs("--column", entries, "KEY=HEAD, for example class=cell_type")


def parse_shapes(entries: list[str] | None) -> dict[str, str] | None:
    """``["crack=MT_Crack", "hole"]`` as ``{"crack": "MT_Crack", "hole": "hole"}``."""
    named = [entry if "=" in entry else f"{entry}={entry}" for entry in entries or []]
    return _parse_pairs("--shape", named, "NAME=CLASS, for example crack=crack") or None


def _parse_pairs(
    flag: str, entries: list[str] | None, form: str, *, classes: bool = False
) -> dict[str, str]:
    """Parted by the first =; ``classes`` by the last, and they may become none."""
    pairs: dict[str, str] = {}
    for entry in entries or []:
        parts = entry.rpartition("=") if classes else entry.partition("=")
        key, equals, value = map(str.strip, parts)
        if not (key and (value or (classes and equals))):
            raise UsageProblem(f"{flag} {entry!r}: write {form}")
        if key in pairs:
            raise UsageProblem(f"{flag} {key}: given twice")
        pairs[key] = value
    return pairs


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) from ``200`` or ``200x300``; unlike a network's input it needs no stride."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise UsageProblem(f"--image-size {text!r}: write N or HxW, for example 256 or 200x300")
    return int(parts[0]), int(parts[-1])
