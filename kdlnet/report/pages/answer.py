"""May the model go on the line? The first screen in words, as ``judge.js`` says it after a change.

Both sides have one test: the page must show at any threshold what Python says at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kdlnet.metrics.binomial import Rate
from kdlnet.report.pages.words import counted
from kdlnet.utils.words import digits_of, percent

State = Literal["free", "unknown", "met", "open", "broken"]

_THINGS = {"escape": "defective parts", "overkill": "good parts", "unsure": "parts"}
_HAPPENS = {
    "escape": "of the defective parts pass",
    "overkill": "of the good parts are rejected",
    "unsure": "of all parts are left to a person",
}
_WITHOUT = {
    "escape": "This set has no defective part, so nobody can know how many would pass.",
    "overkill": "This set has no good part, so nobody can know how many would be rejected.",
    "unsure": "This set has no part.",
}


_ASK = (
    "Enter how many defective parts may pass and how many good parts may be rejected, and this "
    "page answers yes or no."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest shares of defective parts that may pass and of good parts that may be rejected."""

    escape: float | None = None
    overkill: float | None = None


Doubt = Literal["chose", "grouped"] | None
_BUT = {
    "chose": "the scores were chosen on these parts: ask others",
    "grouped": "several pictures show one part, and prove less than they count",
}
_RANGE = {
    "chose": "but these parts chose the scores: expect worse on the line",
    "grouped": "too narrow, since several pictures show one part",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """Places on a scale from 0 to 100: the interval, the share itself and the limit."""

    low: float
    high: float
    value: float
    limit: float | None
    end: float


def state(rate: Rate, limit: float | None, doubt: Doubt = None) -> State:
    """A limit is met, or broken, when the whole interval says so; ``open`` is in between.

    With a ``doubt`` the interval proves that none is met: the parts ``chose`` several thresholds,
    which suit them better than other parts, or pictures share a part and are ``grouped``.
    """
    if limit is None:
        return "free"
    if not rate.of:
        return "unknown"
    if rate.high <= limit:
        return "open" if doubt else "met"
    return "broken" if rate.low > limit else "open"


def facts(rates: Mapping[str, Rate], limits: Limits, doubt: Doubt = None) -> dict[str, str]:
    """Texts by the id of their place on the page. ``rates``: escape, overkill, unsure."""
    texts = {"answer": _answer(rates, limits, doubt), "why": _why(rates, limits, doubt)}
    allowed = {"escape": limits.escape, "overkill": limits.overkill}
    for name, rate in rates.items():
        low, value, high = ends(rate, allowed.get(name))
        texts[f"{name}-value"] = value if rate.of else "not known"
        texts[f"{name}-count"] = f"{rate.count} of {rate.of} {_THINGS[name]}"
        texts[f"{name}-range"] = _range(low, high, doubt) if rate.of else _WITHOUT[name]
    return texts


def tone(rates: Mapping[str, Rate], limits: Limits, doubt: Doubt = None) -> str:
    """What colours the answer: ``free``, ``met``, ``open`` or ``broken``."""
    states = _states(rates, limits, doubt)
    if "broken" in states:
        return "broken"
    if "open" in states or "unknown" in states:
        return "open"
    if "met" not in states:
        return "free"
    return "open" if _half(limits) else "met"


def bar(rate: Rate, limit: float | None) -> Bar | None:
    """The interval drawn beside its limit; None where nothing is known. ``end`` is a share."""
    if not rate.of or rate.value is None:
        return None
    end = min(1.0, max(0.02, 1.15 * max(rate.high, limit or 0.0)))
    shown = None if limit is None else min(100.0, 100 * limit / end)
    return Bar(100 * rate.low / end, 100 * rate.high / end, 100 * rate.value / end, shown, end)


def _half(limits: Limits) -> bool:
    """One limit alone says nothing: a model that rejects everything lets no defect pass."""
    return (limits.escape is None) != (limits.overkill is None)


def _states(rates: Mapping[str, Rate], limits: Limits, doubt: Doubt) -> list[State]:
    pairs = [(rates["escape"], limits.escape), (rates["overkill"], limits.overkill)]
    return [state(rate, limit, doubt) for rate, limit in pairs]


def _answer(rates: Mapping[str, Rate], limits: Limits, doubt: Doubt) -> str:
    free = "That depends on your limits"
    if _half(limits) and "met" in _states(rates, limits, doubt):
        return "Not yet: one limit is missing"
    answers = {"broken": "No", "open": "Not proven", "met": "Yes", "free": free}
    return answers[tone(rates, limits, doubt)]


def _why(rates: Mapping[str, Rate], limits: Limits, doubt: Doubt) -> str:
    if limits.escape is None and limits.overkill is None:
        return _ASK
    pairs = [("escape", limits.escape), ("overkill", limits.overkill)]
    return " ".join(_reason(name, rates[name], limit, doubt) for name, limit in pairs)


def _reason(name: str, rate: Rate, limit: float | None, doubt: Doubt) -> str:
    happens = _HAPPENS[name]
    if not rate.of:
        return _WITHOUT[name]
    if limit is None:
        return f"No limit was given for how many {happens}."
    low, value, high = ends(rate, limit)
    allowed = f"your limit is {percent(limit, digits_of(limit))}"
    if rate.high <= limit and not doubt:
        return f"At most {high} {happens}; {allowed}."
    if rate.low > limit:
        return f"At least {low} {happens}; {allowed}."
    but = f"so few parts leave room for up to {high}"
    if rate.high <= limit and doubt:
        but = _BUT[doubt]
    return f"{value} {happens} here, but {but}; {allowed}."


def ends(rate: Rate, limit: float | None) -> tuple[str, str, str]:
    """Low end, share and high end with the digits that tell them from the limit."""
    digits = rate.digits(limit)
    return percent(rate.low, digits), percent(rate.value, digits), percent(rate.high, digits)


def _range(low: str, high: str, doubt: Doubt) -> str:
    if doubt:
        return f"{low} to {high}, {_RANGE[doubt]}"
    return f"expect {low} to {high} on the line (95 % sure)"


def live(rates: Mapping[str, Rate], missed: int | None, extra: int | None) -> str:
    """The counts beside the slider; ``missed`` and ``extra`` boxes are None where not counted."""
    escape, overkill, unsure = rates["escape"], rates["overkill"], rates["unsure"]
    pieces = []
    if escape.of:
        pieces.append(f"{escape.count} of {escape.of} defective parts pass")
    if overkill.of:
        pieces.append(f"{overkill.count} of {overkill.of} good parts are rejected")
    if unsure.count:
        pieces.append(f"{unsure.count} left to a person")
    if missed is not None and extra is not None:
        pieces += [f"{counted(missed, 'defect')} not found", counted(extra, "false alarm")]
    return " · ".join(pieces)
