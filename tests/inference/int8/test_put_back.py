"""Layers go back one by one, the most costly first, with a made-up measure."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from kdlnet.errors import ProofFailed
from kdlnet.inference.int8.drop import MAX_DROP, Drop
from kdlnet.inference.int8.put_back import put_back

COSTS = {"a": 0.1, "b": 0.5, "c": 0.2, "d": 0.4, "e": 0.3, "f": 0.0}


class Measured:
    """Each layer in 8 bits loses a part of AP; what was asked is noted."""

    def __init__(self, losses: dict[str, float]) -> None:
        self.losses = losses
        self.asked: list[list[str]] = []

    def __call__(self, kept: Collection[str]) -> Drop:
        self.asked.append(list(kept))
        lost = sum(loss for name, loss in self.losses.items() if name not in kept)
        return Drop(lost, 0.0, 0.0)


def _never() -> dict[str, float]:
    pytest.fail("nobody has to rank the layers where nothing goes back")


def test_what_holds_at_once_is_left() -> None:
    held = put_back(list(COSTS), _never, Measured({"b": 0.005}), MAX_DROP)
    assert held.put_back == () and held.layers == 6 and held.drop == Drop(0.005, 0.0, 0.0)


def test_the_most_costly_go_first_and_no_more_than_needed() -> None:
    measure = Measured({"b": 0.02, "d": 0.02, "e": 0.005})
    held = put_back(list(COSTS), lambda: COSTS, measure, MAX_DROP)
    assert measure.asked == [[], ["b"], ["b", "d"]]
    assert [(each.layer, each.cost) for each in held.put_back] == [("b", 0.5), ("d", 0.4)]
    lost = [each.with_it.ap for each in held.put_back]
    assert lost == pytest.approx([0.045, 0.025]) and held.drop.ap == pytest.approx(0.005)
    assert held.to_dict()["put_back"][1]["with_it"]["ap"] == pytest.approx(0.025)


def test_where_half_is_not_enough_it_is_told_in_one_line() -> None:
    measure = Measured({"f": 0.5})  # the layer that was thought to cost nothing
    with pytest.raises(ProofFailed, match=r"AP lost 0\.5000 \(allowed 0\.01\).*3 of 6") as caught:
        put_back(list(COSTS), lambda: COSTS, measure, MAX_DROP)
    assert len(measure.asked) == 4 and "\n" not in str(caught.value)
