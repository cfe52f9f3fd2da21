"""Pairs and groups against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kdlnet.ops.assignment import best_pairs, connected


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([0.1, 0.4, 1.0]),
    st.sampled_from([0.25, None]),
)
def test_pairs_gain_as_much_as_any(
    seed: int, rows: int, columns: int, share: float, step: float | None
) -> None:
    """Sparse and full matrices, with gains of a quarter also many equal sums."""
    random = np.random.default_rng(seed)
    gain = random.random((rows, columns)) * (random.random((rows, columns)) < share)
    gain = gain if step is None else np.ceil(gain / step) * step
    found = best_pairs(gain)
    chosen = linear_sum_assignment(gain, maximize=True)
    assert gain[tuple(found.T)].sum() == pytest.approx(gain[chosen].sum())
    assert (gain[tuple(found.T)] > 0).all()
    for side in found.T:
        assert len(set(side.tolist())) == len(side)
    assert (np.diff(found[:, 0]) > 0).all()
    if step is None:  # nothing is equal: there is one best answer
        wanted = np.column_stack(chosen)[gain[chosen] > 0]
        assert np.array_equal(found, wanted)


def test_the_best_of_one_may_be_left_to_another() -> None:
    """0.6 alone is less than 0.5 and 0.5."""
    assert best_pairs(np.array([[0.5, 0.6], [0.0, 0.5]])).tolist() == [[0, 0], [1, 1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 40))
def test_groups_are_those_of_a_graph(seed: int, count: int, links: int) -> None:
    pairs = np.random.default_rng(seed).integers(0, count, (links, 2))
    found = connected(count, pairs)
    graph = coo_array((np.ones(links), tuple(pairs.T)), shape=(count, count))
    wanted = connected_components(graph, directed=False)[1]
    assert np.array_equal(np.unique(found, return_inverse=True)[1], wanted)
