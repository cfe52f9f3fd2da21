"""The first screen of a validation: may the model go on the line, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdlnet import __version__
from kdlnet.metrics.binomial import Rate, parts_needed, provable
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.report.pages.answer import bar, facts, state, tone
from kdlnet.report.pages.calibrated import words_of
from kdlnet.report.pages.subject import Subject
from kdlnet.report.pages.words import counted, told_apart, visible


def first_screen(subject: Subject) -> dict[str, Any]:
    """What stands on the first screen."""
    result, limits = subject.result, subject.limits
    rates = rates_of(result)
    allowed = {"escape": limits.escape, "overkill": limits.overkill, "unsure": None}
    model = visible(Path(result.weights).name)
    bad, good = rates["escape"].of, rates["overkill"].of
    judged = f"{counted(bad + good, 'part')}, one picture each"
    if subject.grouped:
        groups = counted(result.analysis.intervals.groups, "group")
        judged = f"{counted(bad + good, 'picture')} in {groups}"
    return {
        "version": __version__,
        "title": f"{model} on {visible(result.data)} {result.split}",
        "over": f"{model} on {visible(result.data)}, {result.split} set",
        "question": "May this model go on the line?",
        "lead": f"It judged {judged}: {bad or 'none'} defective, {good or 'none'} good.",
        "foot": f"Made by kdlnet {__version__}. This file needs no network and sends nothing.",
        "facts": facts(rates, limits, subject.doubt),
        "tone": tone(rates, limits, subject.doubt),
        "states": {name: state(rate, allowed[name], subject.doubt) for name, rate in rates.items()},
        "bars": {name: bar(rate, allowed[name]) for name, rate in rates.items()},
        "asks": subject.rule.asks,
        "sized": subject.sized,
        "cautions": _cautions(subject),
        "proofs": dict.fromkeys(rates, "") if subject.grouped else _proofs(rates),
        "rule_text": _rule_text(subject),
    }


def rates_of(result: EvalResult) -> dict[str, Rate]:
    overall = result.verdicts.overall
    return {"escape": overall.escape, "overkill": overall.overkill, "unsure": overall.unsure}


def _cautions(subject: Subject) -> list[str]:
    lines = []
    if learned := subject.result.learned:
        images = subject.result.precision.images
        some = "" if learned == images else f"{learned} of "
        lines.append(
            f"The model has learned from {some}these parts and does better on them than on new "
            "ones: measure on parts that it never saw."
        )
    if subject.result.split == "val":
        lines.append(
            "These parts helped to choose the model, so that new parts may do worse. The test set "
            "gives the fairer answer."
        )
    if subject.chosen:
        lines.append(
            "The setting was chosen on these very parts and does better on them than on new ones: "
            "measure on a set that had no say."
        )
    if subject.grouped:
        lines.append(
            "The pictures of a group are of one part, lot or scene. What passes and what is "
            "rejected is counted by picture, so that the ranges given for it are too narrow."
        )
    if subject.result.left_out:
        left = counted(len(subject.result.left_out), "picture")
        lines.append(f"{left} could not be used and are not counted; they are named at the end.")
    return lines


def _proofs(rates: Mapping[str, Rate]) -> dict[str, str]:
    """What so many parts can prove at best, by rate; "" where there is none."""
    lines = dict.fromkeys(rates, "")
    for name, kind, never in (
        ("escape", "defective", "none of them may pass"),
        ("overkill", "good", "none of them may be rejected"),
    ):
        of = rates[name].of
        if of:
            lines[name] = (
                f"{counted(of, f'{kind} part')} can prove {100 * provable(of):.2g} % at best. To "
                f"prove 1 %, {parts_needed(0.01)} are needed, and {never}."
            )
    return lines


def _rule_text(subject: Subject) -> str:
    rules = subject.rule.classes
    beside = [*subject.thresholds, subject.result.analysis.breakdown.score]
    scores, asked = (
        [told_apart(end, beside, 4) for end in (min(values), max(values))]
        for values in ([rule.score for rule in rules], [rule.lower for rule in rules])
    )
    if scores[0] == scores[1]:
        text = f"The model’s own setting: a part is rejected from score {scores[0]} on"
    else:
        text = (
            "The model’s own setting: a part is rejected from a score of its own for each kind of "
            f"defect, {scores[0]} to {scores[1]}"
        )
    text += f"; a person looks from {asked[0]} on." if subject.rule.asks else "."
    text = f"{text} {words_of(subject.calibrations)}".rstrip()
    return text + (" Small or single boxes do not count." if subject.sized else "")
