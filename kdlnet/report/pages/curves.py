"""The charts of a validation: what another threshold would do, precision over recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.curves import RECALL_STEPS, SCORE_STEPS, Curve, Curves
from kdlnet.metrics.rates import Parts, count_verdicts
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.section import Figure, drawn
from kdlnet.report.pages.svg import Line, percent_axis, style, unit_axis
from kdlnet.report.pages.words import visible

_MOST_LINES = 7
_STEPS = 101
_THIN = 5


def trade(parts: Parts) -> Figure:
    """Shares of passed defective and of rejected good parts over one score for all classes."""
    scores = np.linspace(0, 1, _STEPS).tolist()
    found = [count_verdicts(parts, VerdictRule.at(score)) for score in scores]
    pairs = {
        "escape": ("defective parts that pass", [rates.escape for rates in found]),
        "overkill": ("good parts that are rejected", [rates.overkill for rates in found]),
    }
    lines = [
        _of_rates(name, scores, rates, kind) for kind, (name, rates) in pairs.items() if rates[0].of
    ]
    title = "Shares of parts that pass or are rejected, by the score from which a part is rejected"
    return drawn(title, unit_axis("reject from score"), percent_axis("share of parts"), lines)


def _of_rates(name: str, x: Sequence[float], rates: Sequence[Rate], kind: str) -> Line:
    ends = [(rate.low, rate.high) for rate in rates]
    low, high = zip(*ends, strict=True)
    return Line(name, x, [rate.value or 0.0 for rate in rates], kind, low, high)


def precision_recall(curves: Curves) -> list[Figure]:
    """Precision over recall, and both over the score; none where there is nothing to find."""
    if curves.overall.ap is None:
        return []
    recall = unit_axis("recall: share of defects found")
    lines = [_precision(curve, style(index)) for index, curve in enumerate(_most(curves))]
    if len(curves.per_class) > 1:
        lines.append(_precision(curves.overall, "all"))
    first = drawn(
        f"Precision over recall at IoU {curves.iou_threshold:g}",
        recall,
        unit_axis("precision: share of boxes that are right"),
        lines,
    )
    return [first, _over_score(curves.overall)]


def _over_score(curve: Curve) -> Figure:
    """Precision, recall and F1 of all boxes under one threshold."""
    scores = SCORE_STEPS[::_THIN].tolist()
    named = {
        "right among the boxes": curve.precision_at,
        "found among the defects": curve.recall_at,
    }
    lines = [
        Line(name, scores, values[::_THIN].tolist(), style(index))
        for index, (name, values) in enumerate({**named, "F1": curve.f1_at}.items())
    ]
    marks = [] if curve.best is None else [(curve.best.score, "best balance")]
    title = "Precision, recall and F1 of all boxes over the score"
    return drawn(title, unit_axis("boxes from score"), percent_axis("share of boxes"), lines, marks)


def _most(curves: Curves) -> list[Curve]:
    """The classes with most true boxes, in their order."""
    known = [curve for curve in curves.per_class if curve.ap is not None]
    most = sorted(known, key=lambda curve: -curve.truths)[:_MOST_LINES]
    return [curve for curve in known if curve in most]


def _precision(curve: Curve, kind: str) -> Line:
    # Set apart: to the right of Arabic or Hebrew letters the number would be drawn to their left.
    name = Markup("<bdi>{}</bdi> {}").format(visible(curve.name), f"{curve.ap:.3f}")
    return Line(name, RECALL_STEPS.tolist(), curve.precision.tolist(), kind)
