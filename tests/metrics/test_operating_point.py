"""Thresholds against brute force over every cut between the scores of the parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdlnet.errors import DataError
from kdlnet.metrics.binomial import Rate, clopper_pearson
from kdlnet.metrics.operating_point import LOWEST, Costs, Goal, Unsure, choose
from kdlnet.metrics.rates import Parts, VerdictReport, count_verdicts
from kdlnet.metrics.requirement import Check, checks
from kdlnet.metrics.verdict import ClassRule, VerdictRule

NAMES = ("crack", "pore", "dent")


def table(rng: np.random.Generator, parts: int, classes: int) -> Parts:
    """Scores with many ties and parts without a box; some parts show several classes."""
    grid = np.array([-np.inf, LOWEST, 0.1, 0.2, 0.5, 0.50000006, 0.9, 1.0], np.float32)
    grid = grid if rng.random() < 0.5 else rng.random(50).astype(np.float32).clip(LOWEST)
    shows = rng.random((parts, classes)) < rng.choice([0.2, 0.5])
    return Parts(rng.choice(grid, (parts, classes)), shows)


def all_cuts(scores: np.ndarray) -> list[float]:
    """A threshold for every possible set of parts that reach it, by rising score."""
    values = sorted({float(value) for value in scores if value > -np.inf})
    return [*values, float(np.nextafter(np.float32(max(values, default=LOWEST)), np.float32(9)))]


def fitting(count: int, of: int, limit: float, proved: bool) -> bool:
    """Whether ``count`` failures are few enough, by the interval's end or by the rate."""
    if proved:
        return clopper_pearson(count, of)[1] <= limit
    return count <= limit * of + 1e-9


def by_recall(scores: np.ndarray, bad: np.ndarray, limit: float) -> float | None:
    """The highest cut that few enough bad parts stay below."""
    for proved in (True, False):
        good = [
            cut
            for cut in all_cuts(scores)
            if fitting(int((scores[bad] < cut).sum()), int(bad.sum()), limit, proved)
        ]
        if good:
            return max(good)
    return None


def by_overkill(
    scores: np.ndarray, good: np.ndarray, limit: float, share: int = 1, more: int = 0
) -> float:
    """The lowest cut that few enough good parts reach, of thresholds that ``share`` the limit."""
    of = int(good.sum())
    counts = range(of + 1)
    proved = [count for count in counts if fitting(min(count + share - 1, of), of, limit, True)]
    most = max(proved or [count for count in counts if fitting(count, of, limit, False)])
    cuts = all_cuts(scores)
    return min(cut for cut in cuts if (scores[good] >= cut).sum() <= most // share + more)


def same(scores: np.ndarray, threshold: float, wanted: float) -> bool:
    """Whether two thresholds judge the parts alike."""
    return bool(((scores >= np.float32(threshold)) == (scores >= np.float32(wanted))).all())


@pytest.mark.filterwarnings("error")
def test_a_thousand_choices_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for number in range(1400):
        classes = int(rng.integers(1, 4))
        parts = table(rng, int(rng.integers(1, 80)), classes)
        bad, good = parts.defective, ~parts.defective
        if not bad.any() or not good.any() or not parts.shows.any(axis=0).all():
            continue
        kind = ("recall", "overkill", "cost")[number % 3]
        limit = float(rng.choice([0.02, 0.1, 0.3]))
        costs = Costs(float(rng.choice([1, 20, 200])), 1.0, float(rng.choice([0.005, 0.3])))
        per_class = bool(rng.random() < 0.5) and kind != "cost"
        asked = 1 - limit if kind == "recall" else limit
        goal = Goal(kind, None if kind == "cost" else asked, per_class=per_class, costs=costs)
        columns = [(parts.scores.max(axis=1), bad)]
        if per_class:
            columns = [(parts.scores[:, c], parts.shows[:, c]) for c in range(classes)]
        wanted = []
        for scores, shown in columns:
            if kind == "recall":
                wanted.append(by_recall(scores, shown, limit))
            elif kind == "overkill":
                wanted.append(by_overkill(scores, good, limit, len(columns)))
            else:
                expected = {
                    cut: costs.defect_rate * costs.escape * (scores[bad] < cut).mean()
                    + (1 - costs.defect_rate) * (scores[good] >= cut).mean()
                    for cut in all_cuts(scores)
                }
                least = min(expected.values())
                wanted.append(min(cut for cut, cost in expected.items() if cost <= least + 1e-12))
        if None in wanted:
            with pytest.raises(DataError, match="cannot be met"):
                choose(parts, NAMES[:classes], goal)
            continue
        rule = choose(parts, NAMES[:classes], goal)
        for label in range(classes):
            scores = columns[label if per_class else 0][0]
            want = wanted[label if per_class else 0]
            assert same(scores, rule.of(label).score, want), (goal, rule, want)
        compared += 1
    assert compared > 1000


@pytest.mark.filterwarnings("error")
def test_the_lower_threshold_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(1)
    compared = asked = 0
    for number in range(700):
        parts = table(rng, int(rng.integers(5, 80)), 2)
        scores, bad, good = parts.scores.max(axis=1), parts.defective, ~parts.defective
        if not bad.any() or not good.any():
            continue
        limit = float(rng.choice([0.02, 0.1, 0.3]))
        unsure = Unsure(recall=1 - limit) if number % 2 else Unsure(share=limit)
        goal = Goal("overkill", float(rng.choice([0.02, 0.2])))
        upper = by_overkill(scores, good, goal.limit or 0.0)
        rejected = int((scores[good] >= upper).sum())
        if unsure.recall:
            lower = by_recall(scores, bad, limit)
            if lower is None:
                continue
        else:
            lower = by_overkill(scores, good, limit, more=rejected)
        rule = choose(parts, NAMES[:2], goal, unsure).of(0)
        assert same(scores, rule.score, upper) and same(scores, rule.lower, min(lower, upper))
        compared += 1
        asked += rule.unsure is not None
    assert compared > 500 and 100 < asked < compared


def test_what_several_thresholds_prove_together_holds_for_parts_to_come() -> None:
    """Six classes: of 100 good parts some reach each threshold, and the limit holds as it says."""
    rng, names = np.random.default_rng(5), [str(number) for number in range(6)]
    goal, proved, held = Goal("overkill", 0.14, per_class=True), 0, 0
    for _ in range(300):
        good = Parts(rng.random((100, 6)).astype(np.float32), np.zeros((100, 6), bool))
        rule = choose(good, names, goal)
        found = VerdictReport(
            rule.to_dict(names), count_verdicts(good, rule), dict.fromkeys(names), {}
        )
        on_these, on_others = (
            checks(goal, None, found, chosen=True)[0],
            checks(goal, None, found)[0],
        )
        assert on_these.met and on_others.proved  # as many of other parts would prove it
        proved += bool(on_these.proved)
        scores = [rule.of(label).score for label in range(6)]
        held += 1 - np.prod(np.minimum(scores, 1)) <= 0.14
    assert proved == 300 and held / 300 > 0.96  # 0.63 with one part more for each threshold


def test_a_proof_by_several_thresholds_takes_more_parts() -> None:
    one, six = (Check("recall", Rate(90, 90), 0.95, True, thresholds) for thresholds in (1, 6))
    assert one.proved and one.needed == 72
    assert not six.proved and six.needed == 230
    assert clopper_pearson(5, 230)[1] <= 0.05 < clopper_pearson(5, 229)[1]
    assert "NOT PROVED: it takes 230 parts without a failure" in str(six)
    assert Check("recall", Rate(230, 230), 0.95, True, 6).proved
    some = Check("recall", Rate(296, 300), 0.95, True, 6)
    assert "NOT PROVED: these parts chose 6 thresholds, ask others" in str(some)


def parts_of(*rows: tuple[float, str]) -> Parts:
    """Parts of one class: a score each, and whether it is bad."""
    scores = np.array([[score] for score, _ in rows], np.float32)
    return Parts(scores, np.array([[kind == "bad"] for _, kind in rows]))


def test_a_threshold_keeps_from_the_scores_beside_it() -> None:
    parts = parts_of((0.4, "bad"), (0.3, "good"), (0.2, "good"))
    recall = choose(parts, ("crack",), Goal("recall", 0.9)).score
    assert recall == pytest.approx(0.399, abs=1e-6)
    overkill = choose(parts, ("crack",), Goal("overkill", 0.5)).score
    assert overkill == pytest.approx(0.201, abs=1e-6)
    close = parts_of((0.4, "bad"), (0.3999, "good"))
    assert choose(close, ("crack",), Goal("recall", 0.9)).score == pytest.approx(0.39995, abs=1e-6)


def test_the_end_of_the_interval_decides_where_it_can() -> None:
    """0 of 368 prove 0.99; of 367 three may be missed, since nothing is proved anyhow."""
    rng = np.random.default_rng(2)
    for count, missed in ((368, 0), (367, 3), (1000, 3), (2000, 11)):
        parts = parts_of(*((float(score), "bad") for score in rng.uniform(0.1, 0.9, count)))
        rule = choose(parts, ("crack",), Goal("recall", 0.99))
        found = count_verdicts(parts, rule)
        assert found.defective["OK"] == missed
        assert (found.caught.low >= 0.99) == (count != 367)


def test_a_class_answers_for_its_own_parts() -> None:
    """The crack at 0.2 is caught by a box of a pore; for cracks that does not count."""
    scores = np.array([[0.2, 0.9], [0.6, -np.inf], [-np.inf, 0.7]], np.float32)
    parts = Parts(scores, np.array([[True, False], [True, False], [False, True]]))
    joint = choose(parts, NAMES[:2], Goal("recall", 0.9))
    assert joint.of(0) == joint.of(1) and 0.59 < joint.score < 0.6
    each = choose(parts, NAMES[:2], Goal("recall", 0.9, per_class=True))
    assert 0.19 < each.of(0).score < 0.2 and 0.69 < each.of(1).score < 0.7
    base = VerdictRule((ClassRule(0.5, 0.1), ClassRule(0.8, 0.3)))
    one = choose(parts, NAMES[:2], Goal("recall", by_class={"crack": 0.9}), base=base)
    assert one.of(0) == ClassRule(each.of(0).score, 0.1)  # what is not asked for is kept
    assert one.of(1) == base.of(1)
    base = VerdictRule((ClassRule(0.5, 0.3), ClassRule(0.8, 0.3)))
    one = choose(parts, NAMES[:2], Goal("recall", by_class={"crack": 0.9}), base=base)
    assert one.of(0) == each.of(0)  # no room for it below the new one
    assert choose(parts, NAMES[:2], Goal("recall", 0.9), base=base) == joint


def test_limits_of_classes_are_part_of_that_for_all() -> None:
    """A class may spend its own limit; those without one share what is left. So with UNSURE."""
    rng = np.random.default_rng(5)
    spent = unsure = 0
    for _ in range(300):
        scores = rng.random((int(rng.integers(20, 400)), 3)).astype(np.float32)
        parts = Parts(scores, np.zeros(scores.shape, bool))
        own = dict(zip(NAMES, rng.choice([0.02, 0.05, 0.1], 3), strict=True))
        for name in NAMES[int(rng.integers(1, 4)) :]:
            del own[name]
        whole = float(rng.choice([0.1, 0.3]))
        rule = choose(parts, NAMES, Goal("overkill", whole, own), Unsure(share=0.1))
        found = count_verdicts(parts, rule)
        assert found.good["NG"] <= whole * len(scores) and found.good["UNSURE"] <= 0.1 * len(scores)
        spent += found.good["NG"]
        unsure += found.good["UNSURE"]
    assert spent > 1000 and unsure > 500


def test_sizes_and_counts_of_the_rule_stay() -> None:
    base = VerdictRule((ClassRule(0.5, None, 4.0, 3.0, 2),))
    rule = choose(parts_of((0.4, "bad"), (0.1, "good")), ("crack",), Goal("recall", 1.0), base=base)
    assert rule.of(0) == ClassRule(rule.score, None, 4.0, 3.0, 2) and rule.score != 0.5


@pytest.mark.parametrize(
    ("rows", "goal", "unsure", "words"),
    [
        ([(0.4, "bad")], Goal("overkill", 0.02), None, "no part is good"),
        ([(0.4, "good")], Goal("recall", 0.9), None, "no part shows a defect"),
        ([(0.4, "good")], Goal("recall", 0.9, per_class=True), None, "defect of 'crack'"),
        ([], Goal("recall", 0.9), None, "no part shows a defect"),
        ([(0.4, "good")], Goal("cost", costs=Costs(1, 1, 0.5)), None, "both"),
        ([(0.4, "bad")], Goal("cost", costs=Costs(1, 1, 0.5)), None, "both"),
        ([(0.4, "bad")], Goal("f1"), None, "no best F1"),
        ([(0.4, "bad")], Goal("recall", 0.9), Unsure(share=0.1), "no part is good"),
        ([(-math.inf, "bad")], Goal("recall", 0.9), None, "1 of 1 defective parts have no box"),
        ([(math.inf, "good")], Goal("overkill", 0.1), None, "no numbers"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_cannot_support_a_choice(rows, goal, unsure, words) -> None:
    parts = parts_of(*rows) if rows else Parts(np.zeros((0, 1), np.float32), np.zeros((0, 1), bool))
    with pytest.raises(DataError, match=words):
        choose(parts, ("crack",), goal, unsure)


def test_f1_is_taken_from_the_curves() -> None:
    parts = table(np.random.default_rng(3), 20, 2)
    rule = choose(parts, NAMES[:2], Goal("f1"), best_f1=[0.3, 0.4, 0.35])
    assert [rule.of(label).score for label in (0, 1)] == [0.35, 0.35]
    rule = choose(parts, NAMES[:2], Goal("f1", per_class=True), best_f1=[0.3, 0.4, 0.35])
    assert [rule.of(label).score for label in (0, 1)] == [0.3, 0.4]
