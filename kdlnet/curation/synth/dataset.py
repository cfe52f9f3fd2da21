"""A built-in defect set: procedural surfaces with scratches, pits, inclusions and stains.

Image ``index`` of ``seed`` is always the same, whatever else is drawn and in which order: its
random numbers come from a counter-based generator with that key (Salmon et al., Parallel Random
Numbers: As Easy as 1, 2, 3, SC 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from kdlnet.curation.synth.defects import DEFECTS, draw_defect
from kdlnet.curation.synth.surface import PixelBox, Surface, draw_surface, light
from kdlnet.curation.writer import (
    ConvertReport,
    count_split,
    dataset_folder,
    write_index,
    write_report,
)
from kdlnet.data.labels import write_rows
from kdlnet.errors import DataError, unknown

CLASSES = tuple(DEFECTS)
_SMALLEST_IMAGE = 96
_MOST_DEFECTS = 7
_MOST_CONTRAST = 10.0
_TRIES = 20
_GAP = 3  # pixels of surface between two defects
_MIN_LONG, _MIN_SHORT = 8, 5  # pixels of a box's sides


@dataclass(frozen=True)
class SynthImage:
    """``image`` (H, W) uint8; ``boxes`` (N, 4) float64 xyxy in its pixels; ``labels`` (N,)."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


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
    return SynthImage(
        image, np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64).reshape(-1)
    )


def synthesize(
    out: Path,
    *,
    count: int = 500,
    image_size: tuple[int, int] = (256, 256),
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
    val_share: float = 0.2,
    test_share: float = 0.0,
    good_share: float = 0.2,
    contrast: float = 1.0,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ConvertReport:
    """Writes ``count`` images (grey PNG), labels, list files and data.yaml to the folder ``out``.

    The first images are "train", then come "val" and "test" by their shares. ``good_share`` is
    the share of images without defects, on average; ``contrast`` makes the defects plainer
    (above 1) or fainter. Raises DataError for values out of range and for a folder that is taken.
    """
    _check(count, image_size, seed, classes, (val_share, test_share, good_share), contrast)
    splits = _split(count, val_share, test_share)
    found: dict[str, list[list[str]]] = {split: [] for split in splits}
    with dataset_folder(out, overwrite) as folder:
        for split, indices in splits.items():
            for index in indices:
                drawn = draw_image(seed, index, image_size, classes, good_share, contrast)
                _write(folder, index, drawn)
                found[split].append([classes[label] for label in drawn.labels])
                on_progress(index + 1, count)
        paths = {split: [_image_path(index) for index in splits[split]] for split in splits}
        write_index(folder, classes, paths)
        counts = {split: count_split(found[split], classes) for split in splits}
        report = ConvertReport(out, tuple(classes), counts)
        write_report(
            folder,
            report,
            format="synth",
            seed=seed,
            image_size=list(image_size),
            contrast=contrast,
        )
    return report


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
        if not any(_touch(box, other) for other in surface.occupied):
            surface.image[y : box[3], x : box[2]] += contrast * patch
            return box
    return None


def _touch(first: PixelBox, second: PixelBox) -> bool:
    return (
        first[0] < second[2] + _GAP
        and second[0] < first[2] + _GAP
        and first[1] < second[3] + _GAP
        and second[1] < first[3] + _GAP
    )


def _split(count: int, val_share: float, test_share: float) -> dict[str, range]:
    """Image numbers of each split; a split with a share above 0 has at least one."""
    val = max(1, round(count * val_share)) if val_share > 0 else 0
    test = max(1, round(count * test_share)) if test_share > 0 else 0
    train = count - val - test
    if train < 1:
        raise DataError(f"{count} images leave none to train on: raise --count or lower the shares")
    ranges = {
        "train": range(train),
        "val": range(train, train + val),
        "test": range(train + val, count),
    }
    return {split: numbers for split, numbers in ranges.items() if numbers}


def _image_path(index: int) -> Path:
    return Path("images", f"{index:06d}.png")


def _write(folder: Path, index: int, drawn: SynthImage) -> None:
    image = folder / _image_path(index)
    labels = folder / "labels" / f"{index:06d}.txt"
    image.parent.mkdir(exist_ok=True)
    labels.parent.mkdir(exist_ok=True)
    # Level 1: noisy textures hardly shrink further, and writing takes most of the time.
    _, data = cv2.imencode(".png", drawn.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    image.write_bytes(data.tobytes())
    height, width = drawn.image.shape
    write_rows(labels, drawn.boxes / [width, height, width, height], drawn.labels)


def _check(
    count: int,
    image_size: tuple[int, int],
    seed: int,
    classes: Sequence[str],
    shares: tuple[float, float, float],
    contrast: float,
) -> None:
    for name in classes:
        if name not in DEFECTS:
            raise DataError(unknown("defect class", name, DEFECTS))
    if not classes or len(set(classes)) != len(classes):
        raise DataError(f"classes {', '.join(classes)!r}: give each of {', '.join(DEFECTS)} once")
    if count < 1 or not 0 <= seed < 2**64:
        raise DataError(f"count {count} and seed {seed}: count is 1 or more, seed 0 or more")
    if min(image_size) < _SMALLEST_IMAGE:
        raise DataError(f"image size {image_size}: each side has at least {_SMALLEST_IMAGE} pixels")
    if not all(0 <= share <= 1 for share in shares) or shares[0] + shares[1] >= 1:
        raise DataError(f"shares {shares}: each is from 0 to 1, val and test together below 1")
    if not 0 < contrast <= _MOST_CONTRAST:
        raise DataError(f"contrast {contrast:g}: above 0 and at most {_MOST_CONTRAST:g}")
