"""What 8 bits cost: AP, verdicts and escapes, and what is allowed."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.errors import ConfigError
from kdlnet.inference.int8.drop import MAX_DROP, Drop, Yardstick, allowed_drop
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule


def _image(score: float | None, defective: bool, number: int) -> ImageResult:
    """One box of 10 pixels that is found with ``score`` where it is, or not at all."""
    box = np.array([[10.0, 10.0, 20.0, 20.0]])
    none = np.zeros((0, 4))
    found = 0 if score is None else 1
    return ImageResult(
        box if found else none,
        np.full(found, score or 0.0, np.float32),
        np.zeros(found, np.int64),
        box if defective else none,
        np.zeros(int(defective), np.int64),
        (64, 64),
        f"{number}.png",
    )


def _images(scores: list[float | None], defective: int) -> list[ImageResult]:
    return [_image(score, n < defective, n) for n, score in enumerate(scores)]


RULE = VerdictRule.at(0.5)


def test_each_figure_is_counted_by_itself() -> None:
    before = _images([0.9, 0.8, 0.7, 0.1], 3)
    drop = Yardstick(before, RULE, ["hole"])(before)
    assert drop == Drop(0.0, 0.0, 0.0)
    # One of three defects is lost in sight of the threshold, a good part of one is rejected.
    after = _images([0.9, 0.8, 0.4, 0.6], 3)
    drop = Yardstick(before, RULE, ["hole"])(after)
    assert drop.flips == 0.5 and drop.escape == pytest.approx(1 / 3)
    # The false box ranks third now: precision at recall 1 fell from 1 to 3/4.
    assert drop.ap == pytest.approx(0.25 * 34 / 101, abs=0.01)


def test_a_gain_is_no_loss_but_still_a_flip() -> None:
    drop = Yardstick(_images([0.9, 0.4], 2), RULE, ["hole"])(_images([0.9, 0.6], 2))
    assert drop == Drop(0.0, 0.5, -0.5)
    assert drop.within(Drop(0.0, 0.5, 0.0)) and not drop.within(Drop(0.0, 0.49, 0.0))


def test_without_defects_only_verdicts_are_judged() -> None:
    drop = Yardstick(_images([0.1, 0.9], 0), RULE, ["hole"])(_images([0.1, 0.1], 0))
    assert (drop.ap, drop.flips, drop.escape) == (None, 0.5, None)
    assert drop.within(Drop(0.0, 0.5, 0.0)) and "AP lost not known" in drop.describe(MAX_DROP)


@pytest.mark.parametrize("name", ["ap", "flips", "escape"])
def test_one_figure_too_many_is_enough(name: str) -> None:
    values = dict.fromkeys(("ap", "flips", "escape"), 0.0)
    assert Drop(**values).within(MAX_DROP)
    assert not Drop(**values | {name: 0.011}).within(MAX_DROP)


def test_what_is_not_given_keeps_its_default() -> None:
    assert allowed_drop({"flips": 0.05}) == Drop(MAX_DROP.ap, 0.05, MAX_DROP.escape)
    with pytest.raises(ConfigError, match=r"did you mean 'flips'.*ap, flips, escape"):
        allowed_drop({"flip": 0.1})
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="allowed is 0 to 1"):
            allowed_drop({"ap": value})
