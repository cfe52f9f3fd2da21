"""Plots of a validation as PNG files: precision-recall, score curves, confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from kdlnet.metrics.curves import RECALL_STEPS, SCORE_STEPS, Curve, Curves
from kdlnet.metrics.result import Floats, Ints
from kdlnet.report.colors import hexadecimal, palette
from kdlnet.report.figure import FAINT, INK, font, new_figure, save_figure, tidy

_MANY = 10  # more classes than this: only the weakest get a colour and a line in the legend
_WEAKEST = 8
_BLUES = LinearSegmentedColormap.from_list("paper", ["#ffffff", "#9ecae1", "#2171b5", "#08306b"])
_DASHES = ("-", "--", "-.", ":")


def pr_curves(path: Path, curves: Curves) -> None:
    """Precision against recall, a line a class and the mean, with the area in the legend.

    With more than ten classes the eight weakest are coloured and named, the others grey.
    """
    figure = new_figure(8.4, 5.2)
    axes = figure.add_subplot()
    names = {}
    for position, curve in enumerate(curves.per_class):
        if curve.ap is None:
            continue
        label = f"{curve.ap:.3f}  {curve.name}"
        names[label] = curve
        _class_line(axes, RECALL_STEPS, curve.precision, position, label)
    shown = _legend_order(list(names.values()))
    _fade_others(axes, {f"{c.ap:.3f}  {c.name}" for c in shown})
    overall = curves.overall
    if overall.ap is not None:
        label = f"{overall.ap:.3f}  mean of {len(names)} classes"
        axes.plot(RECALL_STEPS, overall.precision, color=INK, linewidth=2.6, label=label)
    name = f"AP{round(curves.iou_threshold * 100)}"
    tidy(axes, f"Precision and recall at IoU {curves.iou_threshold:g}", "recall", "precision")
    _unit_square(axes)
    hidden = len(names) - len(shown)
    title = f"{name}, weakest {len(shown)} of {len(names)}" if hidden else name
    _legend(axes, title)
    save_figure(path, figure)


def score_curves(path: Path, curves: Curves) -> None:
    """Precision, recall and F1 of all detections together against the score threshold.

    A second panel shows F1 a class. A dotted line marks the threshold with the best F1.
    """
    figure = new_figure(11.5, 4.6)
    left, right = figure.subplots(1, 2)
    overall = curves.overall
    blue, orange, green = (hexadecimal(color) for color in palette(7)[:3])
    for values, name, color, style in (
        (overall.precision_at, "precision", blue, "--"),
        (overall.recall_at, "recall", orange, "-."),
        (overall.f1_at, "F1", green, "-"),
    ):
        left.plot(SCORE_STEPS, values, style, color=color, linewidth=2.0, label=name)
    tidy(left, f"All classes together, IoU {curves.iou_threshold:g}", "score threshold")
    known = [curve for curve in curves.per_class if curve.best is not None]
    for position, curve in enumerate(curves.per_class):
        if curve.best is not None:
            label = f"{curve.best.f1:.3f} at {curve.best.score:.3f}  {curve.name}"
            _class_line(right, SCORE_STEPS, curve.f1_at, position, label)
    shown = sorted(known, key=_best_f1)[:_WEAKEST] if len(known) > _MANY else known
    _fade_others(right, {_f1_label(c) for c in shown})
    tidy(right, "F1 of each class", "score threshold", "F1")
    for axes in (left, right):
        _unit_square(axes)
        if overall.best is not None:
            axes.axvline(overall.best.score, color=INK, linewidth=1.0, linestyle=":")
    best = overall.best
    _legend(left, f"best F1 {best.f1:.3f} at score {best.score:.3f}" if best else "nothing found")
    many = f", weakest {len(shown)} of {len(known)}" if len(shown) < len(known) else ""
    _legend(right, f"best F1{many}")
    save_figure(path, figure)


def confusion_matrix(path: Path, matrix: Ints, names: Sequence[str]) -> None:
    """Counts (C + 1, C + 1), rows true, columns predicted, the background last.

    The colour is the share of the row, the number the count; empty cells stay blank.
    """
    counts = np.asarray(matrix)
    cells = len(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    inch = max(0.24, min(0.75, 7.0 / cells))
    size = max(5.0, min(11.0, inch * 16))
    figure = new_figure(cells * inch + 3.4, cells * inch + 2.2)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=_BLUES, vmin=0.0, vmax=1.0)
    for row, column in zip(*np.nonzero(counts), strict=True):
        count, color = int(counts[row, column]), "white" if shares[row, column] > 0.55 else INK
        digits = min(size, inch * 95 / max(2, len(str(count))))
        axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=digits)
    tidy(axes, "Confusion matrix", "predicted", "true")
    _name_cells(axes, [*names, "missed"], [*names, "false call"], size)
    axes.set_xticks(np.arange(cells + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(cells + 1) - 0.5, minor=True)
    axes.grid(False, which="major")
    axes.grid(True, which="minor", color="#e6e6e6", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    # The background is no class: a line sets its row and column apart.
    axes.axhline(cells - 1.5, color=INK, linewidth=1.0)
    axes.axvline(cells - 1.5, color=INK, linewidth=1.0)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, label="share of the row")
    bar.outline.set_visible(False)  # type: ignore[operator]
    save_figure(path, figure)


def _name_cells(axes: Axes, columns: Sequence[str], rows: Sequence[str], size: float) -> None:
    axes.set_xticks(range(len(columns)), [font(name, size)[0] for name in columns])
    axes.set_yticks(range(len(rows)), [font(name, size)[0] for name in rows])
    long = max(len(name) for name in columns) > 4 or len(columns) > 20
    for tick, name in zip(axes.get_xticklabels(), columns, strict=True):
        tick.set_fontproperties(font(name, size)[1])
        if long:
            tick.set(rotation=90 if len(columns) > 12 else 40, rotation_mode="anchor", ha="right")
            tick.set_va("center" if len(columns) > 12 else "top")
    for tick, name in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontproperties(font(name, size)[1])


def _class_line(axes: Axes, x: Floats, y: Floats, position: int, label: str) -> None:
    color = hexadecimal(palette(position + 1)[-1])
    # After each round of seven colours another dash pattern.
    style = _DASHES[position // 7 % len(_DASHES)]
    axes.plot(x, y, style, color=color, linewidth=1.5, label=label)


def _legend_order(known: list[Curve]) -> list[Curve]:
    weakest = sorted(known, key=lambda curve: curve.ap or 0.0)
    return weakest[:_WEAKEST] if len(known) > _MANY else known


def _best_f1(curve: Curve) -> float:
    return curve.best.f1 if curve.best else 0.0


def _f1_label(curve: Curve) -> str:
    return f"{curve.best.f1:.3f} at {curve.best.score:.3f}  {curve.name}" if curve.best else ""


def _fade_others(axes: Axes, keep: set[str]) -> None:
    """Grey, thin and out of the legend: every line whose label is not kept."""
    for line in axes.get_lines():
        if str(line.get_label()) not in keep:
            line.set(color=FAINT, linewidth=0.7, linestyle="-", label="_", zorder=1)


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))


def _legend(axes: Axes, title: str) -> None:
    """Beside the axes, so that it never covers a line; best first."""
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    labels = [str(line.get_label()) for line in lines]
    legend = axes.legend(
        lines,
        [font(label, 9)[0] for label in labels],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        alignment="left",
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_fontproperties(font(label, 9)[1])
    legend.get_title().set_fontsize(9)
