"""What exported networks answer, in numpy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RawArrays:
    """What an exported network returns: :class:`~kdlnet.types.RawPredictions` but the features."""

    logits: NDArray[np.float32]
    bins: NDArray[np.float32]
    points: NDArray[np.float32]
    strides: NDArray[np.float32]

    def numbers(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the network computed."""
        return self.logits, self.bins

    def of_classes(self, labels: list[int]) -> RawArrays:
        """Without the other classes; class i is then ``labels[i]``."""
        return replace(self, logits=self.logits[..., labels])


@dataclass(frozen=True, slots=True)
class SuppressedArrays:
    """What a network returns whose file suppresses boxes itself: rows by falling score.

    ``boxes`` (B, N, 4) in pixels of the network input, ``scores`` (B, N), ``labels`` (B, N) int64;
    rows without a box score 0.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def numbers(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the network computed."""
        return self.boxes, self.scores

    def of_classes(self, labels: list[int]) -> SuppressedArrays:
        """Without the other classes; class i is then ``labels[i]``."""
        wanted = np.asarray(labels, np.int64)
        same = self.labels[..., None] == wanted
        scores = np.where(same.any(axis=-1), self.scores, np.float32(0))
        return SuppressedArrays(self.boxes, scores, same.argmax(axis=-1))
