"""Differences with their intervals as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdlnet.metrics.paired import Difference
from kdlnet.report.figure import FAINT, INK, line_colors, new_figure, save_figure, tidy

_LABELS = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "recall50": "recall at IoU 0.5"}


def difference_plot(path: Path, differences: Mapping[str, Difference], title: str) -> None:
    """B minus A of each figure, a dot with its 95 % interval beside a line at zero.

    An interval that holds zero is grey. Raises KdlnetError when the file cannot be written.
    """
    figure = new_figure(7.6, 0.9 + 0.6 * len(differences))
    axes = figure.add_subplot()
    (color,) = line_colors(1)
    for row, value in enumerate(reversed(list(differences.values()))):
        paint = color if value.shown else "#808080"
        axes.plot([value.low, value.high], [row, row], color=paint, linewidth=3, alpha=0.5)
        axes.plot([value.difference], [row], "o", color=paint, markersize=7)
        text = f"{value.a:.3f} to {value.b:.3f}: {value.difference:+.3f}"
        axes.annotate(text, (1.02, row), xycoords=("axes fraction", "data"), va="center", color=INK)
    axes.axvline(0, color=FAINT, linewidth=1.2)
    tidy(axes, title, "B minus A, 95 % interval over images")
    axes.set_yticks(range(len(differences)))
    axes.set_yticklabels([_LABELS.get(name, name) for name in reversed(list(differences))])
    axes.set_ylim(-0.6, len(differences) - 0.4)
    reach = max(abs(v) for d in differences.values() for v in (d.low, d.high, 0.005))
    axes.set_xlim(-1.1 * reach, 1.1 * reach)
    save_figure(path, figure)
