"""What one threshold for whole images can do: good parts passed, defective ones caught.

The score of an image is that of its highest box, of any class, and 0 without a box; an image is
defective when it has a true box. PGn and PBn as anomalib names them: of the good parts, how many
pass when the threshold may miss n % of the defective ones; of the defective ones, how many are
caught when it may reject n % of the good ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.intervals import ROUNDS, Interval, draw_weights, group_numbers, interval
from kdlnet.metrics.result import Floats, ImageResult

SHARES = (0.0, 1.0, 5.0)
"""n of PGn and PBn, in percent."""
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class ImageLevel:
    """``pg`` and ``pb`` by n in percent, chosen and counted on the same images.

    ``auroc`` is the share of pairs of a defective image and a good one in which the defective one
    has the higher score; equal ones count half.
    """

    auroc: Interval
    pg: dict[str, Interval]
    pb: dict[str, Interval]
    good: int
    defective: int

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "auroc": self.auroc.to_dict(),
            "pg": {n: value.to_dict() for n, value in self.pg.items()},
            "pb": {n: value.to_dict() for n, value in self.pb.items()},
            "good": self.good,
            "defective": self.defective,
        }


def image_level(
    results: Sequence[ImageResult],
    groups: Sequence[int] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> ImageLevel:
    """AUROC, PGn and PBn with 95 % intervals over images or groups.

    PGn and PBn have no interval where n % of the images that may be lost are fewer than two
    (groups, where there are some): the threshold is then that of one image, which resampling does
    not move as other images would (of 20 to 100 such images the 95 % interval held the share in 51
    to 82 % of the trials).
    """
    scores = np.array([_score(result) for result in results])
    bad = np.array([len(result.truth_boxes) > 0 for result in results], dtype=bool)
    group = group_numbers(groups, len(results))
    weights = draw_weights(group, rounds, seed)
    counts = len(np.unique(group[~bad])), len(np.unique(group[bad]))

    missing = None if all(counts) else "no good image" if counts[1] else "no defective image"

    def share(kept: NDArray[np.bool_], by: Floats, n: float, own: int, others: int) -> Interval:
        if missing:
            return Interval(None, None, None, missing)
        value = float(passed(by, kept, np.ones((1, len(by))), n)[0])
        if n / 100 * others < _FEWEST:
            return Interval(value, None, None, f"{n:g} % of {others} is fewer than {_FEWEST}")
        drawn = passed(by, kept, weights, n)
        return interval(value, drawn, own, min(counts) - 1)

    if missing:
        auroc = Interval(None, None, None, missing)
    else:
        value = float(ranked_right(scores, bad, np.ones((1, len(bad))))[0])
        auroc = interval(value, ranked_right(scores, bad, weights), min(counts), min(counts) - 1)
    return ImageLevel(
        auroc,
        {f"{n:g}": share(~bad, scores, n, *counts) for n in SHARES},
        {f"{n:g}": share(bad, -scores, n, *reversed(counts)) for n in SHARES},
        int((~bad).sum()),
        int(bad.sum()),
    )


def _score(result: ImageResult) -> float:
    """Of an image; above all where a detection has no finite score, as for its verdict."""
    found = result.judged
    usable = np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()
    return float(found.scores.max(initial=0.0)) if usable else np.inf


def passed(scores: Floats, kept: NDArray[np.bool_], weights: Floats, percent: float) -> Floats:
    """Of the images ``kept``, the share (R,) below the highest threshold that loses few others.

    At most ``percent`` of the others are below it as well. Image i counts ``weights[r, i]`` times
    (R, images); nan where one of the kinds was not drawn.
    """
    order = np.argsort(scores, kind="stable")
    mine, values, ranked = kept[order], scores[order], weights[:, order]
    first = np.searchsorted(values, values, side="left")  # equal scores stand or fall together
    below = [
        np.concatenate([np.zeros((len(weights), 1)), np.cumsum(ranked * kind, axis=1)], axis=1)
        for kind in (mine, ~mine)
    ]
    total, others = below[0][:, -1], below[1][:, -1]
    fits = below[1][:, first] <= percent / 100 * others[:, None] + 1e-9
    usable = fits & ~mine & (ranked > 0)
    last = usable.shape[1] - 1 - np.argmax(usable[:, ::-1], axis=1)
    reached = np.take_along_axis(below[0], first[last][:, None], axis=1)[:, 0]
    known = (total > 0) & (others > 0)
    share: Floats = np.divide(reached, total, out=np.full(len(total), np.nan), where=known)
    return share


def ranked_right(scores: Floats, bad: NDArray[np.bool_], weights: Floats) -> Floats:
    """The share (R,) of pairs of a ``bad`` image and another in which the bad one is higher.

    Equal scores count half. Image i counts ``weights[r, i]`` times (R, images); nan where one of
    the kinds was not drawn.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    good, defective = (weights[:, order] * kind for kind in (~bad[order], bad[order]))
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(good, axis=1)], axis=1)
    sides = [np.searchsorted(ranked, ranked, side=side) for side in ("left", "right")]
    pairs = (defective * (below[:, sides[0]] + below[:, sides[1]]) / 2).sum(1)
    every = good.sum(1) * defective.sum(1)
    share: Floats = np.divide(pairs, every, out=np.full(len(every), np.nan), where=every > 0)
    return share
