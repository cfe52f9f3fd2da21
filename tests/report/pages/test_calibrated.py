"""Limits from the record of a calibration, whatever a file holds in its place."""

from __future__ import annotations

import pytest

from kdlnet.metrics.verdict import ClassRule, VerdictRule
from kdlnet.report.pages.answer import Limits
from kdlnet.report.pages.calibrated import chosen_on, common_limits, limits_of, words_of
from kdlnet.report.pages.validation import validation_page

from .made import NAMES, made_images, made_subject


@pytest.mark.parametrize(
    ("record", "limits"),
    [
        ({}, Limits()),
        ({"goal": {"kind": "recall", "limit": 0.99}}, Limits(0.01)),
        ({"goal": {"kind": "recall", "limit": None, "by_class": {"crack": 0.9}}}, Limits()),
        ({"goal": {"kind": "overkill", "limit": 0.02}}, Limits(None, 0.02)),
        (
            {"goal": {"kind": "overkill", "limit": 0.02}, "unsure": {"recall": 0.995}},
            Limits(0.005, 0.02),
        ),
        ({"goal": {"kind": "recall", "limit": 0.9}, "unsure": {"recall": 0.995}}, Limits(0.005)),
        ({"goal": {"kind": "cost", "limit": 0.3}}, Limits()),
        ({"goal": [1], "unsure": "x"}, Limits()),
        ({"goal": {"kind": "recall", "limit": "0.9"}}, Limits()),
        ({"goal": {"kind": "recall", "limit": float("nan")}}, Limits()),
    ],
)
def test_limits(record, limits):
    assert limits_of(record) == limits


def test_where_it_was_chosen(tmp_path):
    record = {"data": "made <i>", "chosen_on": {"split": "test"}}
    assert chosen_on(record) == ("made <i>", "test") and chosen_on({"data": 3}) is None
    assert words_of([{}]) == words_of([]) == ""
    images = made_images(tmp_path, 9)
    record["chosen_on"]["digest"] = "3f"
    page = validation_page(made_subject(images, calibrations=[record], digests=["3f"]))
    assert "It was chosen on made &lt;i&gt;, test." in page
    assert "measure on a set that had no say" in page
    other = validation_page(made_subject(images, calibrations=[record], digests=["4a"]))
    assert "no say" not in other


_OWN = VerdictRule((ClassRule(0.5), ClassRule(0.6), ClassRule(0.7)))


@pytest.mark.parametrize(
    ("rule", "digest", "classes", "answer"),
    [
        (_OWN, "3f", {}, "Not proven"),
        (_OWN, "4a", {}, "Yes"),
        (VerdictRule((ClassRule(0.5, min_area=1), *[ClassRule(0.5)] * 2)), "3f", {}, "Yes"),
        (_OWN, "3f", {"choosers": {NAMES[0]: "3f"}}, "Yes"),
        (_OWN, "3f", {"choosers": {NAMES[0]: "3f", NAMES[1]: "3f", NAMES[2]: "4a"}}, "Not proven"),
    ],
    ids=["the same parts", "other parts", "one threshold", "one class", "two classes"],
)
def test_parts_that_chose_several_thresholds_prove_nothing(tmp_path, rule, digest, classes, answer):
    """As the check of ``calibrate`` says; limits of 100 % are met by any interval."""
    record = {"data": "made <i>", "chosen_on": {"split": "test", "digest": "3f"}, **classes}
    more = {"calibrations": [record], "digests": [digest], "limits": Limits(1.0, 1.0)}
    page = validation_page(made_subject(made_images(tmp_path, 9), rule=rule, **more))
    assert f'id="answer">{answer}<' in page
    assert f'data-tone="{"met" if answer == "Yes" else "open"}"' in page
    assert (": ask others; your limit" in page) == (answer == "Not proven")


def test_folds_that_each_chose_on_their_own_part(tmp_path):
    """Several thresholds were chosen on these parts, though all are judged by their mean."""
    records = [
        {"data": f"fold-{n}", "chosen_on": {"split": "val", "digest": f"{n}"}} for n in (1, 2)
    ]
    more = {"limits": Limits(1.0, 1.0), "calibrations": records}
    images = made_images(tmp_path, 9)
    page = validation_page(made_subject(images, digests=["1", "2"], **more))
    mean = "It is the mean of the folds’ thresholds, which were chosen on "
    assert f"{mean}fold-1, val and fold-2, val." in page and "no say" in page
    assert words_of([records[0], {}]) == f"{mean}fold-1, val and parts that are not named."
    assert 'id="answer">Not proven<' in page and '"chosen":[[0,1,2],[0,1,2]]' in page.replace(
        " ", ""
    )
    crossed = validation_page(made_subject(images, digests=["2", "1"], **more))
    assert 'id="answer">Yes<' in crossed and "no say" not in crossed


def test_limits_of_folds_are_those_that_all_have():
    strict, loose = ({"goal": {"kind": "recall", "limit": limit}} for limit in (0.75, 0.5))
    assert common_limits([strict, strict]) == Limits(0.25)
    assert common_limits([strict, loose]) == common_limits([strict, {}]) == Limits()
