"""Checks whether the splits look alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from kdlnet.curation.checks.survey import Pixels, Survey, readable
from kdlnet.curation.findings import Finding
from kdlnet.utils.words import percent

_FEWEST = 10
# Largest distance between two cumulative distributions: at 0.3 a third of the images is elsewhere.
_DISTANCE, _CHANCE = 0.3, 0.001


def check_drift(survey: Survey) -> Iterator[Finding]:
    """Splits whose images differ from those of the first in brightness, contrast or shape."""
    measures: dict[str, Callable[[Pixels], float]] = {
        "brightness": lambda pixels: pixels.mean,
        "contrast": lambda pixels: pixels.spread,
        "aspect": lambda pixels: pixels.size[1] / pixels.size[0],
    }
    base, *others = survey.splits
    for name, measure in measures.items():
        usual = [measure(pixels) for _, pixels in readable(survey.of(base))]
        for split in others:
            found = [measure(pixels) for _, pixels in readable(survey.of(split))]
            if min(len(usual), len(found)) < _FEWEST:
                continue
            test = ks_2samp(usual, found)
            if test.statistic < _DISTANCE or test.pvalue > _CHANCE:
                continue
            # Where the two are farthest apart: medians may be equal.
            limit = _rounded(float(test.statistic_location), np.array([*usual, *found]))
            here, there = (float(np.mean(np.array(values) <= limit)) for values in (found, usual))
            message = (
                f"{name} differs: {limit:g} or less in {percent(here)} of {split}, "
                f"{percent(there)} of {base}"
            )
            fix = "look whether camera, light or part changed; split again if it is chance"
            distance = round(float(test.statistic), 3)
            yield Finding("drift", "warning", message, split, None, distance, fix)


def _rounded(limit: float, values: NDArray[np.float64]) -> float:
    """``limit`` with as few digits, three to five, as divide the ``values`` as it does."""
    rounded = (float(f"{limit:.{digits}g}") for digits in (3, 4, 5))
    alike = (each for each in rounded if np.array_equal(values <= each, values <= limit))
    return next(alike, limit)
