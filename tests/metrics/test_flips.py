"""Verdict flips against counting by hand, McNemar's test against scipy's binomial test."""

from __future__ import annotations

import json
from itertools import product

import pytest
from scipy.stats import binomtest

from kdlnet.metrics.flips import exact_mcnemar, find_flips


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 1), (1, 5), (6, 2), (0, 9), (12, 12), (40, 70)])
def test_mcnemar_is_the_exact_binomial_test(a: int, b: int) -> None:
    expected = binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert exact_mcnemar([-1] * a + [1] * b) == pytest.approx(expected)


@pytest.mark.parametrize("gaps", [[2, 3, -1, 0], [4, 4, 4, 4], [1, -2, 2, 5, 5, 1], [7]])
def test_groups_change_sides_whole(gaps: list[int]) -> None:
    sums = [
        abs(sum(sign * gap for sign, gap in zip(signs, gaps, strict=True)))
        for signs in product((-1, 1), repeat=len(gaps))
    ]
    expected = sum(one >= abs(sum(gaps)) for one in sums) / len(sums)
    assert exact_mcnemar(gaps) == pytest.approx(expected)


def test_six_pictures_of_one_tile_are_one_trial() -> None:
    a, b = ["OK"] * 6, ["NG"] * 6
    names = [f"{number}.png" for number in range(6)]
    assert find_flips([(a, b)], [True] * 6, names).tests["defective"].p == pytest.approx(2 / 2**6)
    found = find_flips([(a, b)], [True] * 6, names, [3] * 6).tests["defective"]
    assert (found.only_a, found.only_b, found.p) == (0, 6, 1.0) and not found.shown
    found = find_flips([(a, b)], [True] * 6, names, [3, 3, 4, 4, 5, 5]).tests["defective"]
    assert found.p == pytest.approx(2 / 2**3)


def test_flips_are_counted_by_kind_of_part() -> None:
    """A lets a defective part pass that B leaves to a person: stopped by B alone. On good parts
    only NG is a fault, so that UNSURE against OK is a flip, but no overkill."""
    names = [f"{number}.png" for number in range(7)]
    defective = [True, True, True, False, False, False, False]
    a = ["NG", "OK", "NG", "OK", "OK", "NG", "OK"]
    b = ["NG", "UNSURE", "OK", "OK", "UNSURE", "UNSURE", "NG"]
    found = find_flips([(a, b)], defective, names)
    assert found.counts["defective"] == {
        "both NG": 1, "only A NG": 1, "only B NG": 0, "both OK": 0, "A OK, B UNSURE": 1
    }  # fmt: skip
    assert found.counts["good"]["A NG, B UNSURE"] == 1
    tests = {kind: (test.only_a, test.only_b, test.p) for kind, test in found.tests.items()}
    assert tests == {"defective": (1, 1, 1.0), "good": (1, 1, 1.0)}
    assert [flip.image for flip in found.images] == ["1.png", "2.png", "4.png", "5.png", "6.png"]
    assert json.loads(json.dumps(found.to_dict()))["images"][0] == {
        "image": "1.png", "defective": True, "a": "OK", "b": "UNSURE", "pair": 0
    }  # fmt: skip


def test_several_pairs_have_no_test() -> None:
    found = find_flips([(["NG"], ["OK"]), (["NG"], ["OK"])], [True], ["a.png"])
    assert found.counts["defective"]["only A NG"] == 2 and found.tests["defective"].p is None
    assert "several pairs" in found.tests["defective"].reason
    assert [flip.pair for flip in found.images] == [0, 1]
