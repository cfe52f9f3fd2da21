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
            distance, chance = ks_2samp(usual, found)
            if distance < _DISTANCE or chance > _CHANCE:
                continue
            message = (
                f"{name} differs: median {np.median(found):.3g} in {split}, "
                f"{np.median(usual):.3g} in {base}"
            )
            fix = "look whether camera, light or part changed; split again if it is chance"
            yield Finding("drift", "warning", message, split, None, round(float(distance), 3), fix)
