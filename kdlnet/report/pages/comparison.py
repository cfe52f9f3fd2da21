"""``report.html`` of a comparison: is B better than A, on which parts, and how sure is that?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdlnet import __version__
from kdlnet.events import Listener, ignore
from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.comparison import Comparison
from kdlnet.metrics.flips import McNemar
from kdlnet.metrics.paired import Difference
from kdlnet.report.pages.flips import Compared, Context, flip_rows
from kdlnet.report.pages.pictures import Cut, Key, Pictures, draw, whole
from kdlnet.report.pages.render import MEGABYTES, render
from kdlnet.report.pages.section import Cell, Figure, Section, Table, drawn
from kdlnet.report.pages.shift import shift_section
from kdlnet.report.pages.svg import Axis, Line
from kdlnet.report.pages.words import counted, figure, visible
from kdlnet.utils.files import write_atomic
from kdlnet.utils.words import digits_of

_MOST_FLIPS = 300
_FIGURES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "recall": "recall",
    "recall50": "recall50",
}

_BUT = "in AP, but in the verdicts"


def write_comparison(folder: Path, subject: Compared, on_event: Listener = ignore) -> None:
    """``report.html`` into ``folder``."""
    write_atomic(folder / "report.html", comparison_page(subject, on_event).encode())


def comparison_page(subject: Compared, on_event: Listener = ignore) -> str:
    """The page, with pictures of the parts on which A and B disagree."""
    flips = sorted(subject.result.flips.images, key=lambda flip: not flip.defective)[:_MOST_FLIPS]
    place = {name: row for row, name in enumerate(subject.images)}
    rows = [place[flip.image] for flip in flips]
    first = subject.pairs[0][0].results
    asked: dict[Key, Cut] = {
        ("flip", number): whole(row, first[row].size) for number, row in enumerate(rows)
    }
    context = {**_first(subject.result, subject), "sections": list(_sections(subject))}
    context["data"] = {
        "flips": flip_rows(subject, flips, rows),
        "pictures": Pictures((), (), {}).to_dict(),
    }
    left = MEGABYTES * 1e6 - len(render("comparison.html", **context).encode())
    paths = [Path(result.name) for result in first]
    context["data"]["pictures"] = draw(asked, paths, left, subject.window, on_event).to_dict()
    return render("comparison.html", **context)


def _first(result: Comparison, subject: Compared) -> Context:
    answer, why, tone = _answer(result)
    seeds = f", {len(result.a)} seeds each" if len(result.a) > 1 else ""
    folds = f" in {len(result.folds)} folds, each judged by the training that never saw it"
    return {
        "version": __version__,
        "title": f"A and B on {visible(result.data)} {result.split}",
        "over": f"{visible(result.data)}, {result.split} set, "
        f"{counted(result.images, 'picture')}{folds if result.folds else ''}{seeds}",
        "question": "Which of the two is better?",
        "lead": "Both judged the same parts, each by its own setting.",
        "sides": [
            ("A", [visible(str(path)) for path in result.a]),
            ("B", [visible(str(path)) for path in result.b]),
        ],
        "foot": f"Made by kdlnet {__version__}. This file needs no network and sends nothing.",
        "answer": answer,
        "tone": tone,
        "why": why,
        "cards": list(_cards(subject)),
        "notes": [
            *_learned(result),
            *(shift.words for shift in result.shifts[:1] if result.differences),
        ],
    }


def _answer(result: Comparison) -> tuple[str, str, str]:
    """In few words, in many, and the colour."""
    ap = result.differences.get("ap")
    if ap is None:
        good = result.flips.tests["good"]
        why = "No defect is labelled, so what they find is not known. Good parts:"
        fewer = "B" if good.only_a > good.only_b else "A"
        answer = f"{fewer} rejects fewer good parts" if good.shown else "No difference is shown"
        tone = "free" if not good.shown else "met" if fewer == "B" else "broken"
        return answer, f"{why} {_test(good)}", tone
    facts = f"Precision (AP) is {ap.a:.3f} for A and {ap.b:.3f} for B: {difference_words(ap)}."
    why = f"{facts} {reservations(result)}".rstrip()
    if not ap.shown:
        return f"No difference {_BUT if result.warning else 'is shown'}", why, "free"
    if result.reservation:
        return f"{result.better} is better, but not as it is set", why, "free"
    return f"{result.better} is better", why, "met" if result.better == "B" else "broken"


def difference_words(ap: Difference) -> str:
    """``+0.030, in truth +0.010 to +0.050 (95 % sure)``."""
    return f"{ap.difference:+.3f}, in truth {ap.low:+.3f} to {ap.high:+.3f} (95 % sure)"


def reservations(result: Comparison) -> str:
    """Sentences on what stands against its AP, chance and verdicts; "" for nothing."""
    shown, lines = result.differences["ap"].shown, []
    if result.reason:
        lines.append(f"Nothing can be told: {result.reason}.")
    elif not shown:
        lines.append("That may be chance: no difference lies within.")
    if doubt := result.reservation if shown else result.warning:
        lines.append(f"But {doubt}: kdlnet calibrate chooses another setting.")
    return " ".join(lines)


def _learned(result: Comparison) -> Iterator[str]:
    learned = {row["weights"]: row["learned_images"] for row in result.figures}
    for side, files in (("A", result.a), ("B", result.b)):
        if count := max(learned.get(str(file)) or 0 for file in files):
            yield (
                f"{side} has learned from {counted(count, 'picture')} of these and does better on "
                "them than on new ones: compare on parts that neither saw."
            )


def _cards(subject: Compared) -> Iterator[Context]:
    tests = subject.result.flips.tests
    for kind, title, bad in (
        ("defective", "Defective parts that pass", True),
        ("good", "Good parts that are rejected", False),
    ):
        a, b = (_rate(subject, side, bad) for side in (0, 1))
        yield {
            "title": title,
            "a": a,
            "b": b,
            "digits": digits_of(0.0, a.value or 0.0, b.value or 0.0),
            "interval": len(subject.pairs) == 1,  # of several the same parts count several times
            "test": _test(tests[kind]) if a.of else "",
        }


def _rate(subject: Compared, side: int, bad: bool) -> Rate:
    """Of one side, over all pairs."""
    count = of = 0
    for pair in subject.pairs:
        for defective, verdict in zip(subject.defective, pair[side].verdicts, strict=True):
            if defective == bad:
                of += 1
                count += verdict == ("OK" if bad else "NG")
    return Rate(count, of)


def _test(found: McNemar) -> str:
    """Who alone stops what, and whether that is chance."""
    only = f"Stopped by A alone: {found.only_a}, by B alone: {found.only_b}."
    if found.p is None:
        return f"{only} Whether that is chance is not tested: {visible(found.reason or '')}."
    if found.only_a + found.only_b == 0:
        return "They agree on every one."
    chance = f"p = {found.p:.3g} (McNemar’s exact test)"
    return f"{only} {'More than chance' if found.shown else 'May be chance'}: {chance}."


def differences_section(found: dict[str, Difference]) -> Section:
    """All figures of A and B, and B minus A with intervals."""
    return Section(
        id="differences",
        name="Differences",
        title="How much better, and how sure is that?",
        lead="B minus A. Where the line does not cross zero, a difference is shown.",
        figures=(_differences(found),),
        tables=(_table(found),),
    )


def _sections(subject: Compared) -> Iterator[Section]:
    result = subject.result
    if result.differences:
        yield differences_section(result.differences)
    yield Section(
        id="flips",
        name="Parts that change",
        title="Parts on which they disagree",
        lead="The boxes of both, from their own settings on.",
        keys=(("side-a", "A"), ("side-b", "B"), ("missed", "labelled")),
        tables=(_counts(result),),
        gallery="flip-grid" if result.flips.images else "",
    )
    if result.differences:
        yield Section(
            id="kinds",
            name="Kinds of defect",
            title="Kinds of defect",
            lead="The same for each kind; intervals are wide where a kind has few boxes.",
            tables=(_classes(result),),
        )
    if result.folds:
        yield Section(
            id="folds",
            name="Folds",
            title="Does it hold in every fold?",
            lead="Each fold was judged by trainings on the others, which never saw it.",
            tables=(_folds(result),),
        )
    if result.differences:
        yield shift_section(result.shifts)


def _differences(found: dict[str, Difference]) -> Figure:
    rows = list(reversed(list(found.items())))
    reach = 1.15 * max(0.005, *(abs(v) for _, d in rows for v in (d.low, d.high, d.difference)))
    step = round(reach / 2, 3) or 0.002
    marks = tuple((value, f"{value:+.3g}" if value else "0") for value in (-step, 0.0, step))
    x = Axis("B minus A", -reach, reach, marks)
    ticks = tuple(
        (float(number), _FIGURES.get(name, name)) for number, (name, _) in enumerate(rows)
    )
    y = Axis("", -0.6, len(rows) - 0.4, ticks)
    lines = []
    for number, (_, d) in enumerate(rows):
        kind = "s2" if d.shown and d.difference > 0 else "escape" if d.shown else "ideal-dot"
        lines.append(Line("", [d.low, d.high], [number, number], kind))
        lines.append(Line("", [d.difference], [number], kind, dots=[6], line=False))
    return drawn("Differences with 95 % intervals", x, y, lines, [(0.0, "")])


def _table(found: dict[str, Difference]) -> Table:
    rows = tuple((_FIGURES.get(name, name), *_cells(value)) for name, value in found.items())
    return Table(("", "A", "B", "B minus A"), rows)


def _cells(d: Difference) -> tuple[str | Cell, ...]:
    ends = Cell(f"{d.difference:+.3f}", f"{d.low:+.3f} to {d.high:+.3f}")
    return figure(d.a), figure(d.b), ends


def _counts(result: Comparison) -> Table:
    heads = list(dict.fromkeys(name for counts in result.flips.counts.values() for name in counts))
    over = f", {len(result.a)} pairs added up" if len(result.a) > 1 else ""
    rows = tuple(
        (f"{kind} parts{over}", *(f"{counts.get(name, 0)}" for name in heads))
        for kind, counts in result.flips.counts.items()
    )
    return Table(("", *heads), rows, "NG: rejected, OK: passed")


def _classes(result: Comparison) -> Table:
    rows = []
    for name, found in result.per_class.items():
        ap = found.figures.get("ap")
        cells = ("–", "–", visible(found.reason or "–")) if ap is None else _cells(ap)
        rows.append((visible(name), f"{found.boxes}", *cells))
    return Table(("Kind", "Labelled", "AP of A", "AP of B", "B minus A"), tuple(rows))


def _folds(result: Comparison) -> Table:
    rows = tuple(
        (visible(fold.data.parent.name), f"{fold.boxes}", *map(figure, (*fold.ap, *fold.ap50)))
        for fold in result.folds
    )
    return Table(("Fold", "Labelled", "AP of A", "AP of B", "AP50 of A", "AP50 of B"), rows)
