"""The one rule by which boxes make an image NG, for every verb and every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULT_SCORE = 0.25
"""From this score on a box counts where neither a person nor the weights say otherwise."""

Verdict = Literal["OK", "NG"]


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """NG when a box reaches its threshold, OK when none does. ``score`` is that of all classes.

    Scores and thresholds meet in float32, the type in which a network scores: a box that is kept
    for its score is never too low for the verdict by a rounding.
    """

    score: float = DEFAULT_SCORE

    @classmethod
    def of_weights(cls, thresholds: Mapping[str, float]) -> VerdictRule:
        """The rule that a weights file stores as its ``thresholds``, the default for an empty one.

        >>> VerdictRule.of_weights({"score": 0.4}).verdict([0.3], [0])
        'OK'
        """
        return cls(float(thresholds.get("score", DEFAULT_SCORE)))

    def reached(self, scores: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
        """Which boxes count, (N,), by their scores (N,) and classes (N,)."""
        reached: NDArray[np.bool_] = np.asarray(scores, np.float32) >= np.float32(self.score)
        return reached

    def verdict(self, scores: ArrayLike, labels: ArrayLike) -> Verdict:
        """The verdict on an image with boxes of these scores (N,) and classes (N,)."""
        return "NG" if self.reached(scores, labels).any() else "OK"
