"""Curves of a validation as PNG files: precision against recall, and both against the score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from kdlnet.metrics.curves import RECALL_STEPS, SCORE_STEPS, Curve, Curves
from kdlnet.metrics.result import Floats
from kdlnet.report.figure import FAINT, INK, add_legend, line_colors, new_figure, save_figure, tidy

_MANY = 10  # more classes than this: only the weakest get a colour and a line in the legend
_WEAKEST = 7


def pr_curves(path: Path, curves: Curves) -> None:
    """Precision against recall, a line a class and the mean, with the area in the legend.

    With more than ten classes the seven weakest are coloured and named, the others grey.
    Raises KdlnetError when the file cannot be written.
    """
    figure = new_figure(8.4, 5.2)
    axes = figure.add_subplot()
    overall, area = curves.overall, f"AP{round(curves.iou_threshold * 100)}"
    known = [curve for curve in curves.per_class if curve.ap is not None]
    shown = _draw_classes(
        axes, RECALL_STEPS, known, lambda c: c.ap or 0.0, lambda c: _reached(c.precision)
    )
    if overall.ap is not None:
        label = f"{overall.ap:.3f}  mean of {len(known)}"
        axes.plot(RECALL_STEPS, _reached(overall.precision), color=INK, linewidth=2.6, label=label)
    tidy(axes, f"Precision and recall at IoU {curves.iou_threshold:g}", "recall", "precision")
    _unit_square(axes)
    add_legend(axes, area + _how_many(shown, len(known)) if known else "no true boxes")
    save_figure(path, figure)


def score_curves(path: Path, curves: Curves) -> None:
    """Precision, recall and F1 of all detections together, and F1 a class, against the score.

    A dotted line marks the threshold with the best F1 over all. Raises KdlnetError when the
    file cannot be written.
    """
    figure = new_figure(11.5, 4.6)
    left, right = figure.subplots(1, 2)
    overall, best = curves.overall, curves.overall.best
    blue, orange, green = line_colors(3)
    for values, name, color, style in (
        (overall.precision_at, "precision", blue, "--"),
        (overall.recall_at, "recall", orange, "-."),
        (overall.f1_at, "F1", green, "-"),
    ):
        left.plot(SCORE_STEPS, values, style, color=color, linewidth=2.0, label=name)
    known = [curve for curve in curves.per_class if curve.best is not None]
    shown = _draw_classes(
        right, SCORE_STEPS, known, lambda c: c.best.f1 if c.best else 0.0, lambda c: c.f1_at
    )
    tidy(left, f"All classes together, IoU {curves.iou_threshold:g}", "score threshold", "share")
    tidy(right, "F1 of each class", "score threshold", "F1")
    for axes in (left, right):
        _unit_square(axes)
        if best is not None:
            axes.axvline(best.score, color=INK, linewidth=1.0, linestyle=":")
    nothing = "nothing found"
    add_legend(left, f"best F1 {best.f1:.3f} at score {best.score:.3f}" if best else nothing)
    add_legend(right, "best F1" + _how_many(shown, len(known)) if known else nothing)
    save_figure(path, figure)


def _draw_classes(
    axes: Axes,
    x: Floats,
    known: list[Curve],
    figure_of_merit: Callable[[Curve], float],
    values: Callable[[Curve], Floats],
) -> int:
    """One line a class; of many classes only the weakest in colour. Returns how many."""
    shown = known
    if len(known) > _MANY:
        shown = sorted(known, key=figure_of_merit)[:_WEAKEST]
        for curve in known:
            axes.plot(x, values(curve), color=FAINT, linewidth=0.6, label="_", zorder=1)
    for position, (curve, color) in enumerate(zip(shown, line_colors(len(shown)), strict=True)):
        label = f"{figure_of_merit(curve):.3f}  {curve.name}"
        # After the first seven colours another kind of line.
        style = "-" if position < 7 else "--"
        axes.plot(x, values(curve), style, color=color, linewidth=1.5, label=label)
    return len(shown)


def _reached(precision: Floats) -> Floats:
    """Hide the zeros past the highest recall, all but the first."""
    beyond = np.concatenate([[False], precision[:-1] == 0])
    return np.where(beyond, np.nan, precision)


def _how_many(shown: int, known: int) -> str:
    return f", weakest {shown} of {known}" if shown < known else ""


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
