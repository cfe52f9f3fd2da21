"""A built-in defect set: procedural surfaces with scratches, pits, inclusions and stains.

On the command line: ``kdlnet data synth OUT [--count N] [--seed N]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from kdlnet.curation.synth.defects import DEFECTS
from kdlnet.curation.synth.image import CLASSES, SynthImage, draw_image
from kdlnet.curation.writer import (
    ConvertReport,
    count_split,
    write_index,
    write_report,
)
from kdlnet.data.labels import write_rows
from kdlnet.errors import DataError, unknown
from kdlnet.events import Listener, Progress, ignore
from kdlnet.utils.output import whole_folder

_SMALLEST_IMAGE = 96
_MOST_CONTRAST = 10.0


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
    on_event: Listener = ignore,
) -> ConvertReport:
    """Writes ``count`` images (grey PNG), labels, list files and data.yaml to the folder ``out``.

    The first images are "train", then come "val" and "test" by their shares. ``good_share`` is
    the share of images without defects, on average; ``contrast`` makes the defects plainer
    (above 1) or fainter. Raises DataError for values out of range and for a folder that is taken.
    """
    _check(count, image_size, seed, classes, (val_share, test_share, good_share), contrast)
    splits = _split(count, val_share, test_share)
    found: dict[str, list[list[str]]] = {split: [] for split in splits}
    with whole_folder(out, overwrite) as folder:
        for split, indices in splits.items():
            for index in indices:
                drawn = draw_image(seed, index, image_size, classes, good_share, contrast)
                _write(folder, index, drawn)
                found[split].append([classes[label] for label in drawn.labels])
                on_event(Progress("draw images", index + 1, count))
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
