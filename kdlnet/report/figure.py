"""The common look of all plots: matplotlib's object interface, no global state."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from kdlnet.report.text import font_for
from kdlnet.utils.files import write_atomic

DPI = 150
INK = "#222222"
FAINT = "#b0b0b0"


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

    Class names are data: no letter of them is read as matplotlib's own mark-up.
    """
    file, shown = font_for(text)
    return shown.replace("$", r"\$"), FontProperties(fname=str(file), size=size)


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all; same figure, same bytes."""
    buffer = io.BytesIO()
    # A person's matplotlibrc must not change our reports.
    with matplotlib.rc_context():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomic(path, buffer.getvalue())
