"""The columns hold what counting needs: brute force over all boxes says the same."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from kdlnet.metrics.binomial import clopper_pearson
from kdlnet.metrics.matching import match
from kdlnet.metrics.rates import Parts, tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages import evidence as module
from kdlnet.report.pages.counting import count_boxes
from kdlnet.report.pages.evidence import column, evidence, interval_tables, pool

from .made import made_images


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), f"<{kind}")


@pytest.mark.parametrize("seed", range(4))
def test_counts_at_every_threshold_are_those_of_matching_anew(tmp_path, seed):
    images = made_images(tmp_path, 12, seed)
    boxes = pool(images, 0.001)
    for score in [0.001, *sorted({float(s) for image in images for s in image.scores})[::4], 1.0]:
        found = [match(image, 0.5, score) for image in images]
        counts = count_boxes(boxes, VerdictRule.at(score), 3)
        assert sum(row.found for row in counts) == sum(len(m.true) for m in found)
        assert sum(row.missed for row in counts) == sum(len(m.missed) for m in found)
        assert sum(row.extra for row in counts) == sum(len(m.false) for m in found)


def test_columns(tmp_path):
    images = made_images(tmp_path, 9)
    rule = VerdictRule.at(0.5)
    parts, boxes = tabulate_parts(images, rule, 3), pool(images, rule.lowest)
    found = evidence(parts, boxes, 160)
    scores = np.full((9, 3), -np.inf, np.float32)
    table = {
        name: numbers(found["scores"][name], kind)
        for name, kind in (("part", "u4"), ("label", "u2"), ("score", "f4"))
    }
    scores[table["part"], table["label"]] = table["score"]
    assert (scores == parts.scores).all()
    assert len(numbers(found["shows"]["part"], "u4")) == parts.shows.sum()
    rect = numbers(found["truths"]["rect"], "u2").reshape(-1, 4) / found["unit"]
    assert rect == pytest.approx(np.concatenate([image.truth_boxes for image in images]), abs=0.01)
    assert (
        np.isneginf(numbers(found["truths"]["finder"], "f4")).sum()
        == np.isneginf(boxes.finder).sum()
    )


def test_too_many_boxes_raise_the_floor_but_never_above_the_rule(tmp_path, monkeypatch):
    images = made_images(tmp_path, 20)
    pooled = np.sort(np.concatenate([image.scores for image in images]))
    monkeypatch.setattr(module, "MOST_BOXES", 10)
    assert len(pool(images, 0.9).score) <= 11
    assert pool(images, 0.9).floor == pytest.approx(pooled[-11])
    assert pool(images, 0.25).floor == 0.25
    found = evidence(tabulate_parts(images, VerdictRule.at(0.001), 3), pool(images, 0.001), 160)
    assert found["boxes"] is None and found["truths"] is None and found["scores"]["part"]
    monkeypatch.setattr(module, "_MOST_ENTRIES", 5)
    assert (
        evidence(tabulate_parts(images, VerdictRule.at(0.25), 3), pool(images, 0.25), 160) is None
    )


def test_nothing_at_all():
    boxes = pool([], 0.25)
    assert len(boxes.score) == len(boxes.finder) == 0 and boxes.boxes.shape == (0, 4)
    none = Parts(np.zeros((0, 3), np.float32), np.zeros((0, 3), bool))
    assert evidence(none, boxes, 1)["parts"] == 0
    empty = ImageResult(np.zeros((0, 4)), [], [], np.zeros((0, 4)), [], (10, 10), "a")
    assert [row.missed for row in count_boxes(pool([empty], 0.25), VerdictRule(), 2)] == [0, 0]


def test_interval_tables():
    tables = interval_tables([40, 0, 3, 40])
    assert sorted(tables) == ["3", "40"]
    table = {
        name: numbers(text, "u4" if name == "count" else "f8")
        for name, text in tables["40"].items()
    }
    assert table["count"].tolist() == list(range(41))
    assert (table["low"][7], table["high"][7]) == clopper_pearson(7, 40)
    assert list(interval_tables([5, 10**9, 6])) == ["5", str(10**9), "6"]
    assert numbers(column([70000, -1], "u2"), "u2").tolist() == [65535, 0]


def test_intervals_of_very_many_parts_lie_between_those_that_are_kept():
    size = 400_000
    tables = interval_tables([size, 123_457])
    assert sorted(tables) == ["123457", str(size)]
    table = {
        name: numbers(text, "u4" if name == "count" else "f8")
        for name, text in tables[str(size)].items()
    }
    assert len(table["count"]) < 6_000 and set(range(2_000)) < set(table["count"].tolist())
    for count in (0, 3, 2_011, 20_777, 199_999, 200_001, 399_990, size):
        for name, exact in zip(("low", "high"), clopper_pearson(count, size), strict=True):
            assert np.interp(count, table["count"], table[name]) == pytest.approx(exact, rel=1e-6)
