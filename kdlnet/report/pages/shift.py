"""May B keep the setting of A: how far the scores are shifted, as a page shows it."""

from __future__ import annotations

from collections.abc import Sequence

from kdlnet.metrics.shift import ScoreShift, scores_of
from kdlnet.report.pages.section import Cell, Section, Table
from kdlnet.report.pages.words import visible


def shift_section(shifts: Sequence[ScoreShift]) -> Section:
    """What each threshold finds on both sides, a pair a seed; by class where A has several."""
    rows, by_class = [], []
    for number, s in enumerate(shifts, start=1):
        pair = f", pair {number}" if len(shifts) > 1 else ""
        for name, scores, hits, false in (
            ("A at its own score", s.thresholds_a, s.found_a, s.false_a),
            ("B at the score of A", s.thresholds_a, s.carried, s.carried_false),
            ("B where it finds as many", s.thresholds_b, s.found_b, s.false_b),
        ):
            cells = (
                (scores_of(scores.values()), f"{hits}", f"{false}")
                if hits is not None
                else ("–",) * 3
            )
            rows.append((Cell(f"{name}{pair}", s.never if hits is None else ""), *cells))
        if len(set(s.thresholds_a.values())) > 1:
            by_class += [
                (
                    f"{visible(kind)}{pair}",
                    *(scores_of([of[kind]]) for of in (s.thresholds_a, s.thresholds_b)),
                )
                for kind in s.thresholds_a
            ]
    tables = [Table(("", "Score", "Defects found", "False alarms"), tuple(rows))]
    if by_class:
        tables.append(Table(("Kind", "Score of A", "As many with B from"), tuple(by_class)))
    return Section(
        id="shift",
        name="Scores",
        title="May B keep the setting of A?",
        lead="Two models of equal precision may score very differently; then the old setting lets "
        "more pass or rejects more.",
        notes=tuple(shift.words for shift in shifts[:5]),
        tables=tuple(tables),
    )
