"""What 8 bits cost on labelled images, and what they may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kdlnet.errors import ConfigError, unknown
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.rates import count_verdicts, tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule


@dataclass(frozen=True, slots=True)
class Drop:
    """How much worse the second of two networks is.

    ``ap`` is what AP lost, ``flips`` the share of images with another verdict, ``escape`` by how
    much the share of defective parts rose that are passed as OK. None where it cannot be known:
    AP without a true box, escape without a defective part.
    """

    ap: float | None
    flips: float | None
    escape: float | None

    def within(self, allowed: Drop) -> bool:
        """Whether nothing is larger than allowed; what is not known is not judged."""
        pairs = [(getattr(self, name), getattr(allowed, name)) for name in NAMES]
        return all(one is None or most is None or one <= most for one, most in pairs)

    def describe(self, allowed: Drop) -> str:
        """The figures in one line, each with what is allowed."""
        told = {"ap": "AP lost", "flips": "verdicts changed", "escape": "escape rose by"}
        parts = []
        for name, title in told.items():
            value = getattr(self, name)
            figure = "not known" if value is None else f"{value:.4f}"
            parts.append(f"{title} {figure} (allowed {getattr(allowed, name)})")
        return ", ".join(parts)


NAMES = tuple(field.name for field in fields(Drop))
MAX_DROP = Drop(ap=0.010, flips=0.01, escape=0.01)


def allowed_drop(wanted: Mapping[str, float]) -> Drop:
    """``MAX_DROP`` with the values of ``wanted`` in their place. Raises ConfigError."""
    for name, value in wanted.items():
        if name not in NAMES:
            raise ConfigError(unknown("figure of --max-drop", name, NAMES))
        if not 0 <= value <= 1:
            raise ConfigError(f"--max-drop {name}={value}: allowed is 0 to 1")
    return Drop(**{name: wanted.get(name, getattr(MAX_DROP, name)) for name in NAMES})


class Yardstick:
    """Compares results on the same images with those ``before``, by the same rule."""

    def __init__(
        self, before: Sequence[ImageResult], rule: VerdictRule, names: Sequence[str]
    ) -> None:
        self._rule, self._names = rule, names
        self._ap, self._verdicts, self._escape = self._figures(before)

    def __call__(self, after: Sequence[ImageResult]) -> Drop:
        ap, verdicts, escape = self._figures(after)
        flips = sum(a != b for a, b in zip(self._verdicts, verdicts, strict=True))
        return Drop(_rise(ap, self._ap), flips / len(verdicts), _rise(self._escape, escape))

    def _figures(self, results: Sequence[ImageResult]) -> tuple[Any, list[str], Any]:
        parts = tabulate_parts(results, self._rule, len(self._names))
        return (
            average_precision(results, self._names).ap,
            [self._rule.verdict(result.judged) for result in results],
            count_verdicts(parts, self._rule).escape.value,
        )


def _rise(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else high - low
