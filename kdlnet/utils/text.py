"""Text files of the user's: UTF-8, or refused by the name of what they are."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


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
