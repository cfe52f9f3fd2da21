"""Made-up defects: on procedural surfaces, or drawn on photographs of good parts.

On the command line: ``kdlnet data synth OUT [--count N] [--seed N] [--onto GOOD]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from kdlnet.curation.formats.masks import marked_by_masks
from kdlnet.curation.synth.defects import DEFECTS
from kdlnet.curation.synth.image import CLASSES, SynthImage, draw_image
from kdlnet.curation.synth.onto import SHAPES, draw_onto
from kdlnet.curation.writer import (
    ConvertReport,
    count_split,
    write_index,
    write_report,
)
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import load_split
from kdlnet.data.folders import keep_out_of_datasets
from kdlnet.data.label_files import ANY_CLASS, LabelReader, find_unread
from kdlnet.data.labels import read_rows, write_rows
from kdlnet.data.listing import label_path
from kdlnet.data.other_tools import named_in_sets
from kdlnet.errors import DataError, unknown
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.folder import LeftOut, images_below
from kdlnet.images.read import read_image
from kdlnet.utils.output import keep_apart, whole_folder
from kdlnet.utils.words import counted

_SMALLEST_IMAGE = 96
_MOST_CONTRAST = 10.0
_GIVE = ": give images without defects"


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
    (above 1) or fainter. Raises DataError for values out of range and for a folder that is taken
    or that another dataset reads.
    """
    _check(count, image_size, seed, classes, (val_share, test_share, good_share), contrast)
    splits = _split(count, val_share, test_share)
    found: dict[str, list[list[str]]] = {split: [] for split in splits}
    keep_out_of_datasets(out)
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


def synthesize_onto(
    good: str,
    out: Path,
    *,
    data_root: Path | None = None,
    shapes: Mapping[str, str] | None = None,
    count: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> ConvertReport:
    """Writes photographs of good parts with drawn defects, labels and data.yaml to ``out``.

    ``good`` is a folder of images, or a dataset, of which those in "train" are taken; images with
    defects in their label files, or with labels that are not read, are left out. ``shapes`` are
    the class of each shape that is drawn, all by their own names unless told otherwise. ``count``
    images are drawn, as many as there are good parts unless told otherwise; with more the parts
    come in turn, with other defects. There is one split, "train": trained together with a dataset
    of real defects, they are judged by the real ones.

    Raises DataError for an unknown shape, no good part, and a folder that is taken or read.
    """
    shapes = {shape: shape for shape in SHAPES} if shapes is None else shapes
    for shape in shapes:
        if shape not in SHAPES:
            raise DataError(unknown("shape", shape, SHAPES))
    parts = _good_parts(good, data_root, on_event)
    count = len(parts) if count is None else count
    _check_numbers(count, seed)
    names = tuple(dict.fromkeys(shapes.values()))
    found: list[list[str]] = []
    keep_apart(out, {path.parent for path in parts})
    keep_out_of_datasets(out)
    with whole_folder(out, overwrite) as folder:
        for index in range(count):
            photo = read_image(parts[index % len(parts)])
            drawn = draw_onto(photo, seed, index, tuple(shapes))
            classes = [tuple(shapes.values())[label] for label in drawn.labels]
            labels = np.array([names.index(name) for name in classes], np.int64)
            _write(folder, index, replace(drawn, labels=labels))
            found.append(classes)
            on_event(Progress("draw defects", index + 1, count))
        write_index(folder, names, {"train": [_image_path(index) for index in range(count)]})
        report = ConvertReport(out, names, {"train": count_split(found, names)})
        write_report(folder, report, format="synth", seed=seed, onto=good, shapes=dict(shapes))
    return report


def _good_parts(good: str, data_root: Path | None, on_event: Listener) -> list[Path]:
    """The images of a folder, or of what a dataset trains on, of which no label file has a row."""
    folder = Path(good)
    if folder.is_dir() and not (folder / "data.yaml").is_file():
        parts, lines = _unmarked(folder)
        for line in lines:
            on_event(Message(line, "warning"))
        more = f": {lines[-1]}" if lines and not parts else ""
    else:
        split = load_split(find_dataset(good, data_root), "train")
        pairs = zip(split.paths, split.labels, strict=True)
        parts, more = [path for path, labels in pairs if not len(labels.labels)], ""
    if not parts:
        raise DataError(f"{good!r} has no good part to draw on{more or _GIVE}")
    return parts


def _unmarked(folder: Path) -> tuple[list[Path], list[str]]:
    """The images below ``folder`` in which nothing was drawn, and what to say of the others."""
    left = LeftOut()
    masks, drawn = marked_by_masks(folder)
    everything = sorted(images_below(folder, left))
    found = [image for image in everything if image not in masks]
    marked = {image for image in found if any(read_rows(label_path(image)))}
    unread = find_unread(found, found, LabelReader(found, ANY_CLASS))
    known = marked | set(unread.elsewhere)
    free = [image for image in found if not label_path(image).is_file() and image not in known]
    named = named_in_sets(folder, free)
    masked = [image for image in free if image in drawn]
    lines = [*left.lines(), *unread.doubts(len(found))]
    of = f"of {counted(len(found), 'image')}"
    if marked:
        lines.append(f"not drawn on {len(marked)} {of}: rows in their label files")
    if unread.elsewhere:
        why = f"their label files are not where they are looked for, first {unread.first()}"
        lines.append(f"not drawn on {len(unread.elsewhere)} {of}: {why}")
    if len(everything) > len(found):
        count = counted(len(everything) - len(found), "mask")
        lines.append(f"not drawn on {count} of images: kdlnet data convert masks reads them")
    if masked:
        why = (
            "their masks mark something: use kdlnet data convert masks, and draw onto what it makes"
        )
        lines.append(f"not drawn on {len(masked)} {of}: {why}")
    if named:
        file, command = next(iter(named.values()))
        why = (
            f"{str(file)!r} names them, another tool's: use {command}, and draw onto what it makes"
        )
        lines.append(f"not drawn on {len(named)} {of}: {why}")
    known |= {*masked, *named}
    return [image for image in found if image not in known], lines


def _split(count: int, val_share: float, test_share: float) -> dict[str, range]:
    """Image numbers of each split; a split with a share above 0 has at least one."""
    val = max(1, round(count * val_share)) if val_share > 0 else 0
    test = max(1, round(count * test_share)) if test_share > 0 else 0
    train = count - val - test
    if train < 1:
        asked = counted(count, "image")
        raise DataError(f"{asked} and none to train on: raise --count or lower the shares")
    ranges = {
        "train": range(train),
        "val": range(train, train + val),
        "test": range(train + val, count),
    }
    return {split: numbers for split, numbers in ranges.items() if numbers}


def _image_path(index: int) -> Path:
    return Path("images", f"{index:06d}.png")


def _write(folder: Path, index: int, drawn: SynthImage) -> None:
    file = folder / _image_path(index)
    rows = folder / "labels" / f"{index:06d}.txt"
    file.parent.mkdir(exist_ok=True)
    rows.parent.mkdir(exist_ok=True)
    height, width = drawn.image.shape[:2]
    colours = drawn.image.reshape(height, width, -1)[..., ::-1]
    # Level 1: noisy textures hardly shrink further, and writing takes most of the time.
    _, data = cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    file.write_bytes(data.tobytes())
    boxes = drawn.boxes / [width, height, width, height]
    outlines = [outline / (width, height) for outline in drawn.outlines]
    write_rows(rows, boxes, drawn.labels, outlines)


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
    _check_numbers(count, seed)
    if min(image_size) < _SMALLEST_IMAGE:
        raise DataError(f"image size {image_size}: each side has at least {_SMALLEST_IMAGE} pixels")
    if not all(0 <= share <= 1 for share in shares) or shares[0] + shares[1] >= 1:
        raise DataError(f"shares {shares}: each is from 0 to 1, val and test together below 1")
    if not 0 < contrast <= _MOST_CONTRAST:
        raise DataError(f"contrast {contrast:g}: above 0 and at most {_MOST_CONTRAST:g}")


def _check_numbers(count: int, seed: int) -> None:
    if count < 1 or not 0 <= seed < 2**64:
        raise DataError(f"count {count} and seed {seed}: count is 1 or more, seed 0 or more")
