"""The bootstrap's table against COCO's figures, and the interval against what it must hold."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.intervals import paired_bootstrap, tabulate, weighted_figures
from kdlnet.metrics.result import ImageResult

from .test_average_precision import NAMES, random_result


def _results(seed: int, count: int = 12) -> list[ImageResult]:
    rng = np.random.default_rng(seed)
    return [random_result(rng, int(rng.integers(0, 6)), 5, index) for index in range(count)]


def _worse(result: ImageResult, share: float, seed: int) -> ImageResult:
    """The same image with a share of its detections lost."""
    keep = np.random.default_rng(seed).random(len(result.scores)) >= share
    return ImageResult(
        result.boxes[keep],
        result.scores[keep],
        result.labels[keep],
        result.truth_boxes,
        result.truth_labels,
        result.size,
        result.name,
    )


@pytest.mark.parametrize("seed", range(4))
def test_with_equal_weights_the_figures_are_cocos(seed: int) -> None:
    results = _results(seed)
    expected = average_precision(results, NAMES)
    found = weighted_figures(tabulate(results, len(NAMES)), np.ones(len(results)))
    np.testing.assert_allclose(found, [expected.ap, expected.ap50, expected.recall], atol=1e-9)


def test_weights_are_copies_of_images() -> None:
    results = _results(7)
    copies = np.array([0, 1, 2, 3, 1, 0, 2, 1, 0, 4, 1, 1])
    drawn = [result for result, n in zip(results, copies, strict=True) for _ in range(n)]
    expected = average_precision(drawn, NAMES)
    found = weighted_figures(tabulate(results, len(NAMES)), copies.astype(float))
    np.testing.assert_allclose(found, [expected.ap, expected.ap50, expected.recall], atol=1e-9)


def test_no_detections_and_no_truth() -> None:
    empty = ImageResult([], [], [], [[0, 0, 9, 9]], [0], (10, 10))  # type: ignore[arg-type]
    np.testing.assert_array_equal(weighted_figures(tabulate([empty], 2), np.ones(1)), [0, 0, 0])
    blank = ImageResult([], [], [], [], [], (10, 10))  # type: ignore[arg-type]
    assert np.isnan(weighted_figures(tabulate([blank], 2), np.ones(1))).all()


def test_the_same_model_twice_shows_nothing() -> None:
    table = tabulate(_results(1), len(NAMES))
    for value in paired_bootstrap([(table, table)], rounds=50).values():
        assert (value.difference, value.low, value.high, value.shown) == (0, 0, 0, False)


def test_a_clear_loss_is_shown_and_has_its_sign() -> None:
    good = _results(3, 60)
    bad = [_worse(result, 0.5, index) for index, result in enumerate(good)]
    tables = tabulate(good, len(NAMES)), tabulate(bad, len(NAMES))
    found = paired_bootstrap([tables], rounds=200)
    assert found["ap"].shown and found["ap"].high < 0
    assert found["ap"].low < found["ap"].difference < found["ap"].high
    back = paired_bootstrap([tables[::-1]], rounds=200)["ap"]
    assert back.difference == pytest.approx(-found["ap"].difference)
    assert (back.low, back.high) == pytest.approx((-found["ap"].high, -found["ap"].low))
    assert paired_bootstrap([tables], rounds=200)["ap"] == found["ap"]


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """B loses each detection with the same chance as A: no true difference, 95 % hold zero."""
    held = 0
    for trial in range(60):
        base = _results(100 + trial, 30)
        a, b = (
            tabulate([_worse(r, 0.3, 1000 * trial + 50 * side + i) for i, r in enumerate(base)], 4)
            for side in (0, 7)
        )
        held += not paired_bootstrap([(a, b)], rounds=120)["ap"].shown
    # 57 expected; binomial(60, 0.95) is below 50 once in 2000 trials, and resampling 30 images
    # gives intervals that are a little short.
    assert held >= 50


def test_images_of_a_group_are_drawn_together() -> None:
    """Every image five times is no more evidence: by groups the interval stays as wide."""
    good = _results(5, 20)
    bad = [_worse(result, 0.3, index) for index, result in enumerate(good)]

    def width(times: int, groups: list[int] | None) -> float:
        tables = tabulate(good * times, len(NAMES)), tabulate(bad * times, len(NAMES))
        found = paired_bootstrap([tables], groups, rounds=300)["ap"]
        return found.high - found.low

    alone = width(1, None)
    assert width(5, list(range(20)) * 5) == pytest.approx(alone, rel=0.15)
    assert width(5, None) < 0.7 * alone


def test_pairs_are_averaged_and_drawn_too() -> None:
    good = _results(5, 20)
    bad = [_worse(result, 0.6, index) for index, result in enumerate(good)]
    up = tabulate(bad, len(NAMES)), tabulate(good, len(NAMES))
    one = paired_bootstrap([up], rounds=100)["ap"]
    both = paired_bootstrap([up, up[::-1]], rounds=100)["ap"]
    assert one.shown and not both.shown
    assert both.difference == pytest.approx(0, abs=1e-12)
    assert both.a == pytest.approx((one.a + one.b) / 2)
