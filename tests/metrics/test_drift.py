"""Figures after a change beside those before it."""

from __future__ import annotations

import pytest

from kdlnet.metrics.drift import Change, measure_drift
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule

BOX = [[10.0, 10, 30, 30]]


def _image(score: float, defective: bool) -> ImageResult:
    return ImageResult(BOX, [score], [0], BOX if defective else [], [0] * defective, (64, 64))


def test_figures_are_those_after_the_change_and_flips_those_between() -> None:
    before = [_image(0.9, True), _image(0.9, True), _image(0.1, False), _image(0.2, False)]
    after = [_image(0.9, True), _image(0.3, True), _image(0.6, False), _image(0.2, False)]
    change = Change("half of the light", light=0.5)
    found = measure_drift(change, before, after, VerdictRule.at(0.5), ["pit"])
    assert (found.rates.escape.count, found.rates.escape.of) == (1, 2)
    assert (found.rates.overkill.count, found.rates.overkill.of) == (1, 2)
    assert found.flips == 2
    assert found.ap50 == pytest.approx(0.834, abs=0.001)  # of two true boxes the second comes third
    assert found.to_dict()["change"] == {
        "name": "half of the light",
        "light": 0.5,
        "blur": 0.0,
        "noise": 0.0,
    }
