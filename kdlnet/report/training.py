"""The course of a training run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kdlnet.errors import KdlnetError
from kdlnet.metrics.result import Floats
from kdlnet.report.figure import INK, add_legend, line_colors, new_figure, save_figure, tidy

_ACCURACY = ("ap", "ap50", "ap75")
_OTHER = ("epoch", *_ACCURACY, "lr", "seconds", "images_per_second")


def training_curves(path: Path, results: Path) -> None:
    """Loss, AP, learning rate and speed over the epochs of a ``results.csv``.

    Columns ``epoch``, ``ap``, ``ap50``, ``ap75``, ``lr``, ``seconds`` and ``images_per_second``
    are known, ``loss`` is the sum, every other column a part of it. Blank values are skipped,
    and so is what a kill left of the last line. Raises KdlnetError when the CSV cannot be read
    or the picture not be written.
    """
    columns = _read(results)
    epochs = columns.get("epoch", np.zeros(0))
    figure = new_figure(11.5, 7.0)
    loss, accuracy, rate, speed = figure.subplots(2, 2).flat
    parts = [name for name in columns if name not in _OTHER and name != "loss"]
    _lines(loss, epochs, columns, ["loss", *parts])
    _lines(accuracy, epochs, columns, list(_ACCURACY))
    _lines(rate, epochs, columns, ["lr"])
    _lines(speed, epochs, columns, ["images_per_second"])
    tidy(loss, "Loss", "epoch")
    tidy(accuracy, "Average precision on val", "epoch")
    tidy(rate, "Learning rate", "epoch")
    tidy(speed, "Training speed, images per second", "epoch")
    for axes in (loss, accuracy, rate, speed):
        axes.set_ylim(bottom=0.0)
        axes.set_xlim(_epoch_range(epochs))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    add_legend(loss, "")
    add_legend(accuracy, _mark_best(accuracy, epochs, columns))
    save_figure(path, figure)


def _epoch_range(epochs: Floats) -> tuple[float, float]:
    known = epochs[~np.isnan(epochs)]
    first, last = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    margin = max(0.5, 0.03 * (last - first))
    return first - margin, last + margin


def _lines(axes: Axes, epochs: Floats, columns: dict[str, Floats], names: list[str]) -> None:
    colors = [INK, *line_colors(len(names) - 1)]
    for position, (name, color) in enumerate(zip(names, colors, strict=True)):
        values = columns.get(name, np.full(len(epochs), np.nan))
        known = ~np.isnan(values) & ~np.isnan(epochs)
        if known.any():
            marker = "o" if known.sum() < 30 else ""
            width = 2.2 if position == 0 and len(names) > 1 else 1.5
            axes.plot(
                epochs[known], values[known], marker=marker, markersize=3.5, color=color,
                linewidth=width, label=name,
            )  # fmt: skip


def _mark_best(axes: Axes, epochs: Floats, columns: dict[str, Floats]) -> str:
    ap = columns.get("ap", np.zeros(0))
    if not len(ap) or np.isnan(ap).all():
        return "not validated yet"
    best = int(np.nanargmax(ap))
    axes.axvline(float(epochs[best]), color=INK, linewidth=1.0, linestyle=":", label="_")
    return f"best ap {ap[best]:.3f}, epoch {epochs[best]:.0f}"


def _read(file: Path) -> dict[str, Floats]:
    """Columns of numbers, nan where a value is blank or no number."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if None not in row.values()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise KdlnetError(f"cannot read {str(file)!r}: {reason}; give a results.csv") from None
    names = [name for name in (rows[0] if rows else {}) if name]
    return {name: np.array([_number(row[name]) for row in rows]) for name in names}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")
