"""What a line does to its images in time, and what is left of the figures then.

The lamp ages, the lens loses its focus, the sensor is turned up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.rates import PartRates, count_verdicts, tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the camera or of its light, named as people say it.

    ``light`` multiplies what is above black; what gets brighter than white is cut. ``blur`` is the
    standard deviation of a Gaussian in pixels of the network input, ``noise`` that of normal noise
    as a share of the range from black to white.
    """

    name: str
    light: float = 1.0
    blur: float = 0.0
    noise: float = 0.0


CHANGES = (
    Change("80 % of the light", light=0.8),
    Change("60 % of the light", light=0.6),
    Change("120 % of the light", light=1.2),
    Change("140 % of the light", light=1.4),
    Change("blur of 1 pixel", blur=1.0),
    Change("noise of 3 %", noise=0.03),
)


@dataclass(frozen=True, slots=True)
class Drift:
    """Figures under one ``change``; ``flips`` are the images whose verdict it changed."""

    change: Change
    ap: float | None
    ap50: float | None
    rates: PartRates
    flips: int

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "change": asdict(self.change),
            "ap": self.ap,
            "ap50": self.ap50,
            "escape": self.rates.escape.to_dict(),
            "overkill": self.rates.overkill.to_dict(),
            "flips": self.flips,
        }


def measure_drift(
    change: Change,
    before: Sequence[ImageResult],
    after: Sequence[ImageResult],
    rule: VerdictRule,
    names: Sequence[str],
) -> Drift:
    """``after`` the change beside ``before`` it, the same images in the same order."""
    found = average_precision(after, names)
    parts = [tabulate_parts(results, rule, len(names)) for results in (before, after)]
    verdicts = [rule.judge(part.scores) for part in parts]
    flips = int((verdicts[0] != verdicts[1]).sum())
    return Drift(change, found.ap, found.ap50, count_verdicts(parts[1], rule), flips)
