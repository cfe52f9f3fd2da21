"""The POD fit against scipy's general optimizers, and where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit

from kdlnet.metrics.pod import pod

LOG9 = np.log(9)


def _sample(seed: int, count: int = 400, ceiling: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of 5 to 200 px, half of them found at 20 px."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(np.log(5), np.log(200), count))
    return sizes, rng.random(count) < ceiling * expit(2 * np.log(sizes / 20))


def _cost(intercept: float, slope: float, x: np.ndarray, hits: np.ndarray) -> float:
    share = expit(intercept + slope * x)
    return -float(np.sum(np.log(np.where(hits, share, 1 - share))))


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_the_maximum_and_the_bound_where_lines_become_implausible(seed: int) -> None:
    sizes, hits = _sample(seed)
    x = np.log(sizes)
    best = minimize(lambda b: _cost(b[0], b[1], x, hits), [0.0, 1.0], method="Nelder-Mead",
                    options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 5000})  # fmt: skip
    found = pod(sizes, hits)
    assert (found.intercept, found.slope) == pytest.approx(best.x, rel=1e-4)
    assert found.a50.px == pytest.approx(np.exp(-best.x[0] / best.x[1]), rel=1e-4)
    assert found.a90.px == pytest.approx(np.exp((LOG9 - best.x[0]) / best.x[1]), rel=1e-4)

    def lost(at: float) -> float:
        """Chi-square of the best line through 0.9 at ``at``; 2.7055 is its 90 % quantile."""
        line = minimize_scalar(
            lambda slope: _cost(LOG9 - slope * at, slope, x, hits),
            bounds=(0, 10),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return 2 * (line.fun - best.fun) - 2.70554

    low = np.log(found.a90.px)
    bound = float(np.exp(brentq(lost, low + 1e-6, low + 3)))
    assert found.a90_95.px == pytest.approx(bound, rel=1e-4)
    assert found.a90.px < bound
    assert (found.floor, found.ceiling, found.notes) == (0, 1, ())


def test_the_curve_has_its_bound_and_bins_count_all() -> None:
    sizes, hits = _sample(4)
    found = pod(sizes, hits, mm_per_pixel=0.05)
    assert all(0 < point.low < point.pod < 1 for point in found.curve)
    # The size where the lower bound of the curve crosses 0.9 is a90/95.
    crossing = np.interp(0.9, [p.low for p in found.curve], np.log([p.size for p in found.curve]))
    assert np.exp(crossing) == pytest.approx(found.a90_95.px, rel=0.02)
    assert found.a90.mm == pytest.approx(found.a90.px * 0.05)
    assert sum(part.boxes for part in found.bins) == 400
    assert sum(part.hits for part in found.bins) == found.hits == hits.sum()
    json.dumps(found.to_dict())


@pytest.mark.slow
def test_a90_95_is_above_the_truth_in_95_of_100_samples() -> None:
    truth = 20 * np.exp(LOG9 / 2)
    above = sum(pod(*_sample(seed)).a90_95.px >= truth for seed in range(100, 300))
    assert 180 <= above <= 199  # 190 expected, 3.1 is one standard deviation


def test_a_ceiling_is_seen_and_takes_the_a90_away() -> None:
    found = pod(*_sample(2, ceiling=0.75))
    assert found.ceiling == pytest.approx(0.75, abs=0.06)
    assert found.a90.px is None and "no size is found with 90%" in found.a90.reason
    assert found.a90_95 == found.a90 and found.a50.px is not None
    assert any(note.startswith("large defects are missed too") for note in found.notes)


def test_a_floor_is_seen() -> None:
    sizes, hits = _sample(3, 800)
    lucky = np.random.default_rng(12).random(800) < 0.3
    found = pod(sizes, hits | lucky)
    assert found.floor == pytest.approx(0.3, abs=0.1) and found.ceiling == 1
    assert any(note.startswith("the smallest are found too") for note in found.notes)


@pytest.mark.parametrize(
    ("sizes", "hits", "reason"),
    [
        ([], [], "no true box"),
        ([10, 20, 30], [1, 1, 1], "all 3 true boxes are found"),
        ([10, 20, 30], [0, 0, 0], "none of 3 true boxes is found"),
        ([10, 10, 10], [0, 1, 1], "one size"),
        ([10, 20, 30, 40], [0, 0, 1, 1], "a size parts"),
        ([10, 20, 30, 40], [1, 1, 0, 0], "a size parts"),
        ([10, 20, 30, 40], [1, 0, 1, 0], "larger defects are not found more often"),
    ],
)
def test_where_there_is_no_fit_it_says_why(sizes: list, hits: list, reason: str) -> None:
    found = pod(np.array(sizes, float), np.array(hits, bool), 0.1)
    for size in (found.a50, found.a90, found.a90_95):
        assert size.px is None and size.mm is None and reason in size.reason
    assert found.boxes == len(sizes) and found.slope is None and found.curve == ()
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_trend_that_may_be_chance_is_no_curve() -> None:
    sizes = np.array([10, 12, 14, 16, 18, 20.0])
    found = pod(sizes, np.array([0, 1, 0, 1, 0, 1], bool))
    assert found.a50.px is found.a90.px is found.a90_95.px is None
    assert "not shown at 95 %" in found.a90_95.reason and found.slope is None


def test_few_boxes_and_sizes_beyond_them_are_noted() -> None:
    sizes = np.arange(10, 30.0)
    found = pod(sizes, np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1], bool))
    assert found.a90_95.px > found.a90.px > 29
    assert found.notes[0] == "20 true boxes; MIL-HDBK-1823A asks for 60 at least"
    assert any(note.startswith("a90/95 is outside") for note in found.notes)


def test_a_size_far_beyond_the_set_is_not_read_off_the_curve() -> None:
    """Sizes from 20 to 30 px only, POD from 0.55 to 0.75: 0.9 would be a guess."""
    sizes = np.linspace(20, 30, 400)
    hits = np.random.default_rng(6).random(400) < np.linspace(0.6, 0.72, 400)
    found = pod(sizes, hits)
    assert found.a50.px is not None
    assert found.a90_95.px is None
    assert found.a90_95.reason == "beyond 10 times the largest true box, 30.0 px"
