"""The common look of all plots: matplotlib's object interface, no global state."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from kdlnet.report.colors import hexadecimal, palette
from kdlnet.report.text import font_for
from kdlnet.utils.files import write_atomic

DPI = 150
INK = "#222222"
FAINT = "#b0b0b0"
LONGEST = 48
"""Letters of a text in a plot, or a name would leave it no room."""


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of that size in inches, with its own canvas."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Titles to the left, light grid behind, no frame above and to the right."""
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, color=FAINT)
    axes.grid(True, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)


def font(text: str, size: float) -> tuple[str, FontProperties]:
    """``text`` in letters that exist and the font that has them; ``size`` in points.

    Class names are data: no letter of them is read as matplotlib's own mark-up, and a long one
    is cut.
    """
    file, shown = font_for(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
    return shown.replace("$", r"\$"), FontProperties(fname=file, size=size)


def line_colors(count: int) -> list[str]:
    """The class colours, light ones darkened so that thin lines show on white paper."""
    colors = []
    for red, green, blue in palette(count):
        bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        share = min(1.0, 165 / bright)
        colors.append(hexadecimal((round(red * share), round(green * share), round(blue * share))))
    return colors


def add_legend(axes: Axes, title: str) -> None:
    """Beside the axes, so that it never covers a line; in the order of drawing."""
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    texts = [font(str(line.get_label()), 9) for line in lines]
    legend = axes.legend(
        lines,
        [text for text, _ in texts],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        alignment="left",
    )
    for entry, (_, properties) in zip(legend.get_texts(), texts, strict=True):
        entry.set_fontproperties(properties)
    legend.get_title().set_fontsize(9)


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all; same figure, same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomic(path, buffer.getvalue())
