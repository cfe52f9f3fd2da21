"""Probability of detection against the size of a defect, after MIL-HDBK-1823A (2009).

Hit or miss of each true box, a logit fit in the logarithm of its size, and the size that is found
with 90 % probability at 95 % confidence, by the likelihood ratio as the handbook takes it for such
data: one-sided, chi-square with one degree of freedom, point by point. Size is the square root of
the box's area. The fit takes every true box for a trial of its own; several in one image are hardly
that, so the bound is a little too good where defects come in crowds. The handbook's curve runs from
0 to 1; here a floor and a ceiling are tried too, so that an a90 is never read from a curve that the
large defects contradict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2

from kdlnet.metrics.logit_fit import LogitFit, fit_end, fit_logit, log_likelihood, profile
from kdlnet.metrics.result import Floats

_DEVIANCE = float(chi2.ppf(0.90, 1))  # one-sided 95 %
_END = float(chi2.ppf(0.98, 1))  # an end is believed at 1 %: it lies at the border of its range
_FAR = 10.0  # no size beyond so many times the largest box is read off the curve
_BINS = 8
_POINTS = 25
_FEW = 60  # targets that MIL-HDBK-1823A asks for at least


@dataclass(frozen=True, slots=True)
class DefectSize:
    """A size in pixels of the original image and in mm, or None and why there is none."""

    px: float | None
    mm: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PodBin:
    """True boxes of sizes from ``low`` to ``high`` px and how many of them were found."""

    low: float
    high: float
    boxes: int
    hits: int


@dataclass(frozen=True, slots=True)
class PodPoint:
    """The curve at one size in px, and its lower one-sided 95 % bound."""

    size: float
    pod: float
    low: float


@dataclass(frozen=True, slots=True)
class Pod:
    """POD = 1 / (1 + exp(-(intercept + slope ln size))), sizes in px.

    ``a50`` and ``a90`` are found with 50 and 90 % probability, ``a90_95`` with 90 % at 95 %
    confidence. ``floor`` and ``ceiling`` are where a curve with such an end fits significantly
    better: 0 and 1 where none does, None without a fit. ``notes`` are sentences for the reader.
    """

    boxes: int
    hits: int
    intercept: float | None
    slope: float | None
    a50: DefectSize
    a90: DefectSize
    a90_95: DefectSize
    floor: float | None
    ceiling: float | None
    notes: tuple[str, ...]
    bins: tuple[PodBin, ...]
    curve: tuple[PodPoint, ...]
    mm_per_pixel: float | None

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        values: dict[str, Any] = {
            "boxes": self.boxes,
            "hits": self.hits,
            "intercept": self.intercept,
            "slope": self.slope,
        }
        for name in ("a50", "a90", "a90_95"):
            size: DefectSize = getattr(self, name)
            values[name] = {"px": size.px, "mm": size.mm, "reason": size.reason}
        return {
            **values,
            "floor": self.floor,
            "ceiling": self.ceiling,
            "notes": list(self.notes),
            "bins": [
                {"low": b.low, "high": b.high, "boxes": b.boxes, "hits": b.hits} for b in self.bins
            ],
            "curve": [{"size": p.size, "pod": p.pod, "low": p.low} for p in self.curve],
            "mm_per_pixel": self.mm_per_pixel,
        }


def pod(sizes: Floats, hits: NDArray[np.bool_], mm_per_pixel: float | None = None) -> Pod:
    """Fits hit or miss (N,) against sizes (N,) in px, all above 0."""
    x, y = np.log(sizes), hits.astype(np.float64)
    reason = _why_no_fit(x, y)
    fit = None if reason else fit_logit(x, y)
    if fit is not None:
        reason = _why_no_growth(y, fit)
    floor = ceiling = None
    found = [DefectSize(None, None, reason)] * 3
    notes: tuple[str, ...] = ()
    if fit is not None and not reason:
        floor, ceiling = _end(x, y, fit, "floor"), _end(x, y, fit, "ceiling")
        found = [
            _in_mm(_within(size, float(sizes.max())), mm_per_pixel)
            for size in _sizes(x, y, fit, floor, ceiling)
        ]
        notes = _notes(sizes, floor, ceiling, found)
    else:
        fit = None
    return Pod(
        boxes=len(x),
        hits=int(y.sum()),
        intercept=fit.intercept if fit else None,
        slope=fit.slope if fit else None,
        a50=found[0],
        a90=found[1],
        a90_95=found[2],
        floor=floor,
        ceiling=ceiling,
        notes=notes,
        bins=_bins(sizes, hits),
        curve=_curve(x, y, fit) if fit else (),
        mm_per_pixel=mm_per_pixel,
    )


def _why_no_fit(x: Floats, hits: Floats) -> str | None:
    if not len(x):
        return "no true box"
    if hits.all():
        return f"all {len(x)} true boxes are found"
    if not hits.any():
        return f"none of {len(x)} true boxes is found"
    if x.min() == x.max():
        return "all true boxes have one size"
    found, missed = x[hits > 0], x[hits == 0]
    if found.min() >= missed.max() or found.max() <= missed.min():
        return "a size parts the found from the missed boxes, so that no finite curve fits best"
    return None


def _why_no_growth(hits: Floats, fit: LogitFit) -> str | None:
    if fit.slope <= 0:
        return "larger defects are not found more often"
    flat = log_likelihood(np.full(len(hits), logit(hits.mean())), hits)
    if 2 * (fit.likelihood - flat) <= _DEVIANCE:
        return "that larger defects are found more often is not shown at 95 %"
    return None


def _end(x: Floats, hits: Floats, fit: LogitFit, end: str) -> float:
    """Where the curve ends; 0 or 1 unless another end fits significantly better."""
    value, likelihood = fit_end(x, hits, fit, end)
    if 2 * (likelihood - fit.likelihood) > _END:
        return value
    return 1.0 if end == "ceiling" else 0.0


def _sizes(
    x: Floats, hits: Floats, fit: LogitFit, floor: float, ceiling: float
) -> list[DefectSize]:
    """a50, a90 and a90/95 in px."""
    half, most = (_size(fit, share, floor, ceiling) for share in (0.5, 0.9))
    return [half, most, most if most.px is None else _bound(x, hits, fit)]


def _size(fit: LogitFit, share: float, floor: float, ceiling: float) -> DefectSize:
    if ceiling <= share:
        reason = f"the curve ends at {ceiling:.2f}: no size is found with {share:.0%}"
        return DefectSize(None, None, reason)
    if floor >= share:
        reason = f"the curve begins at {floor:.2f}: every size is found with {share:.0%}"
        return DefectSize(None, None, reason)
    return DefectSize(float(np.exp((logit(share) - fit.intercept) / fit.slope)))


def _bound(x: Floats, hits: Floats, fit: LogitFit) -> DefectSize:
    """a90/95: the size above a90 at which lines with POD 0.9 have just become implausible."""
    level = float(logit(0.9))
    begin = (level - fit.intercept) / fit.slope

    def beyond(ahead: float) -> float:
        slope = fit.slope / (1 + ahead)
        lost = fit.likelihood - profile(x, hits, begin + ahead, level, slope)
        return 2 * lost - _DEVIANCE

    reach = 0.5
    while beyond(reach) < 0:
        reach *= 2
        if reach > 100:
            return DefectSize(None, None, "the lower 95 % bound of POD never reaches 0.9")
    return DefectSize(float(np.exp(begin + brentq(beyond, 0.0, reach, xtol=1e-9))))


def _within(size: DefectSize, largest: float) -> DefectSize:
    if size.px is None or size.px <= _FAR * largest:
        return size
    reason = f"beyond {_FAR:g} times the largest true box, {largest:.1f} px"
    return DefectSize(None, None, reason)


def _in_mm(size: DefectSize, mm_per_pixel: float | None) -> DefectSize:
    if size.px is None or mm_per_pixel is None:
        return size
    return DefectSize(size.px, size.px * mm_per_pixel)


def _notes(
    sizes: Floats, floor: float, ceiling: float, measured: list[DefectSize]
) -> tuple[str, ...]:
    notes = []
    if len(sizes) < _FEW:
        notes.append(f"{len(sizes)} true boxes; MIL-HDBK-1823A asks for {_FEW} at least")
    if ceiling < 1:
        notes.append(
            f"large defects are missed too: a curve that ends at {ceiling:.2f} fits better"
        )
    if floor > 0:
        notes.append(f"the smallest are found too: a curve that begins at {floor:.2f} fits better")
    largest, smallest = float(sizes.max()), float(sizes.min())
    for name, size in zip(("a50", "a90", "a90/95"), measured, strict=True):
        if size.px is not None and not smallest <= size.px <= largest:
            notes.append(
                f"{name} is outside the sizes of the set, {smallest:.1f} to {largest:.1f} px"
            )
    return tuple(notes)


def _curve(x: Floats, hits: Floats, fit: LogitFit) -> tuple[PodPoint, ...]:
    points = []
    for at in np.linspace(x.min(), x.max(), _POINTS):
        middle = fit.intercept + fit.slope * at
        low = _lower(x, hits, fit, float(at), float(middle))
        points.append(PodPoint(float(np.exp(at)), float(expit(middle)), float(expit(low))))
    return tuple(points)


def _lower(x: Floats, hits: Floats, fit: LogitFit, at: float, middle: float) -> float:
    """Lower bound of the log odds at ``at``."""

    def beyond(down: float) -> float:
        lost = fit.likelihood - profile(x, hits, at, middle - down, fit.slope)
        return 2 * lost - _DEVIANCE

    reach = 0.5
    while beyond(reach) < 0 and reach < 1e3:
        reach *= 2
    return middle - brentq(beyond, 0.0, reach, xtol=1e-4) if beyond(reach) >= 0 else -np.inf


def _bins(sizes: Floats, hits: NDArray[np.bool_]) -> tuple[PodBin, ...]:
    """As many boxes in each, by rising size."""
    order = np.argsort(sizes, kind="stable")
    return tuple(
        PodBin(float(sizes[part[0]]), float(sizes[part[-1]]), len(part), int(hits[part].sum()))
        for part in np.array_split(order, min(_BINS, len(order)) or 1)
        if len(part)
    )
