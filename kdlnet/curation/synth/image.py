"""One image of the synthetic defect set: a surface with scratches, pits, inclusions and stains.

Image ``index`` of ``seed`` is always the same, whatever else is drawn and in which order: its
random numbers come from a counter-based generator with that key (Salmon et al., Parallel Random
Numbers: As Easy as 1, 2, 3, SC 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from kdlnet.curation.synth.defects import DEFECTS, draw_defect
from kdlnet.curation.synth.surface import PixelBox, Surface, draw_surface, light
from kdlnet.data.outlines import Outline
from kdlnet.images.decode import ImageArray

CLASSES = tuple(DEFECTS)
_MOST_DEFECTS = 7
_TRIES = 20
_GAP = 3  # pixels of surface between two defects
_MIN_LONG, _MIN_SHORT = 8, 5  # pixels of a box's sides


@dataclass(frozen=True)
class SynthImage:
    """``image`` (H, W) uint8, or (H, W, C) as the photograph that was drawn on; ``boxes`` (N, 4)
    float64 xyxy in its pixels; ``labels`` (N,); ``outlines`` of what is in each box, if known."""

    image: ImageArray
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    outlines: Sequence[Outline] = ()

    @classmethod
    def of(
        cls,
        image: ImageArray,
        boxes: list[PixelBox],
        labels: list[int],
        outlines: Sequence[Outline] = (),
    ) -> SynthImage:
        """With lists as arrays, also where nothing was drawn."""
        corners = np.array(boxes, np.float64).reshape(-1, 4)
        return cls(image, corners, np.array(labels, np.int64).reshape(-1), outlines)


def draw_image(
    seed: int,
    index: int,
    image_size: tuple[int, int] = (256, 256),
    classes: Sequence[str] = CLASSES,
    good_share: float = 0.2,
    contrast: float = 1.0,
) -> SynthImage:
    """Image number ``index`` of the set ``seed``: a good part or one with one to seven defects.

    ``contrast`` multiplies the grey-level changes of every defect; nothing else changes with it.
    """
    rng = Generator(Philox(key=np.array([seed, index], np.uint64)))
    surface = draw_surface(rng, image_size)
    boxes: list[PixelBox] = []
    labels: list[int] = []
    count = 0
    if rng.random() >= good_share:
        count = 1 + min(int(rng.poisson(2.2)), _MOST_DEFECTS - 1)
    for _ in range(count):
        label = int(rng.integers(len(classes)))
        box = _place(rng, surface, classes[label], contrast)
        if box is not None:
            boxes.append(box)
            labels.append(label)
            surface.occupied.append(box)
    image = np.clip(np.rint(light(rng, surface.image)), 0, 255).astype(np.uint8)
    return SynthImage.of(image, boxes, labels)


def _place(rng: Generator, surface: Surface, name: str, contrast: float) -> PixelBox | None:
    """Draws a defect of class ``name`` where nothing else is; None when there is no room."""
    height, width = surface.image.shape
    for _ in range(_TRIES):
        patch = draw_defect(name, rng, surface.roughness, largest=min(height, width) // 2)
        sides = patch.shape
        if max(sides) < _MIN_LONG or min(sides) < _MIN_SHORT:
            continue
        if sides[0] > height - 4 or sides[1] > width - 4:
            continue
        x, y = (
            int(rng.integers(2, width - sides[1] - 1)),
            int(rng.integers(2, height - sides[0] - 1)),
        )
        box = (x, y, x + sides[1], y + sides[0])
        if not any(touch(box, other) for other in surface.occupied):
            surface.image[y : box[3], x : box[2]] += contrast * patch
            return box
    return None


def touch(first: PixelBox, second: PixelBox) -> bool:
    """Whether two boxes overlap or lie closer than the gap between two defects."""
    return (
        first[0] < second[2] + _GAP
        and second[0] < first[2] + _GAP
        and first[1] < second[3] + _GAP
        and second[1] < first[3] + _GAP
    )
