"""What candidates become boxes by, unless told otherwise: the same for every verb and runtime."""

from __future__ import annotations

import math

IOU_THRESHOLD = 0.55
"""Two boxes of one class that overlap by this much show one object."""
VOTERS = 0.2
"""A box with more than this part of the best one's score has a say in where their object is."""
PAIRS = 4096
"""Of a kept box and a voter, for each class: with fewer, parting the classes costs a processor more
than comparing pairs of two classes."""
MAX_CANDIDATES = 1000
MAX_DETECTIONS = 300


def logit(probability: float) -> float:
    """The number whose sigmoid it is; infinite at the ends of 0 to 1 and beyond."""
    if probability <= 0:
        return -math.inf
    return math.log(probability / (1 - probability)) if probability < 1 else math.inf
