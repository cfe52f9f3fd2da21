"""OK, UNSURE, NG: scores at, above and below the thresholds of each class, sizes and counts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from kdlnet.metrics.verdict import DEFAULT_SCORE, VERDICTS, ClassRule, VerdictRule
from kdlnet.types import DetectionArrays

NAMES = ("crack", "pore")


def found(*boxes: tuple[float, int] | tuple[float, int, float, float]) -> DetectionArrays:
    """Boxes as (score, label) of 10 x 10 pixels, or (score, label, width, height)."""
    rows = [(*box, 10.0, 10.0)[:4] for box in boxes]
    sides = [[0.0, 0.0, width, height] for _, _, width, height in rows]
    return DetectionArrays(
        np.array(sides, np.float64).reshape(-1, 4),
        np.array([row[0] for row in rows], np.float64),
        np.array([row[1] for row in rows], np.int64),
    )


def test_a_box_that_reaches_the_threshold_makes_it_ng() -> None:
    rule = VerdictRule.at(0.4)
    assert rule.verdict(found((0.39, 0), (0.4, 1))) == "NG"
    assert rule.verdict(found((0.39, 0), (0.2, 1))) == "OK"
    assert rule.verdict(found()) == "OK"
    assert rule.kept([0.1, 0.4, 0.9], [0, 0, 0]).tolist() == [False, True, True]
    assert not rule.asks


def test_it_is_the_weights_own_or_the_usual_one() -> None:
    assert VerdictRule.of_weights({"score": 0.7}, NAMES) == VerdictRule.at(0.7)
    assert VerdictRule.of_weights({}, NAMES).score == VerdictRule().score == DEFAULT_SCORE


@pytest.mark.parametrize("threshold", [0.1, 0.7, 0.9])
def test_no_rounding_stands_between_a_score_and_its_threshold(threshold: float) -> None:
    """0.7 is more than its nearest float32, in which a network scores: equal all the same."""
    rule = VerdictRule((ClassRule(1.0, threshold),))
    score = float(np.float32(threshold))
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    for one, verdict in ((score, "UNSURE"), (below, "OK")):
        assert rule.verdict(found((one, 0))) == verdict
        assert rule.kept([one], [0]).tolist() == [verdict == "UNSURE"]
    assert VerdictRule.at(threshold).verdict(found((score, 0))) == "NG"
    assert VerdictRule.at(threshold).verdict(found((below, 0))) == "OK"


def test_each_class_has_its_thresholds_and_between_them_a_person_looks() -> None:
    rule = VerdictRule((ClassRule(0.8, 0.2), ClassRule(0.5)))
    assert (rule.score, rule.lowest, rule.asks) == (0.5, 0.2, True)
    assert rule.verdict(found((0.8, 0))) == "NG"
    assert rule.verdict(found((0.79, 0), (0.49, 1))) == "UNSURE"
    assert rule.verdict(found((0.19, 0), (0.49, 1))) == "OK"
    assert rule.verdict(found((0.2, 0), (0.5, 1))) == "NG"
    boxes = found((0.9, 0), (0.3, 0), (0.3, 1), (0.5, 1))
    assert rule.box_verdicts(boxes) == ["NG", "UNSURE", "OK", "NG"]
    assert rule.kept(boxes.scores, boxes.labels).tolist() == [True, True, False, True]


def test_small_short_and_few_boxes_do_not_count() -> None:
    rule = VerdictRule((ClassRule(0.5, min_area=25.0), ClassRule(0.5, 0.1, 0.0, 8.0, 2)))
    assert rule.verdict(found((0.9, 0, 5.0, 4.9))) == "OK"
    assert rule.verdict(found((0.9, 0, 5.0, 5.0))) == "NG"  # 25 square pixels are enough
    assert rule.verdict(found((0.9, 1, 1.0, 8.0))) == "OK"  # one long scratch of the two needed
    assert rule.verdict(found((0.9, 1, 1.0, 8.0), (0.9, 1, 7.9, 7.9))) == "OK"
    assert rule.verdict(found((0.9, 1, 1.0, 8.0), (0.9, 1, 8.0, 1.0))) == "NG"
    assert rule.verdict(found((0.9, 1), (0.1, 1))) == "UNSURE"
    # A box below the sizes is drawn and listed all the same: only its score decides about that.
    assert rule.box_verdicts(found((0.9, 0, 2.0, 2.0))) == ["OK"]
    assert rule.kept([0.9], [0]).all()
    assert rule.part_scores(found((0.9, 1), (0.3, 1)), 2).tolist() == [-np.inf, np.float32(0.3)]


@pytest.mark.filterwarnings("error")
def test_a_score_that_is_no_number_passes_no_part() -> None:
    rule = VerdictRule((ClassRule(0.9, 0.5), ClassRule(5.0)))
    assert rule.verdict(found((np.nan, 0))) == rule.verdict(found((np.nan, 1))) == "NG"
    assert rule.kept([np.nan, np.inf, -np.inf], [0, 0, 0]).tolist() == [True, True, False]
    odd = DetectionArrays(np.full((1, 4), np.nan), np.array([0.95]), np.array([0]))
    assert VerdictRule((ClassRule(0.9, min_area=4.0),)).verdict(odd) == "NG"


def test_a_threshold_above_all_scores_is_reached_by_none() -> None:
    never = VerdictRule((ClassRule(1.5, 0.3),))
    assert never.verdict(found((1.0, 0))) == "UNSURE"


@pytest.mark.parametrize(
    "rule",
    [
        VerdictRule.at(0.4),
        VerdictRule((ClassRule(0.4, 0.1, 9.0, 3.0, 2),)),
        VerdictRule((ClassRule(0.4), ClassRule(0.6, 0.2))),
        VerdictRule((ClassRule(), ClassRule(0.3, min_count=3))),
    ],
)
def test_it_comes_back_from_a_file(rule: VerdictRule) -> None:
    stored = rule.to_dict(NAMES)
    again = VerdictRule.of_weights(stored, NAMES)
    assert [again.of(label) for label in (0, 1)] == [rule.of(label) for label in (0, 1)]
    assert stored["score"] == rule.score
    swapped = VerdictRule.of_weights(stored, NAMES[::-1])  # by name, not by position
    assert [swapped.of(label) for label in (1, 0)] == [rule.of(label) for label in (0, 1)]


@pytest.mark.parametrize(
    "thresholds",
    [
        {"score": "high"},
        {"score": float("nan")},
        {"score": -0.1},
        {"score": 0.3, "unsure": 0.4},
        {"score": 0.3, "min_count": 0},
        {"score": 0.3, "min_count": 1.5},
        {"score": 0.3, "something newer": 1},
        {"classes": {"crack": {"score": 0.3}}},
        {"classes": 3},
    ],
)
def test_what_is_no_rule_is_refused(thresholds: dict) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        VerdictRule.of_weights(thresholds, NAMES)


def test_verdicts_rest_on_the_scores_of_parts_alone() -> None:
    """A random rule on random boxes, against the rule in words, box by box."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        rules = tuple(
            ClassRule(
                *sorted(rng.choice([0.2, 0.4, 0.6], 2))[::-1], *(rng.integers(0, 60, 2)), 1 + n
            )
            for n in range(2)
        )
        rule = VerdictRule(rules)
        rows = [
            (
                float(rng.choice([0.1, 0.2, 0.4, 0.6, 0.8])),
                int(rng.integers(2)),
                *rng.uniform(1, 12, 2),
            )
            for _ in range(rng.integers(6))
        ]
        seen = "OK"
        for name, threshold in (("UNSURE", "lower"), ("NG", "score")):
            for label, one in enumerate(rules):
                count = sum(
                    score >= getattr(one, threshold)
                    and width * height >= one.min_area
                    and max(width, height) >= one.min_length
                    for score, own, width, height in rows
                    if own == label
                )
                seen = name if count >= one.min_count else seen
        boxes = found(*rows)
        assert rule.verdict(boxes) == seen
        assert VERDICTS[int(rule.judge(rule.part_scores(boxes, 2)[None])[0])] == seen


def test_it_needs_numpy_alone() -> None:
    """Runners without torch judge by it."""
    code = "import sys; import kdlnet.metrics.verdict; print({'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
