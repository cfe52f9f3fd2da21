"""The one door for output: people read text, programs read one JSON document.

Text goes to stdout, or to stderr with ``--json``, where stdout is kept for the document. Without
a terminal and with ``--quiet`` text is plain lines: no bars, no colours, no control characters.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import rich.console
import rich.table
from rich import box
from rich.text import Text

from kdlnet.utils.json_list import json_with_list

from .errors import one_line, printable

_PLAIN_WIDTH = 120  # columns of a table where no terminal says it


class Console:
    """Output of one verb. A context: inside it, with ``--json``, stray prints go to stderr too."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self._documents: TextIO = sys.stdout
        self._redirection = contextlib.ExitStack()
        self.screen = rich.console.Console(
            file=sys.stderr if as_json else sys.stdout,
            force_terminal=False if quiet else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        if not self.screen.is_terminal and "COLUMNS" not in os.environ:
            self.screen.width = _PLAIN_WIDTH

    def __enter__(self) -> Console:
        if self._as_json:
            self._redirection.enter_context(contextlib.redirect_stdout(sys.stderr))
        return self

    def __exit__(self, *_: object) -> None:
        self._redirection.close()

    @property
    def live(self) -> bool:
        """Whether bars that redraw themselves can be shown."""
        return self.screen.is_terminal and not self.screen.is_dumb_terminal

    def say(self, line: str = "", style: str = "") -> None:
        """One line for people, never wrapped or cut."""
        self.screen.print(Text(printable(line), style), soft_wrap=True)

    def warn(self, line: str) -> None:
        """One line on stderr that starts with ``warning:``."""
        text = f"warning: {one_line(line)}"
        if self.live:  # through the live display, which would otherwise be torn
            self.screen.print(Text(text, "yellow"), soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A compact table for people; with ``--json`` the document says the same.

        The first column is text and takes half of the width at most, figures of the others end at
        the right. A head that starts with ``<`` makes its column text, too.
        """
        if self._as_json:
            return
        grid = rich.table.Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
        )
        for index, head in enumerate(heads):
            text = index == 0 or head.startswith("<")
            name = Text(printable(head.removeprefix("<")))  # a class name may be among the heads
            grid.add_column(
                name,
                justify="left" if text else "right",
                no_wrap=index == 0,
                max_width=self.screen.width // 2 if index == 0 else None,
            )
        for row in rows:
            grid.add_row(*(Text(printable(str(cell))) for cell in row))
        self.screen.print(grid)

    def document_of(self, values: Mapping[str, Any], key: str, items: Iterable[Any]) -> None:
        """As :meth:`document` of ``{**values, key: items}``, one item in memory at a time."""
        if self._as_json:
            for piece in json_with_list(plain(values), key, map(plain, items)):
                self._documents.write(piece)
            print(file=self._documents, flush=True)

    def document(self, values: Mapping[str, Any] | Sequence[Any]) -> None:
        """The result for programs: one JSON document on stdout; nothing without ``--json``."""
        if self._as_json:
            text = json.dumps(plain(values), indent=2, allow_nan=False)
            print(text, file=self._documents, flush=True)


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: paths as text, tuples as lists, nan and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def figure(value: float | int | None, digits: int = 3) -> str:
    """A figure for a table: three decimals, and a dash for what could not be measured."""
    if value is None or not math.isfinite(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min 30 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
