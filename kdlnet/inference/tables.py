"""The tables of a folder of predictions: rows from what ``Prediction.to_dict`` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdlnet.utils.table import csv_text, path_cell, text_cell

Rows = Callable[[Mapping[str, Any]], str]
_IMAGE = ("name", "index", "timestamp")


def box_rows(values: Mapping[str, Any]) -> str:
    """One line a box; an image without boxes has none."""
    return csv_text(
        (
            *_head(values),
            text_cell(box["class"]),
            box["label"],
            box["score"],
            *box["box"],
            box["verdict"],
        )
        for box in values["boxes"]
    )


def verdict_row(values: Mapping[str, Any]) -> str:
    """The line of one image: its verdict and how many boxes it rests on."""
    return csv_text([(*_head(values), values["verdict"], len(values["boxes"]))])


def _head(values: Mapping[str, Any]) -> tuple[object, ...]:
    return path_cell(values["name"]), values["index"], values["timestamp"]


TABLES: dict[str, tuple[Sequence[str], Rows]] = {
    "predictions.csv": (
        (*_IMAGE, "class", "label", "score", "x1", "y1", "x2", "y2", "verdict"),
        box_rows,
    ),
    "verdicts.csv": ((*_IMAGE, "verdict", "boxes"), verdict_row),
}
"""By file name: the columns, and the rows of one image."""
