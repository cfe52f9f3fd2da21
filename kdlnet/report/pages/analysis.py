"""Sections beyond the verdict: sizes, scores, false calls, kinds of error, labels to check."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from kdlnet.metrics.analysis import Analysis
from kdlnet.metrics.breakdown import Breakdown
from kdlnet.metrics.calibration import FROM_SCORE, Calibration
from kdlnet.metrics.froc import RATES, Froc, FrocLine
from kdlnet.metrics.image_level import ImageLevel
from kdlnet.metrics.intervals import Interval
from kdlnet.report.pages.section import Cell, Figure, Section, Table, drawn
from kdlnet.report.pages.size import size_section
from kdlnet.report.pages.svg import Line, log_axis, percent_axis, style, unit_axis
from kdlnet.report.pages.words import counted, figure, told_apart, visible
from kdlnet.utils.words import percent

_MOST_LINES = 6
_MOST_CLASSES = 24
_ALARMS = (1 / 16, 16.0)  # for each picture, as they are drawn

KINDS = {
    "class": "Wrong kind: on a defect, but called by the name of another",
    "localization": "Wrong place: near a defect of its kind, overlapping it too little",
    "both": "Wrong kind and wrong place",
    "duplicate": "Second box on a defect that was found already",
    "background": "Nothing there: no labelled defect near it",
    "missed": "Not found: nothing at or near it at this score",
}


def sections(
    analysis: Analysis, confusion: Sequence[Sequence[int]], thresholds: Sequence[float] = ()
) -> Iterator[Section]:
    """In the order in which a person asks; what is not defined says why.

    ``thresholds`` are those of the rule, which the page has beside the score of the analysis.
    """
    names = list(analysis.pod_per_class)
    score = told_apart(analysis.breakdown.score, thresholds)
    yield size_section(analysis.pod, analysis.pod_per_class, score)
    yield trust_section(analysis.calibration)
    yield froc_section(analysis.froc, analysis.image_level)
    yield error_section(analysis.breakdown, confusion, names, score)


def trust_section(found: Calibration) -> Section:
    """The reliability diagram."""
    overall = found.overall
    if overall.ece is None or overall.excess is None:
        facts: tuple[tuple[str, str], ...] = (("Not defined", visible(overall.reason or "")),)
    else:
        word = "too much" if overall.excess > 0 else "too little"
        facts = (
            ("Scores promise", f"{abs(overall.excess):.3f} {word} on average"),
            ("Mean distance (ECE)", f"{overall.ece:.3f}"),
            ("Rests on", f"{counted(overall.boxes, 'box', 'boxes')} from score {FROM_SCORE:g} on"),
        )
    return Section(
        id="trust",
        name="Scores",
        title="Does a score mean what it says?",
        lead="Of all boxes with a score of about 0.8, eight of ten should be right. Dots below the "
        "dotted line: the model is too sure of itself.",
        figures=(_trust_figure(found),) if any(b.boxes for b in overall.bins) else (),
        facts=facts,
        notes=("The setting compares scores with each other; it needs no honest ones.",),
    )


def _trust_figure(found: Calibration) -> Figure:
    bins = [b for b in found.overall.bins if b.boxes]
    scores, shares = [b.score or 0.0 for b in bins], [b.true or 0.0 for b in bins]
    most = max(math.log1p(b.boxes) for b in bins)
    radii = [2.5 + 4 * math.log1p(b.boxes) / most for b in bins]
    lines = [
        Line("as it should be", [0, 1], [0, 1], "ideal"),
        Line("boxes that are right; larger dots are more boxes", scores, shares, "s0", dots=radii),
    ]
    title = "Share of boxes that are right over their score"
    return drawn(title, unit_axis("score"), percent_axis("right"), lines)


def froc_section(found: Froc, level: ImageLevel) -> Section:
    """FROC, and what one threshold for whole parts can do."""
    overall = found.overall
    return Section(
        id="alarms",
        name="False alarms",
        title="What does finding more cost in false alarms?",
        lead="The share of defects found over false alarms for each picture, good parts included "
        "(FROC). Further left and higher is better.",
        figures=(_froc_figure(found),) if overall.recalls is not None else (),
        facts=(
            ("Mean share found, ⅛ to 8 alarms", _interval(overall.mean)),
            *_at_rates(overall),
            ("Defective before good, by best score (AUROC)", _interval(level.auroc)),
        ),
        tables=_level_tables(level),
    )


def _at_rates(line: FrocLine) -> tuple[tuple[str, str], ...]:
    if line.recalls is None:
        return ()
    names = ("⅛", "¼", "½", "1", "2", "4", "8")
    return tuple(
        (f"Found at {name} a picture", percent(recall))
        for name, recall, rate in zip(names, line.recalls, RATES, strict=True)
        if rate in (0.125, 1.0, 8.0)
    )


def _froc_figure(found: Froc) -> Figure:
    known = [(name, line) for name, line in found.per_class.items() if line.recalls is not None]
    most = sorted(known, key=lambda pair: -pair[1].boxes)[:_MOST_LINES]
    lines = [
        _froc_line(visible(name), line, style(index))
        for index, (name, line) in enumerate(pair for pair in known if pair in most)
    ]
    if len(known) > 1 or not lines:
        lines.append(_froc_line("all", found.overall, "all"))
    x = log_axis("false alarms for each picture", *_ALARMS)
    return drawn("Share of defects found over false alarms", x, percent_axis("found"), lines)


def _froc_line(name: str, line: FrocLine, kind: str) -> Line:
    """In steps: between two corners no threshold finds more than at the first."""
    first, last = _ALARMS
    x, y = [first], [max((recall for false, recall in line.curve if false <= first), default=0.0)]
    for false, recall in line.curve:
        if first < false <= last:
            x += [false, false]
            y += [y[-1], recall]
    return Line(name, [*x, last], [*y, y[-1]], kind)


def _level_tables(level: ImageLevel) -> tuple[Table, ...]:
    if not (level.good and level.defective):
        return ()
    rows = tuple(
        (f"{n} %", _cell(level.pg[n]), _cell(level.pb[n])) for n in level.pg if n in level.pb
    )
    caption = "If the best score of a part decided, with one threshold chosen on these very parts"
    head = ("Mistakes allowed", "Good parts that pass (PG)", "Defective parts caught (PB)")
    return (Table(head, rows, caption),)


def _cell(value: Interval) -> Cell:
    return Cell(percent(value.value), _ends(value))


def _ends(value: Interval) -> str:
    if value.low is None or value.high is None:
        return ""
    return f"{percent(value.low)} to {percent(value.high)}"


def _interval(value: Interval) -> str:
    if value.value is None:
        return f"not defined: {visible(value.reason or '')}"
    ends = _ends(value)
    return percent(value.value) + (f" ({ends})" if ends else "")


def error_section(
    found: Breakdown, confusion: Sequence[Sequence[int]], names: Sequence[str], score: str
) -> Section:
    """Kinds of error with their price, and what is taken for what."""
    most = max([kind.count for kind in found.kinds.values()] + [1])
    rows = tuple(
        (KINDS[name], Cell(f"{kind.count}", share=kind.count / most), _gain(kind.ap50_gain))
        for name, kind in found.kinds.items()
    )
    tables = [Table(("What went wrong", "Boxes", "AP50 without it"), rows)]
    if 1 < len(names) <= _MOST_CLASSES:
        tables.append(_confusion_table(confusion, names))
    return Section(
        id="errors",
        name="Errors",
        title="What goes wrong, and what would help most?",
        lead=f"Every wrong box at score {score} has one kind. The last column says how "
        "far AP50 would rise if all errors of that kind were mended at every score: a defect that "
        "is found at a lower score is counted as not found, and costs AP50 nothing.",
        tables=tuple(tables),
    )


def _gain(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _confusion_table(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Table:
    columns = [*(visible(name) for name in names), "nothing"]
    rows: list[tuple[str | Cell, ...]] = []
    for number, (name, counts) in enumerate(zip(columns, confusion, strict=True)):
        total = sum(counts) or 1
        cells = [
            Cell("" if number == place == len(names) else f"{count}", share=count / total)
            for place, count in enumerate(counts)
        ]
        rows.append((name, *cells))
    caption = "What is there (rows) and what the model calls it (columns)"
    return Table(("", *columns), tuple(rows), caption, heat=True)


def precision_range(value: Interval | None) -> str:
    """``0.312 to 0.401``; "" where it is not known."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{figure(value.low)} to {figure(value.high)}"
