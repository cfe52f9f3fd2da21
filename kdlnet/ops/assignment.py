"""Pairs and groups: what belongs to what, in numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def best_pairs(gain: NDArray[Any]) -> Rows:
    """(K, 2) rows and columns of the matrix ``gain`` (N, M), each at most once, most gain in all.

    Gains are 0 or more; what gains 0 is no pair. Pairs are ordered by row. The shortest augmenting
    path of each row in turn: Jonker and Volgenant, Computing 38 (1987).
    """
    rows, columns = np.flatnonzero(gain.any(axis=1)), np.flatnonzero(gain.any(axis=0))
    part = gain[np.ix_(rows, columns)].astype(np.float64)
    turned = len(rows) > len(columns)
    taken = _assigned(-part.T if turned else -part)
    pairs = np.column_stack((np.arange(len(taken)), taken))
    pairs = pairs[:, ::-1][np.argsort(taken)] if turned else pairs
    pairs = pairs[part[pairs[:, 0], pairs[:, 1]] > 0]
    return np.column_stack((rows[pairs[:, 0]], columns[pairs[:, 1]]))


def _assigned(cost: NDArray[np.float64]) -> Rows:
    """The column (N,) of each row of ``cost`` (N, M), N <= M, that costs least in all."""
    count, width = cost.shape
    row_of = np.full(width, -1)
    price_rows, price_columns = np.zeros(count), np.zeros(width)
    for start in range(count):
        reach, back, open_ = np.full(width, np.inf), np.full(width, -1), np.ones(width, bool)
        row, column, distance, seen = start, -1, 0.0, []
        while row >= 0:
            step = distance + cost[row] - price_rows[row] - price_columns
            nearer = open_ & (step < reach)
            reach[nearer], back[nearer] = step[nearer], column
            column = int(np.where(open_, reach, np.inf).argmin())
            distance, open_[column] = reach[column], False
            seen.append(column)
            row = int(row_of[column])
        gone = np.array(seen[:-1], np.int64)
        price_rows[start] += distance
        price_rows[row_of[gone]] += distance - reach[gone]
        price_columns[gone] -= distance - reach[gone]
        while column >= 0:  # each column on the path goes to the row that reached it
            before = int(back[column])
            row_of[column] = start if before < 0 else row_of[before]
            column = before
    owned = np.flatnonzero(row_of >= 0)
    taken = np.empty(count, np.int64)
    taken[row_of[owned]] = owned
    return taken


def connected(count: int, links: Rows) -> Rows:
    """A number (count,) for each of ``count`` things; those that ``links`` (K, 2) join share it.

    It is the smallest position of the group.
    """
    numbers = np.arange(count)
    first, second = links.T
    while True:
        lowest = np.minimum(numbers[first], numbers[second])
        before = numbers.copy()
        np.minimum.at(numbers, first, lowest)
        np.minimum.at(numbers, second, lowest)
        if np.array_equal(numbers, before):
            return numbers
