"""Limits from the record of a calibration, whatever a file holds in its place."""

from __future__ import annotations

import pytest

from kdlnet.report.pages.answer import Limits
from kdlnet.report.pages.calibrated import chosen_on, limits_of, words_of
from kdlnet.report.pages.validation import validation_page

from .made import made_images, made_subject


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
    assert words_of({}) == ""
    images = made_images(tmp_path, 9)
    page = validation_page(made_subject(images, calibration=record))
    assert "It was chosen on made &lt;i&gt;, test." in page
    assert "measure on a set that had no say" in page
    elsewhere = {"data": "made <i>", "chosen_on": {"split": "val"}}
    other = validation_page(made_subject(images, calibration=elsewhere))
    assert "no say" not in other
