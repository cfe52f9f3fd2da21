"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from kdlnet.metrics.result import Floats, Ints
from kdlnet.report.figure import INK, LONGEST, font, new_figure, save_figure, tidy

_BLUES = LinearSegmentedColormap.from_list("paper", ["#ffffff", "#9ecae1", "#2171b5", "#08306b"])
_LINE = "#e6e6e6"


def confusion_matrix(path: Path, matrix: Ints, names: Sequence[str]) -> None:
    """Counts (C + 1, C + 1) as PNG: rows true, columns predicted, the background last.

    The colour is the share of the row, the number the count; empty cells stay blank. Cells
    shrink with the number of classes, up to some 80. Raises KdlnetError when the file cannot
    be written.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    cells = len(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    inch = max(0.24, min(0.75, 7.0 / cells))
    size = max(5.5, min(11.0, inch * 16))
    names_inch = min(LONGEST, max(len(name) for name in [*names, "false call"])) * size * 0.6 / 72
    height = cells * inch + 0.8 + names_inch
    figure = new_figure(cells * inch + 1.6 + names_inch, height)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=_BLUES, vmin=0.0, vmax=1.0)
    _write_counts(axes, counts, shares, inch, size)
    tidy(axes, "Confusion matrix", "predicted", "true")
    _name_cells(axes, [*names, "missed"], [*names, "false call"], size)
    _rule_cells(axes, cells)
    shrink = min(0.7, 4.0 / (cells * inch))
    bar = figure.colorbar(image, ax=axes, shrink=shrink, aspect=25, pad=0.02)
    bar.set_label("share of the row", color=INK)
    bar.outline.set_visible(False)
    save_figure(path, figure)


def _write_counts(axes: Axes, counts: Ints, shares: Floats, inch: float, size: float) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        text = str(int(counts[row, column]))
        # A digit is about 0.64 em wide: long numbers get smaller until they fit the cell.
        fitting = min(size, inch * 72 * 0.9 / (0.64 * len(text)))
        color = "white" if shares[row, column] > 0.5 else INK
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=fitting)


def _name_cells(axes: Axes, columns: Sequence[str], rows: Sequence[str], size: float) -> None:
    texts = [font(name, size) for name in columns], [font(name, size) for name in rows]
    axes.set_xticks(range(len(columns)), [text for text, _ in texts[0]])
    axes.set_yticks(range(len(rows)), [text for text, _ in texts[1]])
    steep = len(columns) > 12
    for label, (_, properties) in zip(axes.get_xticklabels(), texts[0], strict=True):
        label.set_fontproperties(properties)
        label.set(
            rotation=90 if steep else 40,
            rotation_mode="anchor",
            horizontalalignment="right",
            verticalalignment="center" if steep else "top",
        )
    for label, (_, properties) in zip(axes.get_yticklabels(), texts[1], strict=True):
        label.set_fontproperties(properties)


def _rule_cells(axes: Axes, cells: int) -> None:
    axes.set_xticks(np.arange(cells + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(cells + 1) - 0.5, minor=True)
    axes.grid(False, which="major")
    axes.grid(True, which="minor", color=_LINE, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    # The background is no class: a line sets its row and column apart.
    axes.axhline(cells - 1.5, color=INK, linewidth=1.0)
    axes.axvline(cells - 1.5, color=INK, linewidth=1.0)
