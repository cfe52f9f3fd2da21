"""Yes, no or not proven: the interval's end decides, never its middle."""

from __future__ import annotations

import pytest

from kdlnet.metrics.binomial import Rate
from kdlnet.report.pages.answer import Limits, bar, facts, live, state, tone


def rates(escape, overkill, unsure=(0, 100)):
    return {"escape": Rate(*escape), "overkill": Rate(*overkill), "unsure": Rate(*unsure)}


@pytest.mark.parametrize(
    ("count", "of", "limit", "expected"),
    [
        (0, 368, 0.01, "met"),  # the exact interval ends at 0.00998
        (0, 367, 0.01, "open"),  # at 0.01001
        (3, 100, 0.01, "open"),  # 3 % of few parts: 0.6 to 8.5 %
        (30, 100, 0.01, "broken"),
        (0, 0, 0.01, "unknown"),
        (30, 100, None, "free"),
    ],
)
def test_state(count, of, limit, expected):
    assert state(Rate(count, of), limit) == expected


@pytest.mark.parametrize(
    ("escape", "overkill", "limits", "answer"),
    [
        ((0, 400), (0, 400), Limits(0.01, 0.01), "Yes"),
        ((0, 400), (0, 400), Limits(0.01), "Not yet: one limit is missing"),
        ((0, 400), (0, 0), Limits(0.01, 0.01), "Not proven"),
        ((0, 300), (0, 400), Limits(0.01, 0.01), "Not proven"),
        ((90, 300), (0, 400), Limits(0.01, 0.01), "No"),
        ((90, 300), (0, 0), Limits(0.01, 0.01), "No"),
        ((90, 300), (0, 0), Limits(), "That depends on your limits"),
    ],
)
def test_answers(escape, overkill, limits, answer):
    assert facts(rates(escape, overkill), limits)["answer"] == answer


def test_thresholds_chosen_on_the_same_parts_prove_no_limit_and_break_one_all_the_same():
    good, limits = rates((0, 400), (0, 400)), Limits(0.01, 0.01)
    texts = facts(good, limits, doubt="chose")
    assert texts["answer"] == "Not proven" and tone(good, limits, doubt="chose") == "open"
    assert texts["why"].startswith(
        "0.0 % of the defective parts pass here, but the scores were chosen on "
        "these parts: ask others; your limit is 1.0 %."
    )
    assert facts(rates((90, 300), (0, 400)), limits, doubt="chose")["answer"] == "No"


def test_reasons_name_what_decides():
    why = facts(rates((3, 300), (0, 0)), Limits(0.01, 0.02))["why"]
    assert why == (
        "1.0 % of the defective parts pass here, but so few parts leave room for up to 2.9 %; "
        "your limit is 1.0 %. This set has no good part, so nobody can know how many "
        "would be rejected."
    )
    why = facts(rates((90, 300), (0, 400)), Limits(0.01, 0.02))["why"]
    assert why == (
        "At least 24.9 % of the defective parts pass; your limit is 1.0 %. "
        "At most 0.9 % of the good parts are rejected; your limit is 2.0 %."
    )
    why = facts(rates((0, 0), (0, 400)), Limits(overkill=0.02))["why"]
    assert why.startswith("This set has no defective part") and why.endswith("your limit is 2.0 %.")
    why = facts(rates((0, 400), (0, 400)), Limits(0.01))["why"]
    assert why.endswith("No limit was given for how many of the good parts are rejected.")


@pytest.mark.parametrize(
    ("limit", "told"), [(0.0005, "0.05 %"), (0.0025, "0.25 %"), (0.25, "25.0 %"), (0.29, "29.0 %")]
)
def test_a_limit_is_told_as_it_is_and_rates_as_finely(limit, told):
    why = facts(rates((1, 4000), (0, 9)), Limits(limit))["why"]
    assert f"your limit is {told}." in why
    assert ("up to 0.14 %" in why) == (limit == 0.0005)  # the exact interval ends at 0.139 %


@pytest.mark.parametrize(
    ("escape", "limit", "value", "range"),
    [
        ((1, 5000), 0.0005, "0.02 %", "0.00 % to 0.11 %"),
        ((0, 357), 0.01, "0.00 %", "0.00 % to 1.03 %"),  # "1.0 %" beside a limit of 1.0 %
        ((7, 100), 1 - 0.93, "7.0 %", "2.9 % to 13.9 %"),  # the limit by 7e-17
    ],
)
def test_rates_beside_a_limit_can_be_told_from_it(escape, limit, value, range):
    texts = facts(rates(escape, (0, 9)), Limits(limit))
    assert (texts["escape-value"], texts["escape-range"]) == (
        value,
        f"expect {range} on the line (95 % sure)",
    )
    assert texts["overkill-value"] == "0.0 %"


def test_without_a_limit_what_may_happen_is_not_shown_as_nothing():
    texts = facts(rates((0, 20000), (1, 5000)), Limits())  # ends at 0.018 %
    assert texts["escape-range"] == "expect 0.00 % to 0.02 % on the line (95 % sure)"
    assert texts["overkill-value"] == "0.02 %"


def test_parts_that_chose_the_scores_promise_nothing():
    texts = facts(rates((3, 300), (0, 0)), Limits(), doubt="chose")
    assert texts["escape-range"] == (
        "0.2 % to 2.9 %, but these parts chose the scores: expect worse on the line"
    )


def test_cards():
    texts = facts(rates((3, 300), (0, 0)), Limits())
    assert texts["escape-value"] == "1.0 %" and texts["escape-count"] == "3 of 300 defective parts"
    assert texts["escape-range"] == "expect 0.2 % to 2.9 % on the line (95 % sure)"
    assert texts["overkill-value"] == "not known"
    assert tone(rates((3, 300), (0, 0)), Limits()) == "free"
    assert live(rates((3, 300), (0, 0)), 1, 0) == (
        "3 of 300 defective parts pass · 1 defect not found · no false alarms"
    )
    assert live(rates((0, 0), (2, 9), (1, 9)), None, None) == (
        "2 of 9 good parts are rejected · 1 left to a person"
    )


def test_bars():
    assert bar(Rate(0, 0), 0.1) is None
    drawn = bar(Rate(3, 300), 0.1)
    assert drawn.end == pytest.approx(0.115) and drawn.limit == pytest.approx(100 / 1.15)
    assert drawn.low < drawn.value < drawn.high < drawn.limit
    assert bar(Rate(300, 300), None).end == 1
    assert bar(Rate(0, 10**6), None).end == 0.02
