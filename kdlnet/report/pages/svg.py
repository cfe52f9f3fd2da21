"""Small charts as inline SVG: lines, bands and dots on two axes. Colours are those of the page.

Everything is drawn in a fixed frame of 440 x 280 units and scaled by the browser; ``data-`` values
on the plot say where it lies, so that a script can put a line at a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 12, 12, 44
_LONE = 3.5  # radius of a point that no line leads to
_COLORS = 7


@dataclass(frozen=True, slots=True)
class Axis:
    """``ticks`` are (value, text); on a ``log`` axis ``low`` is above 0."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` lies, 0 at the lower end and 1 at the upper; kept inside."""
        if self.log:
            low, high, value = math.log(self.low), math.log(self.high), math.log(max(value, 1e-300))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(frozen=True, slots=True)
class Line:
    """``y`` over ``x``, with the band from ``low`` to ``high`` where given.

    ``style`` is a class of the page's style sheet: ``s0`` to ``s6``, ``escape``, ``ideal``, ...
    ``dots`` are radii of a dot at each point. Points that are not finite break the line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dots: Sequence[float] | None = None
    line: bool = True


def style(index: int) -> str:
    """The class of the ``index``-th line of a chart; after seven they begin again, dashed."""
    dashed = " dashed" if index // _COLORS % 2 else ""
    return f"s{index % _COLORS}{dashed}"


def percent_axis(title: str) -> Axis:
    """0 to 100 %."""
    return Axis(title, 0.0, 1.0, tuple((step / 4, f"{25 * step} %") for step in range(5)))


def unit_axis(title: str) -> Axis:
    """0 to 1."""
    return Axis(title, 0.0, 1.0, tuple((step / 4, f"{step / 4:g}") for step in range(5)))


def share_axis(title: str, largest: float) -> Axis:
    """From 0 to a tenth above the ``largest`` share, in up to five round steps."""
    top = min(1.0, max(0.05, 1.1 * largest))
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if 5 * step >= top)
    steps = [step * k for k in range(6) if step * k <= top]
    return Axis(title, 0.0, top, tuple((value, f"{value:.2f}") for value in steps))


def log_axis(title: str, low: float, high: float) -> Axis:
    """Ticks at 1, 2 and 5 times the powers of ten between ``low`` and ``high``, both above 0."""
    low, high = (low, high) if high > low * 1.0001 else (low / 2, high * 2)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [step for step in steps if low * 0.999 <= step <= high * 1.001]
    while len(inside) > 8:
        inside = inside[::2]
    return Axis(title, low, high, tuple((step, f"{step:g}") for step in inside), log=True)


def chart(
    title: str, x: Axis, y: Axis, lines: Iterable[Line], marks: Sequence[tuple[float, str]] = ()
) -> Markup:
    """One chart; ``title`` is what a screen reader says, ``marks`` are upright lines (x, text)."""
    lines = list(lines)
    parts = [*_frame(x, y)]
    parts += [_band(line, x, y) for line in lines if line.low is not None]
    parts += [_upright(value, text, x) for value, text in marks if x.low <= value <= x.high]
    parts += [piece for line in lines for piece in _line(line, x, y)]
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" data-left="{}" data-right="{}" '
        'data-top="{}" data-bottom="{}"><title>{}</title>'
    ).format(WIDTH, HEIGHT, _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM, title)
    return Markup("").join([head, *parts, Markup("</svg>")])


def legend(lines: Iterable[Line]) -> Markup:
    """The names of the lines with their colours, as a list."""
    rows = [
        Markup('<li><i class="{}{}"></i>{}</li>').format(
            line.style, "" if line.line else " round", line.name
        )
        for line in lines
        if line.name
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(rows))


def _x(value: float, axis: Axis) -> float:
    return round(_LEFT + axis.place(value) * (WIDTH - _RIGHT - _LEFT), 1)


def _y(value: float, axis: Axis) -> float:
    return round(HEIGHT - _BOTTOM - axis.place(value) * (HEIGHT - _BOTTOM - _TOP), 1)


def _frame(x: Axis, y: Axis) -> list[Markup]:
    floor, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    grid = [f"M{_LEFT} {_y(value, y)}H{right}" for value, _ in y.ticks]
    parts = [Markup('<path class="grid" d="{}"/>').format("".join(grid))]
    parts += [_text(_x(value, x), floor + 16, text, "middle") for value, text in x.ticks]
    parts += [_text(_LEFT - 6, _y(value, y) + 4, text, "end") for value, text in y.ticks]
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(_LEFT, floor, right))
    parts.append(_text((_LEFT + right) / 2, HEIGHT - 8, x.title, "middle", "title"))
    turned = f"translate(13 {(_TOP + floor) / 2}) rotate(-90)"
    form = Markup('<text class="title" text-anchor="middle" transform="{}">{}</text>')
    parts.append(form.format(turned, y.title))
    return parts


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    form = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return form.format(kind, round(x, 1), round(y, 1), anchor, text)


def _upright(value: float, text: str, x: Axis) -> Markup:
    place = _x(value, x)
    anchor, shift = ("end", -4) if x.place(value) > 0.6 else ("start", 4)
    line = Markup('<path class="mark" d="M{} {}V{}"/>').format(place, _TOP, HEIGHT - _BOTTOM)
    return line + _text(place + shift, _TOP + 10, text, anchor, "tick marked")


def _line(line: Line, x: Axis, y: Axis) -> Iterable[Markup]:
    points = [(a, b) for a, b in zip(line.x, line.y, strict=True)]
    if line.line:
        runs = list(_runs(points))
        path = "".join(_path(run, x, y) for run in runs)
        yield Markup('<path class="line {}" d="{}"/>').format(line.style, path)
        if line.dots is None:  # a path through one point draws nothing
            yield from (_dot(*run[0], _LONE, line, x, y) for run in runs if len(run) == 1)
    for (a, b), radius in zip(points, line.dots or (), strict=False):
        if math.isfinite(a) and math.isfinite(b) and radius > 0:
            yield _dot(a, b, radius, line, x, y)


def _dot(a: float, b: float, radius: float, line: Line, x: Axis, y: Axis) -> Markup:
    form = Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"/>')
    return form.format(line.style, _x(a, x), _y(b, y), round(radius, 1))


def _runs(points: Iterable[tuple[float, float]]) -> Iterable[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for point in points:
        if all(map(math.isfinite, point)):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(run: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    """``M`` and ``L`` through the run; points that fall on the one before are left out."""
    places = ((_x(a, x), _y(b, y)) for a, b in run)
    return "M" + "L".join(f"{a:g} {b:g}" for (a, b), _ in groupby(places))


def _band(line: Line, x: Axis, y: Axis) -> Markup:
    low, high = line.low or (), line.high or ()
    rows = [
        row for row in zip(line.x, low, high, strict=True) if all(math.isfinite(v) for v in row)
    ]
    there = [(a, top) for a, _, top in rows]
    back = [(a, bottom) for a, bottom, _ in reversed(rows)]
    path = "L".join(f"{_x(a, x):g} {_y(b, y):g}" for a, b in [*there, *back])
    name = escape(line.style)
    return Markup('<path class="band {}" d="{}"/>').format(name, f"M{path}Z" if path else "")
