"""Text files of the user's: UTF-8, or refused by the name of what they are."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from kdlnet.errors import DataError

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def plain(name: str) -> str:
    """``name`` as it is compared: one Unicode form, without case."""
    return unicodedata.normalize("NFC", name).casefold()


def decode(data: bytes) -> str:
    """The text in ``data``: UTF-8, with or without its mark.

    Raises ValueError in words that follow the file's name: "is saved as UTF-16: save it as UTF-8".
    Nothing is guessed: in another encoding the same bytes are other letters.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            raise ValueError(f"is saved as {name}: save it as UTF-8")
    if len(data) > 1 and 0 in (data[0], data[1]) and any(data[:2]):
        raise ValueError("looks like UTF-16: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"is not UTF-8 (byte 0x{data[error.start]:02x} in line {line}): save it as UTF-8"
        ) from None


def path_lines(data: bytes) -> list[str]:
    """The paths in a list file, one a line, as the file system has them: they need not be UTF-8.

    Only line feeds divide, since a name may hold anything else that ends lines elsewhere. Raises
    ValueError for UTF-16 and UTF-32, in words that follow the file's name.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            raise ValueError(f"is saved as {name}: save it as UTF-8")
    if b"\0" in data:
        raise ValueError("looks like UTF-16: save it as UTF-8")
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    lines = text.split("\n" if "\n" in text else "\r")
    return [line.strip(" \t\r") for line in lines if line.strip(" \t\r")]


def listed_paths(file: Path, what: str) -> list[str]:
    """The lines of the list ``file``, called ``what`` in the DataError where it cannot be read."""
    try:
        return path_lines(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {what} {str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{what} {str(file)!r} {error}") from None


def lines_of_paths(paths: Iterable[str]) -> bytes:
    """A list file that :func:`path_lines` reads. Raises DataError for a name with a line break."""
    lines = list(paths)
    for path in lines:
        if "\n" in path:
            raise DataError(
                f"image {path!r} has a line break in its name, which no list file can hold: "
                "rename it, and its label file"
            )
    return "".join(f"{path}\n" for path in lines).encode("utf-8", "surrogateescape")
