"""The small pictures of a page: which parts and boxes get one, cut out of the images, in a budget.

What a page shows first gets its picture first. Whichever the threshold, the missed boxes are those
whose finder scored least and the false calls those that scored most, so that the head of these
orders serves every threshold.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import KdlnetError
from kdlnet.events import Listener, Progress, ignore
from kdlnet.images.read import ImageArray, read_image
from kdlnet.metrics.result import Floats
from kdlnet.ops.arrays import box_area
from kdlnet.report.images import to_display
from kdlnet.report.pages.evidence import Boxes
from kdlnet.report.thumbnail import thumbnail
from kdlnet.types import ImageSize

MOST_PICTURES = 480
_MOST_IMAGES = 240
_MOST_PIXELS = 400e6  # read in all: some 20 seconds of PNG
_PART_SIDE, _BOX_SIDE = 256, 192
_CONTEXT = 2.6  # sides of a box in the picture that is cut around it
_LEAST = 64  # pixels of the image
_READERS = 2

Region = tuple[int, int, int, int]
Key = tuple[str, int]
"""What a picture is of: ``("part", image)``, ``("truth", row)``, ``("box", row)``, ..."""
KINDS = ("part", "truth", "box", "suspect", "flip")


@dataclass(frozen=True, slots=True)
class Cut:
    """A ``region`` (x, y, width, height) of one image, in pixels of the original."""

    image: int
    region: Region


def whole(image: int, size: ImageSize) -> Cut:
    """All of an image of ``size`` (H, W)."""
    return Cut(image, (0, 0, size[1], size[0]))


def around(image: int, size: ImageSize, box: Floats) -> Cut:
    """A square around the box (4,) with some of what lies beside it, or all of a small image."""
    height, width = size
    x1, y1, x2, y2 = box.tolist()
    side = round(max(_CONTEXT * max(x2 - x1, y2 - y1), _LEAST))
    if 1.4 * side >= max(height, width):
        return whole(image, size)
    w, h = min(side, width), min(side, height)
    x = min(max(0, round((x1 + x2 - w) / 2)), width - w)
    y = min(max(0, round((y1 + y2 - h) / 2)), height - h)
    return Cut(image, (x, y, w, h))


def wanted(
    sizes: Sequence[ImageSize],
    best: Floats,
    defective: NDArray[np.bool_],
    boxes: Boxes,
    suspects: Sequence[Cut] = (),
) -> dict[Key, Cut]:
    """What should have a picture, the most wanted first.

    ``sizes`` of the images, their ``best`` scores (n,) and which are ``defective`` (n,);
    ``suspects`` as their list has them.
    """
    passed = [int(i) for i in np.argsort(best, kind="stable") if defective[i]]
    rejected = [int(i) for i in np.argsort(-best, kind="stable") if not defective[i]]
    missed = np.lexsort((-box_area(boxes.truth_boxes), boxes.finder))
    false = np.flatnonzero(boxes.found < 0)
    false = false[np.argsort(-boxes.score[false], kind="stable")]
    lists: list[list[tuple[Key, Cut]]] = [
        [(("part", i), whole(i, sizes[i])) for i in passed[:MOST_PICTURES]],
        [(("part", i), whole(i, sizes[i])) for i in rejected[:MOST_PICTURES]],
        [_of_box("truth", i, sizes, boxes) for i in missed[:MOST_PICTURES].tolist()],
        [_of_box("box", i, sizes, boxes) for i in false[:MOST_PICTURES].tolist()],
        [(("suspect", i), cut) for i, cut in enumerate(suspects)],
    ]
    turns = [pair for turn in zip_longest(*lists) for pair in turn if pair is not None]
    return dict(_few_images(turns, sizes))


def _of_box(kind: str, row: int, sizes: Sequence[ImageSize], boxes: Boxes) -> tuple[Key, Cut]:
    truth = kind == "truth"
    image = int((boxes.truth_image if truth else boxes.image)[row])
    return (kind, row), around(
        image, sizes[image], (boxes.truth_boxes if truth else boxes.boxes)[row]
    )


def _few_images(
    pairs: Iterable[tuple[Key, Cut]], sizes: Sequence[ImageSize]
) -> Iterable[tuple[Key, Cut]]:
    """At most :data:`MOST_PICTURES` of so few images that reading them takes seconds."""
    seen: set[int] = set()
    regions: set[Cut] = set()
    for key, cut in pairs:
        new = cut.image not in seen
        pixels = sum(sizes[i][0] * sizes[i][1] for i in seen) if new else 0
        if new and (len(seen) >= _MOST_IMAGES or pixels >= _MOST_PIXELS):
            continue
        if len(regions) >= MOST_PICTURES and cut not in regions:
            continue
        seen.add(cut.image)
        regions.add(cut)
        yield key, cut


@dataclass(frozen=True)
class Pictures:
    """``jpegs`` of ``cuts``, and which one shows a key."""

    cuts: tuple[Cut, ...]
    jpegs: tuple[bytes, ...]
    of: Mapping[Key, int]

    def to_dict(self) -> dict[str, Any]:
        """What the script reads."""
        kinds: dict[str, dict[int, int]] = {kind: {} for kind in KINDS}
        for (kind, row), place in self.of.items():
            kinds[kind][row] = place
        return {
            **kinds,
            "regions": [[cut.image, *cut.region] for cut in self.cuts],
            "jpegs": [base64.b64encode(jpeg).decode() for jpeg in self.jpegs],
        }


def draw(
    asked: Mapping[Key, Cut],
    paths: Sequence[Path],
    budget: float,
    window: tuple[float, float] | None = None,
    on_event: Listener = ignore,
) -> Pictures:
    """The pictures, in their order, until their base64 would be larger than ``budget`` bytes.

    ``paths`` of the images; ``window`` are the intensities shown as black and white. What cannot
    be read any more has no picture.
    """
    by_image: dict[int, list[Cut]] = {}
    for cut in dict.fromkeys(asked.values()):
        by_image.setdefault(cut.image, []).append(cut)
    made: dict[Cut, bytes] = {}

    def jpegs(image: int) -> list[tuple[Cut, bytes]]:
        return _jpegs(paths[image], by_image[image], window)

    with ThreadPoolExecutor(_READERS) as readers:
        for done, pairs in enumerate(readers.map(jpegs, by_image), start=1):
            made.update(pairs)
            on_event(Progress("draw the page", done, len(by_image)))
    return _within(asked, made, budget)


def _jpegs(
    path: Path, cuts: Sequence[Cut], window: tuple[float, float] | None
) -> list[tuple[Cut, bytes]]:
    try:
        image = to_display(read_image(path), window)
    except (KdlnetError, OSError):
        return []
    return [(cut, _jpeg(image, cut)) for cut in cuts]


def _jpeg(image: ImageArray, cut: Cut) -> bytes:
    x, y, width, height = cut.region
    part = image[y : y + height, x : x + width]
    everything = part.shape[:2] == image.shape[:2]
    return thumbnail(part, _PART_SIDE if everything else _BOX_SIDE)


def _within(asked: Mapping[Key, Cut], made: Mapping[Cut, bytes], budget: float) -> Pictures:
    places: dict[Cut, int] = {}
    of: dict[Key, int] = {}
    spent = 0.0
    for key, cut in asked.items():
        if cut in made and cut not in places:
            size = 4 * (len(made[cut]) + 2) / 3 + 40  # its base64 and its line of numbers
            if spent + size > budget:
                continue
            spent += size
            places[cut] = len(places)
        if cut in places:
            of[key] = places[cut]
            spent += 14
    return Pictures(tuple(places), tuple(made[cut] for cut in places), of)
