"""``kdlnet calibrate``: thresholds that meet a requirement, in a copy of the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kdlnet.utils.words import counted

from ..console import Console
from ..datasets import sets_of
from ..errors import UsageProblem
from ..options import (
    Batch,
    DataNames,
    DataRoot,
    Json,
    LotBy,
    Overwrite,
    Quiet,
    RunnableArgument,
    RunnableDevice,
    Split,
    Weights,
    given,
    joined,
    one_weights,
    option,
)
from .val import show_verdicts

if TYPE_CHECKING:
    from kdlnet.verbs.calibrate import Calibration, Goal, Outcome, Unsure

_NUMBER = re.compile(r"[-+.\d][-+.\de]*", re.IGNORECASE)
_SIZES = ("min_area", "min_length", "min_count")

Limits = list[str] | None
MinRecall = Annotated[
    Limits,
    option("--min-recall", metavar="R", help="Of defective parts, NG: 0.99, crack=0.995."),
]
MaxOverkill = Annotated[
    Limits,
    option("--max-overkill", metavar="S", help="Of good parts, NG: 0.02, pore=0.01."),
]
Cost = Annotated[
    Limits,
    option("--cost", metavar="COSTS", help="Of a wrong verdict: escape=200,overkill=1."),
]
DefectRate = Annotated[
    float | None,
    option("--defect-rate", metavar="S", help="Defective parts in production, for --cost."),
]
BestF1 = Annotated[bool, option("--f1", help="The best F1 of boxes; needs no good parts.")]
PerClass = Annotated[
    bool, option("--per-class", help="A threshold for each class, from its own boxes.")
]
LowerThreshold = Annotated[
    str | None,
    option(
        "--unsure",
        metavar="LIMIT",
        help="A lower threshold, by recall=0.999 or by share=0.05 of good parts to look at.",
    ),
]
MinArea = Annotated[
    Limits, option("--min-area", metavar="PX", help="Smaller boxes do not count: 25, pore=9.")
]
MinLength = Annotated[
    Limits, option("--min-length", metavar="PX", help="Shorter ones do not: 10, scratch=40.")
]
MinCount = Annotated[
    Limits, option("--min-count", metavar="N", help="It takes so many boxes: pore=3.")
]
Report = Annotated[
    str | None,
    option("--report", metavar="SPLIT", help="Rates on other images; none [test, if it is there]."),
]
OutFile = Annotated[
    Path | None,
    option("--out", metavar="FILE", help="The copy [NAME-calibrated beside WEIGHTS]."),
]


def calibrate(
    weights_file: RunnableArgument = None,
    weights: Weights = None,
    data: DataNames = None,
    data_root: DataRoot = None,
    min_recall: MinRecall = None,
    max_overkill: MaxOverkill = None,
    cost: Cost = None,
    defect_rate: DefectRate = None,
    f1: BestF1 = False,
    per_class: PerClass = False,
    unsure: LowerThreshold = None,
    min_area: MinArea = None,
    min_length: MinLength = None,
    min_count: MinCount = None,
    split: Split = None,
    report: Report = None,
    lot_by: LotBy = None,
    batch: Batch = None,
    device: RunnableDevice = None,
    out: OutFile = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose the thresholds that decide OK or NG, and say what they are worth.

    Give one of --min-recall, --max-overkill, --cost, --f1. Chosen on val, reported on test, with
    exact 95 % intervals: a requirement is proved only when the interval's end meets it. The weights
    stay as they are; a copy carries the rule, which every verb and its exports obey.

    \b
    kdlnet calibrate best.pt --data parts/data.yaml --min-recall 0.99
    kdlnet calibrate best.pt --data parts/data.yaml --max-overkill 0.02 --unsure recall=0.995
    """
    file = one_weights(weights_file, weights)
    sets = sets_of(data)
    sizes = {
        name: numbers_by_class(f"--{name.replace('_', '-')}", values)
        for name, values in zip(_SIZES, (min_area, min_length, min_count), strict=True)
        if values
    }
    limits = _one_goal(min_recall, max_overkill, cost, f1)
    if (cost is None) != (defect_rate is None):
        raise UsageProblem("--cost and --defect-rate go together: give both or neither")
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.calibrate import calibrate as engine

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            result = engine(
                file,
                _goal(limits, per_class, cost, defect_rate),
                data=sets,
                unsure=_unsure(unsure),
                sizes=sizes,
                overwrite=overwrite,
                on_event=printer,
                **given(data_root=data_root, split=split, report=report, lot_by=lot_by),
                **given(batch=batch, device=device, out=out),
            )
        _show(console, result)


def _one_goal(
    min_recall: Limits, max_overkill: Limits, cost: Limits, f1: bool
) -> tuple[str, dict[str, float]]:
    """The kind of the only goal that was given and its limits by class, "" for all."""
    goals = {"recall": min_recall, "overkill": max_overkill, "cost": cost, "f1": f1}
    kinds = [kind for kind, value in goals.items() if value]
    if len(kinds) != 1:
        raise UsageProblem(
            f"{len(kinds)} goals: give one of --min-recall, --max-overkill, --cost and --f1"
        )
    flags = {"recall": ("--min-recall", min_recall), "overkill": ("--max-overkill", max_overkill)}
    return kinds[0], numbers_by_class(*flags[kinds[0]]) if kinds[0] in flags else {}


def _goal(
    limits: tuple[str, dict[str, float]],
    per_class: bool,
    cost: Limits,
    defect_rate: float | None,
) -> Goal:
    from kdlnet.verbs.calibrate import Costs, Goal

    kind, by_class = limits
    costs = None
    if cost is not None:
        amounts = numbers_by_class("--cost", cost)
        if amounts.keys() != {"escape", "overkill"}:
            raise UsageProblem(f"--cost {joined(cost)!r}: write escape=200,overkill=1")
        costs = Costs(amounts["escape"], amounts["overkill"], defect_rate or 0.0)
    whole = by_class.pop("", None)
    return Goal(kind, whole, by_class, per_class, costs)  # type: ignore[arg-type]


def _unsure(text: str | None) -> Unsure | None:
    from kdlnet.verbs.calibrate import Unsure

    if text is None:
        return None
    amounts: dict[str, Any] = numbers_by_class("--unsure", [text])
    if len(amounts) != 1 or not amounts.keys() <= {"recall", "share"}:
        raise UsageProblem(f"--unsure {text!r}: write recall=0.999 or share=0.05")
    return Unsure(**amounts)


def numbers_by_class(flag: str, values: Limits) -> dict[str, float]:
    """``["0.99", "crack=0.995,pit=1"]`` as numbers by name, "" for one without.

    Raises UsageProblem.
    """
    found: dict[str, float] = {}
    for text in (part for value in values or () for part in _parts(value)):
        name, _, number = text.rpartition("=")
        name = name.strip()
        try:
            value = float(number)
        except ValueError:
            raise UsageProblem(f"{flag} {text!r}: write a number, or NAME=NUMBER") from None
        if name in found:
            raise UsageProblem(f"{flag} is given twice for {name or 'all classes'}: keep one")
        found[name] = value
    return found


def _parts(text: str) -> Iterator[str]:
    """``"25,pore=9"`` part by part. A comma in the name of a class, ``a,b=9``, does not part."""
    begun: list[str] = []
    for part in text.split(","):
        begun.append(part)
        if "=" in part or _NUMBER.fullmatch(part.strip()):
            yield ",".join(begun)
            begun = []
    if begun:
        yield ",".join(begun)


def _show(console: Console, result: Calibration) -> None:
    rules = result.rule.classes
    names = result.names if len(rules) > 1 else ("all classes",)
    for name, rule in zip(names, rules, strict=True):
        cells = ", ".join(f"{key} {value:g}" for key, value in rule.to_dict().items())
        console.say(f"{name}: NG from {cells}")
    if result.goal.kind == "cost" and result.rule.asks:
        console.say("the score of NG is the cheapest where no part is UNSURE")
    for outcome, how in ((result.chosen, "chosen on"), (result.reported, "reported on")):
        if outcome is not None:
            console.say(f"{how} {outcome.split}, {counted(outcome.images, 'image')}", "bold")
            if outcome is result.chosen and result.fitted:
                console.say("they chose several thresholds: their rates and intervals flatter")
            _show_outcome(console, outcome)
    if result.reported is None:
        console.say("no other images were looked at: those that chose the thresholds flatter them")
    console.say(f"calibrated {result.path}", "bold")
    console.document(result.to_dict())


def _show_outcome(console: Console, outcome: Outcome) -> None:
    show_verdicts(console, outcome.verdicts)
    boxes = outcome.boxes
    f1 = "" if boxes.f1 is None else f", F1 {boxes.f1:.3f}"
    told = f"{boxes.found} of {boxes.found + boxes.missed} found, {boxes.extra} false{f1}"
    console.say(f"boxes that reach the threshold, at IoU 0.5: {told}")
    if outcome.expected_cost is not None:
        found = outcome.verdicts.overall
        good, bad = found.good["UNSURE"], found.defective["UNSURE"]
        looks = (
            f"; a look at {counted(good + bad, 'UNSURE part')} ({good} good, {bad} defective) "
            "is not in it"
        )
        cost = f"expected cost of a part in production: {outcome.expected_cost:.4g}"
        console.say(cost + (looks if good + bad else ""))
    for check in outcome.checks:
        console.say(str(check))
