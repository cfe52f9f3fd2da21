"""Rates of parts against counting by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.image_level import image_level
from kdlnet.metrics.rates import measure
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import ClassRule, VerdictRule
from kdlnet.types import DetectionArrays

NAMES = ("crack", "pore")
BOX = [0.0, 0.0, 10.0, 10.0]


def part(scores: dict[int, float], truths: tuple[int, ...] = (), name: str = "") -> ImageResult:
    """An image with a box of each of these scores by label, and true boxes of these labels."""
    return ImageResult(
        [BOX] * len(scores),
        list(scores.values()),
        list(scores),
        [BOX] * len(truths),
        list(truths),
        (64, 64),
        name,
    )


def test_boxes_of_classes_that_nobody_labelled_make_parts_ng() -> None:
    """Whether they are right is not known, but a line rejects the part for them."""
    others = DetectionArrays(np.array([BOX]), np.array([0.9]), np.array([1]))
    results = [replace(part({0: 0.3}), others=others), replace(part({}, (0,)), others=others)]
    found = measure(results, VerdictRule.at(0.5), NAMES)
    assert (found.overall.overkill.count, found.overall.escape.count) == (1, 0)
    assert found.per_class["pore"].overkill.count == 1
    swapped = results[0].renumbered(np.array([1, 0]))
    assert swapped.judged.labels.tolist() == [1, 0]
    assert image_level(results).good == 1
    assert image_level([part({0: 0.3}), results[1]]).pg["0"].value == 1
    assert image_level([results[0], part({0: 0.5}, (0,))]).pg["0"].value == 0


RULE = VerdictRule((ClassRule(0.5, 0.3), ClassRule(0.8)))
RESULTS = [
    part({0: 0.5}, (0,)),  # NG, rightly
    part({1: 0.9}, (0,)),  # a crack that a box of another class catches: it does not escape
    part({0: 0.4, 1: 0.7}, (1,)),  # UNSURE
    part({1: 0.79}, (0, 1)),  # shows both and is passed
    part({}, (1,)),  # passed
    part({0: 0.6}),  # good, rejected as a crack
    part({1: 0.8}),  # good, rejected as a pore
    part({0: 0.3}),  # good, UNSURE
    part({}),  # good, OK
]


def test_escape_overkill_and_unsure_by_hand() -> None:
    found = measure(RESULTS, RULE, NAMES)
    whole, crack, pore = found.overall, found.per_class["crack"], found.per_class["pore"]
    assert (whole.escape, whole.overkill, whole.unsure) == (Rate(2, 5), Rate(2, 4), Rate(2, 9))
    assert (crack.escape, pore.escape) == (Rate(1, 3), Rate(2, 3))
    assert (crack.overkill, pore.overkill) == (Rate(1, 4), Rate(1, 4))
    assert pore.defective == {"OK": 2, "UNSURE": 1, "NG": 0}
    assert found.unknown == {} and found.per_lot == {}
    assert found.sample["parts"] == {"escape": 5, "overkill": 4}
    assert found.sample["needed"]["0.01"] == 368
    assert found.sample["bound_at_zero"]["escape"] == pytest.approx(1 - 0.025 ** (1 / 5))
    text = "\n".join(found.lines())
    assert "escape (defective part passed): 0.400 (2 of 5; 95 % interval 0.053 to 0.853)" in text
    assert "5 defective parts can prove at best escape below 0.53" in text
    json.dumps(found.to_dict(), allow_nan=False)


def test_of_a_class_only_parts_that_somebody_looks_at_are_unsure() -> None:
    """The first good part is NG by its crack, so that nobody looks at its pore; the second is."""
    rule = VerdictRule((ClassRule(0.8, unsure=0.5), ClassRule(0.8, unsure=0.5)))
    parts = [part({0: 0.9, 1: 0.6}), part({1: 0.6}), part({0: 0.1})]
    found = measure(parts, rule, ("crack", "pore"))
    assert found.overall.unsure.count == 1
    assert found.per_class["pore"].good == {"OK": 2, "UNSURE": 1, "NG": 0}
    assert found.per_class["crack"].good == {"OK": 2, "UNSURE": 0, "NG": 1}


def test_lots_are_counted_apart() -> None:
    found = measure(RESULTS, RULE, NAMES, [*"aaabb", *"aabb"])
    assert list(found.per_lot) == ["a", "b"]
    assert found.per_lot["a"].escape == Rate(0, 3) and found.per_lot["b"].escape == Rate(2, 2)
    assert found.per_lot["a"].overkill == Rate(2, 2) and found.per_lot["b"].overkill == Rate(0, 2)


def test_a_truth_that_the_rule_tolerates_makes_no_defective_part() -> None:
    """By a rule from 200 square pixels or two cracks on, one box of 100 is a good part."""
    results = [part({0: 0.9}, (0,))]
    assert measure(results, VerdictRule.at(0.5), NAMES).overall.escape == Rate(0, 1)
    for rule in (ClassRule(0.5, min_area=200), ClassRule(0.5, min_count=2)):
        found = measure(results, VerdictRule((rule,)), NAMES).overall
        assert found.escape == Rate(0, 0) and found.overkill == Rate(0, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("results", "unknown"),
    [
        ([], {"escape", "overkill"}),
        ([part({0: 0.9}), part({})], {"escape"}),
        ([part({0: 0.9}, (0,)), part({}, (0,))], {"overkill"}),
        ([part({0: np.nan}, (0,)), part({1: np.nan})], set()),
    ],
)
def test_what_cannot_be_known_is_told(results: list[ImageResult], unknown: set[str]) -> None:
    found = measure(results, RULE, NAMES)
    assert set(found.unknown) == unknown
    values = found.to_dict()
    for name in ("escape", "overkill"):
        assert (values["overall"][name]["rate"] is None) == (name in unknown)
    assert sum("not known: no image" in line for line in found.lines()) == len(unknown)
    json.dumps(values, allow_nan=False)


@pytest.mark.parametrize(
    ("results", "blind"),
    [
        ([part({0: 0.9}, (0,)), part({1: 0.9}, (0,))], True),
        ([part({0: 0.9}, (0,)), part({}, (0,))], False),  # one passes: the rule tells parts apart
        ([part({0: 0.9}, (0,)), part({1: 0.9})], False),  # its overkill says so
        ([part({0: 0.9})], False),
    ],
)
def test_without_a_good_part_rejecting_all_proves_nothing(
    results: list[ImageResult], blind: bool
) -> None:
    lines = measure(results, RULE, NAMES).lines()
    assert any("a rule that rejects every part does as well" in line for line in lines) == blind


def test_one_class_and_equal_scores() -> None:
    results = [part({0: 0.5}, (0,)) for _ in range(3)] + [part({0: 0.5})]
    at, above = VerdictRule.at(0.5), VerdictRule.at(float(np.nextafter(np.float32(0.5), 1)))
    assert measure(results, at, ("crack",)).overall.escape == Rate(0, 3)
    assert measure(results, at, ("crack",)).overall.overkill == Rate(1, 1)
    assert measure(results, above, ("crack",)).overall.escape == Rate(3, 3)
