"""A section of a page as data; ``section.html`` draws every one of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kdlnet.report.pages.svg import Axis, Line, chart, legend


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, the names of its lines and what is to be said below."""

    chart: Markup
    legend: Markup
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """``small`` stands below the text; ``share`` from 0 to 1 is a bar behind it."""

    text: str
    small: str = ""
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the row. ``heat``: the shares colour the cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    caption: str = ""
    heat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What is shown under one heading; ``name`` is that in the list of sections.

    ``keys`` explain the lines in pictures (class of the style sheet, words). ``gallery`` is the id
    of a grid of pictures that a script fills.
    """

    id: str
    name: str
    title: str
    lead: str
    figures: tuple[Figure, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    gallery: str = ""


def drawn(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    marks: Sequence[tuple[float, str]] = (),
    caption: str = "",
) -> Figure:
    """``lines`` with their legend."""
    return Figure(chart(title, x, y, lines, marks), legend(lines), caption)
