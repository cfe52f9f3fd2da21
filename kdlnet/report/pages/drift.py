"""The section on other light, blur and noise."""

from __future__ import annotations

from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.rates import PartRates
from kdlnet.report.pages.answer import Limits, ends
from kdlnet.report.pages.section import Cell, Section, Table
from kdlnet.report.pages.words import figure


def drift_section(result: EvalResult, limits: Limits) -> Section:
    """A row for the pictures as they are and one under each change."""
    found = result.precision
    rows = [_row("as they are", found.ap, found.ap50, result.verdicts.overall, limits, None)]
    rows += [
        _row(one.change.name, one.ap, one.ap50, one.rates, limits, one.flips)
        for one in result.drift
    ]
    return Section(
        id="drift",
        name="Drift",
        title="What if the lamp, the lens or the sensor changes?",
        lead="The same pictures once more, changed by the computer: less and more light, a lens "
        "out of focus, a noisy sensor. The setting stays.",
        tables=(
            Table(
                (
                    "Pictures",
                    "AP",
                    "AP50",
                    "Defective parts passed",
                    "Good parts rejected",
                    "Other verdicts than before",
                ),
                tuple(rows),
            ),
        ),
        notes=(
            "Blur is in pixels of the network input, noise in per cent of the range from black to "
            "white. Where a change costs much: hold that part of the line still, or train with "
            "such changes (augment.brightness, augment.contrast, augment.blur, augment.noise).",
        ),
    )


def _row(
    name: str,
    ap: float | None,
    ap50: float | None,
    rates: PartRates,
    limits: Limits,
    flips: int | None,
) -> tuple[str | Cell, ...]:
    shares = _rate(rates.escape, limits.escape), _rate(rates.overkill, limits.overkill)
    return (name, figure(ap), figure(ap50), *shares, "" if flips is None else f"{flips:,}")


def _rate(rate: Rate, limit: float | None) -> Cell:
    if rate.value is None:
        return Cell("\N{EN DASH}", "none in the set")
    return Cell(ends(rate, limit)[1], f"{rate.count:,} of {rate.of:,}")
