"""Parts on which two detectors disagree, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kdlnet.events import Listener, Progress, ignore
from kdlnet.metrics.flips import Flip
from kdlnet.metrics.matching import MATCH_IOU, Match, match
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.draw import draw_match
from kdlnet.report.images import read_again, save_image
from kdlnet.report.sheet import contact_sheet
from kdlnet.types import Roi

_PICTURES = 24

Side = tuple[ImageResult, VerdictRule]
Sides = tuple[Side, Side]


def draw_flips(
    folder: Path,
    flips: Sequence[Flip],
    sides: Callable[[Flip], Sides],
    names: Sequence[str],
    window: tuple[float, float] | None = None,
    roi: Roi | None = None,
    on_event: Listener = ignore,
) -> None:
    """Pictures of the first flips into ``folder``, defective parts first, A left and B right.

    ``sides`` gives what A and B found on the image of a flip, and the rule that says which boxes
    count.
    """
    order = sorted(flips, key=lambda flip: not flip.defective)[:_PICTURES]
    for number, flip in enumerate(order, start=1):
        found = sides(flip)
        path = Path(found[0][0].name)
        on_event(Progress("draw flips", number, len(order)))
        image = read_again(path, on_event)
        if image is None:
            continue
        drawn = [
            draw_match(image, result, _matched(result), names, window=window, roi=roi)
            for result in (_kept(*side) for side in found)
        ]
        captions = [f"A: {flip.a}", f"B: {flip.b}"]
        sheet = contact_sheet(drawn, captions, columns=2, cell=480)
        save_image(folder / f"{number:02d}-{path.stem}.png", sheet)


def _matched(result: ImageResult) -> Match:
    return match(result, MATCH_IOU, -math.inf)


def _kept(result: ImageResult, rule: VerdictRule) -> ImageResult:
    keep = rule.counting(result)
    boxes, scores, labels = result.boxes[keep], result.scores[keep], result.labels[keep]
    return replace(result, boxes=boxes, scores=scores, labels=labels)
