"""Differences of two detectors on the same images: sign, width, coverage, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.paired import Difference, paired_intervals
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.table import FIGURES, IOUS, Table, class_table, tabulate

from .test_average_precision import NAMES
from .test_intervals import _results, weighted_figures


def paired(
    pairs: Sequence[tuple[Table, Table]], groups: Sequence[int] | None = None, **more: Any
) -> dict[str, Difference]:
    return paired_intervals(pairs, NAMES, groups, **more).overall


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


def test_the_same_model_twice_shows_nothing() -> None:
    table = tabulate(_results(1), len(NAMES))
    for value in paired([(table, table)], rounds=50).values():
        assert (value.difference, value.low, value.high, value.shown) == (0, 0, 0, False)


def test_a_clear_loss_is_shown_and_has_its_sign() -> None:
    good = _results(3, 60)
    bad = [_worse(result, 0.5, index) for index, result in enumerate(good)]
    tables = tabulate(good, len(NAMES)), tabulate(bad, len(NAMES))
    found = paired([tables], rounds=200)
    assert found["ap"].shown and found["ap"].high < 0
    assert found["ap"].low < found["ap"].difference < found["ap"].high
    back = paired([tables[::-1]], rounds=200)["ap"]
    assert back.difference == pytest.approx(-found["ap"].difference)
    assert (back.low, back.high) == pytest.approx((-found["ap"].high, -found["ap"].low))
    assert paired([tables], rounds=200)["ap"] == found["ap"]


def _simulated(rng: np.random.Generator, images: int) -> tuple[Table, Table]:
    """B sees what A sees a little better; both call the same noise, mostly."""
    ease, sides, counts = rng.normal(size=images), ([], []), []
    for rate in (0.9, 0.5):
        truths = rng.poisson(rate * np.exp(0.5 * rng.normal(size=images) - 0.125))
        counts.append(truths)
        owner = np.repeat(np.arange(images), truths)
        shared = 1 + 0.6 * ease[owner] + 0.8 * rng.normal(size=len(owner))
        noise = np.repeat(np.arange(images), rng.poisson(0.8, images))
        for side, tables in enumerate(sides):
            quality = shared + 0.4 * side + 0.6 * rng.normal(size=len(owner))
            seen = quality > -0.3
            iou = 0.45 + 0.5 / (1 + np.exp(-0.8 * quality - 0.7 * rng.normal(size=len(owner))))
            scores = quality + 0.7 * rng.normal(size=len(owner))
            called = noise[rng.random(len(noise)) < 0.7]
            score = np.concatenate([scores[seen], rng.normal(-0.6, 1, len(called))])
            order = np.argsort(-score)
            reached = np.concatenate([iou[seen], np.zeros(len(called))])[order]
            hits = reached[None] >= np.array(IOUS)[:, None]
            tables.append(class_table(np.concatenate([owner[seen], called])[order], hits, truths))
    a, b = (Table(tuple(tables), np.stack(counts, axis=1)) for tables in sides)
    return a, b


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """1000 sets of 40 images: 95 % of the intervals hold the difference of the population."""
    rng = np.random.default_rng(5)
    gains = []
    for _ in range(40):
        a, b = (weighted_figures(table, np.ones(5000)) for table in _simulated(rng, 5000))
        gains.append(b - a)
    truth = dict(zip(FIGURES, np.mean(gains, axis=0), strict=True))
    held = dict.fromkeys(FIGURES, 0)
    for trial in range(1000):
        found = paired_intervals([_simulated(rng, 40)], ("a", "b"), rounds=200, seed=trial)
        for name, value in found.overall.items():
            held[name] += value.low <= truth[name] <= value.high
    for name in ("ap", "ap50", "ap75", "recall"):
        assert 0.93 <= held[name] / 1000 <= 0.97, (name, held)
    assert held["recall50"] >= 900, held  # few boxes decide: nine in ten are found by both


def test_images_of_a_group_are_drawn_together() -> None:
    """Every image five times is no more evidence: by groups the interval stays as wide."""
    good = _results(5, 20)
    bad = [_worse(result, 0.3, index) for index, result in enumerate(good)]

    def width(times: int, groups: list[int] | None) -> float:
        tables = tabulate(good * times, len(NAMES)), tabulate(bad * times, len(NAMES))
        found = paired([tables], groups, rounds=300)["ap"]
        return found.high - found.low

    alone = width(1, None)
    assert width(5, list(range(20)) * 5) == pytest.approx(alone, rel=0.15)
    assert width(5, None) < 0.7 * alone


def test_pairs_are_averaged_and_drawn_too() -> None:
    good = _results(5, 20)
    bad = [_worse(result, 0.6, index) for index, result in enumerate(good)]
    up = tabulate(bad, len(NAMES)), tabulate(good, len(NAMES))
    one = paired([up], rounds=100)["ap"]
    both = paired([up, up[::-1]], rounds=100)["ap"]
    assert one.shown and not both.shown
    assert both.difference == pytest.approx(0, abs=1e-12)
    assert both.a == pytest.approx((one.a + one.b) / 2)


def _finding(found: int, images: int = 40) -> Table:
    """One true box an image; it is found on the first images."""
    hits, truths = np.ones((len(IOUS), found), bool), np.ones(images, np.int64)
    return Table((class_table(np.arange(found), hits, truths),), truths[:, None])


def test_the_reach_over_pairs_is_students_t_of_their_differences() -> None:
    """B finds all in one pair of five and nothing in the others: all images are alike.

    The differences are 1, 0, 0, 0, 0: 0.2 on average, with a standard error of 0.2; t of four
    degrees of freedom is 2.776.
    """
    pairs = [(_finding(0), _finding(40))] + [(_finding(0), _finding(0))] * 4
    found = paired_intervals(pairs, ("x",), rounds=100)
    for value in (found.overall["recall50"], found.per_class["x"].figures["recall50"]):
        assert (value.a, value.b) == (0, pytest.approx(0.2))
        assert (value.low, value.high) == pytest.approx((0.2 - 0.555, 0.2 + 0.555), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.12])
def test_of_several_pairs_the_interval_covers_too(count: int, spread: float) -> None:
    """A and B have seeds from one distribution: 95 % of the intervals hold zero, or more."""
    rng, held = np.random.default_rng(2), 0
    for trial in range(200):
        rates = np.clip(rng.normal(0.7, spread, (count, 2)), 0.02, 0.98)
        pairs = [(_finding(a), _finding(b)) for a, b in rng.binomial(40, rates)]
        value = paired_intervals(pairs, ("x",), rounds=100, seed=trial).overall["recall50"]
        held += value.low <= 0 <= value.high
    assert held >= 0.93 * 200


@pytest.mark.parametrize("good_parts", [0, 1])
def test_one_image_with_boxes_shows_no_winner(good_parts: int) -> None:
    """Drawn again and again it says the same each time: that is no evidence."""
    images = 1 + good_parts
    truths = np.eye(1, images, dtype=np.int64)[0]
    nothing, box = (np.arange(0), np.ones((10, 0), bool)), (np.arange(1), np.ones((10, 1), bool))
    a, b = (Table((class_table(*found, truths),), truths[:, None]) for found in (nothing, box))
    found = paired_intervals([(a, b)], ("x",), rounds=100)
    ap = found.overall["ap"]
    assert (ap.difference, ap.low, ap.high, ap.shown) == (1, -1, 1, False)
    assert found.reason == found.per_class["x"].reason == "it rests on one image or group"


def test_classes_have_differences_where_they_tell_something() -> None:
    good = _results(3, 30)
    bad = [_worse(result, 0.5, index) for index, result in enumerate(good)]
    tables = tabulate(good, len(NAMES)), tabulate(bad, len(NAMES))
    found = paired_intervals([tables], NAMES, rounds=100).per_class
    for name in ("scratch", "pit", "stain"):
        expected = [average_precision(results, NAMES).per_class[name] for results in (good, bad)]
        for figure in FIGURES:
            value = found[name].figures[figure]
            assert value.a == pytest.approx(getattr(expected[0], figure))
            assert value.b == pytest.approx(getattr(expected[1], figure))
            assert value.low <= value.difference <= value.high
        assert found[name].boxes == expected[0].truths
    assert found["never"].to_dict() == {
        **dict.fromkeys(FIGURES), "boxes": 0, "groups": 0, "reason": "no true box"
    }  # fmt: skip


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]])
def test_a_class_in_one_image_may_be_anywhere(groups: list[int] | None) -> None:
    """B has one box more, the only one of its class, in each round in which that is drawn."""
    images, truths = 12, np.zeros((12, 2), np.int64)
    truths[:, 0], truths[0, 1] = 1, 1
    every = class_table(np.arange(images), np.ones((10, images), bool), truths[:, 0])
    none = class_table(np.arange(0), np.ones((10, 0), bool), truths[:, 1])
    one = class_table(np.arange(1), np.ones((10, 1), bool), truths[:, 1])
    found = paired_intervals(
        [(Table((every, none), truths), Table((every, one), truths))], ("x", "y"), groups
    )
    assert found.per_class["y"].reason == "it rests on one image or group"
    ap = found.overall["ap"]
    # The mean is that of two classes: of x nothing differs, of y anything from -1 to 1 is possible.
    assert (ap.difference, ap.shown) == (0.5, False)
    assert ap.low <= -0.5 and ap.high >= 0.5  # a class that differs by -1, or by 1
