"""Intervals of a rate against scipy's and the tails, and what a sample proves."""

from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest

from kdlnet.metrics.binomial import Rate, clopper_pearson, events_allowed, parts_needed, provable
from kdlnet.metrics.requirement import Check


@pytest.mark.parametrize(
    ("count", "of"), [(0, 1), (1, 1), (0, 144), (3, 144), (76, 76), (380, 760)]
)
def test_intervals_are_those_of_scipy(count: int, of: int) -> None:
    wanted = binomtest(count, of).proportion_ci(0.95, method="exact")
    assert clopper_pearson(count, of) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_an_interval_ends_where_its_count_becomes_too_rare() -> None:
    low, high = clopper_pearson(3, 144)
    assert binom.cdf(3, 144, high) == pytest.approx(0.025)
    assert binom.sf(2, 144, low) == pytest.approx(0.025)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("limit", [0.3, 0.05, 0.01, 0.001])
def test_the_sample_that_proves_a_limit(limit: float) -> None:
    needed = parts_needed(limit)
    assert needed is not None
    assert clopper_pearson(0, needed)[1] <= limit < clopper_pearson(0, needed - 1)[1]
    assert events_allowed(needed, limit) == 0 and events_allowed(needed - 1, limit) is None
    for of in (0, 1, 50, 400):
        fitting = [count for count in range(of + 1) if clopper_pearson(count, of)[1] <= limit]
        assert events_allowed(of, limit) == (max(fitting) if fitting and of else None)


def test_no_sample_proves_that_nothing_ever_happens() -> None:
    assert parts_needed(0.0) is None and parts_needed(1.0) == 0


@pytest.mark.parametrize("of", [1, 5, 39, 40, 42, 144, 368, 10000, 100000])
def test_what_is_told_to_be_provable_is_proved_by_so_many(of: int) -> None:
    high = clopper_pearson(0, of)[1]
    assert high <= provable(of) < 1.1 * high
    assert events_allowed(1000, 0.0) is None and events_allowed(10, 1.0) == 10


def test_a_rate_without_parts_is_not_known() -> None:
    assert Rate(0, 0).value is None and str(Rate(0, 0)) == "not known"
    assert Rate(0, 0).to_dict() == {"count": 0, "of": 0, "rate": None, "low": None, "high": None}
    assert str(Rate(1, 4)) == "0.250 (1 of 4; 95 % interval 0.006 to 0.806)"


@pytest.mark.parametrize(
    ("rate", "limit", "told"),
    [
        (Rate(1, 5000), 0.0005, "0.0002 (1 of 5000; 95 % interval 0.0000 to 0.0011)"),
        (Rate(4998, 5000), 0.9995, "0.9996 (4998 of 5000; 95 % interval 0.9986 to 1.0000)"),
        (Rate(0, 357), 0.01, "0.0000 (0 of 357; 95 % interval 0.0000 to 0.0103)"),
        (Rate(1, 5000), None, "0.0002 (1 of 5000; 95 % interval 0.0000 to 0.0011)"),
        (Rate(0, 20000), None, "0.0000 (0 of 20000; 95 % interval 0.0000 to 0.0002)"),
        (Rate(2, 20000), 0.001, "0.0001 (2 of 20000; 95 % interval 0.0000 to 0.0004)"),
        (Rate(2999, 3000), 0.999, "0.9997 (2999 of 3000; 95 % interval 0.9981 to 1.0000)"),
        (Rate(4999, 5000), None, "0.9998 (4999 of 5000; 95 % interval 0.9989 to 1.0000)"),
        (Rate(1, 4), 0.2, "0.250 (1 of 4; 95 % interval 0.006 to 0.806)"),
    ],
)
def test_rates_are_told_with_the_digits_of_their_limit(
    rate: Rate, limit: float | None, told: str
) -> None:
    assert rate.told(limit) == told
    low, share, high = rate.shares(limit)
    assert told.startswith(f"{share} (") and told.endswith(f"interval {low} to {high})")
    if limit is not None:
        assert str(Check("overkill", rate, limit, False)).startswith(f"overkill: {told}; at most")
