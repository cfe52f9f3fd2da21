"""Checks whether the splits look alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import ks_2samp

from kdlnet.curation.checks.survey import Pixels, Survey, readable
from kdlnet.curation.findings import Finding

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
            limit = float(test.statistic_location)
            here, there = (np.mean(np.array(values) <= limit) for values in (found, usual))
            message = (
                f"{name} differs: {limit:.3g} or less in {here:.0%} of {split}, {there:.0%} of "
                f"{base}"
            )
            fix = "look whether camera, light or part changed; split again if it is chance"
            distance = round(float(test.statistic), 3)
            yield Finding("drift", "warning", message, split, None, distance, fix)
