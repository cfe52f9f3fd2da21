"""CSV with names from outside: whatever a file or a class is called, it stays text in a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """``rows`` as lines of CSV.

    Where a row holds a carriage return, which the csv module does not quote by itself, all of its
    cells are quoted.
    """
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        returns = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoted if returns else plain).writerow(row)
    return text.getvalue()


def text_cell(text: str) -> str:
    """``text`` behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def path_cell(path: str) -> str:
    """As :func:`text_cell`, behind ``./`` instead: the same path."""
    return f"./{path}" if path.startswith(_FORMULA) else path
