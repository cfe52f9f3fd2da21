"""Segmentation masks: every connected region of a mask becomes one box.

The class is the name of the folder: the last one above the image that is not a mere container
such as ``Imgs`` or ``masks``.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from kdlnet.data.catalog import images_below
from kdlnet.data.formats.record import (
    Box,
    ImportOptions,
    ImportResult,
    Record,
    make_record,
    sort_out,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.data.read import ImageArray, image_size, read_image
from kdlnet.errors import DataError

_MASK_FOLDERS = frozenset(
    "mask masks ground_truth groundtruth gt segmentationclass annotations label labels".split()  # noqa: SIM905
)
_CONTAINERS = _MASK_FOLDERS | frozenset(
    "images imgs img jpegimages image train val test".split()  # noqa: SIM905
)
_MASK_ENDINGS = ("_mask", "_gt", "_label", "-mask")
_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff"})


def import_masks(source: Path, options: ImportOptions) -> ImportResult:
    """Records of all images below ``source`` that have a mask or lie in a ``good`` folder.

    A mask has the image's name (with ``_mask`` or ``_gt`` after it, if anything) and is a PNG
    beside a JPEG or lies in a folder such as ``masks``. Images with neither are left out: whether
    they are good is not known. Once ``good`` is given, so are images of other folders whose mask
    is empty. Raises DataError when there is no mask, or no folder is ``good``.
    """
    files = list(images_below(source))
    masks = _find_masks(source, files)
    if not masks:
        raise DataError(
            f"no masks below {str(source)!r}: a mask is a PNG beside a JPEG of the same name, "
            "NAME_mask.png, or the same name in a folder 'masks' or 'ground_truth'"
        )
    mask_files = set(masks.values())
    images = [file for file in files if file not in mask_files]
    _check_good(source, images, options.good)
    return sort_out(_record(source, image, masks.get(image), options) for image in images)


def _find_masks(source: Path, files: list[Path]) -> dict[Path, Path]:
    """Mask of each image that has one."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in _LOSSLESS:
            by_name[_bare(file)].append(file)
    masks = {}
    for image in files:
        folders = _folders(source, image)
        if _bare(image) != image.stem or _lowered(folders) & _MASK_FOLDERS:
            continue
        candidates = [file for file in by_name[image.stem] if _is_mask_of(source, file, image)]
        if candidates:
            masks[image] = min(candidates, key=lambda file: _distance(file, image))
    return masks


def _folders(source: Path, file: Path) -> tuple[str, ...]:
    return file.relative_to(source).parent.parts


def _lowered(folders: tuple[str, ...]) -> set[str]:
    return {folder.lower() for folder in folders}


def _bare(file: Path) -> str:
    """The stem without an ending such as ``_mask``."""
    for ending in _MASK_ENDINGS:
        if file.stem.lower().endswith(ending):
            return file.stem[: -len(ending)]
    return file.stem


def _is_mask_of(source: Path, file: Path, image: Path) -> bool:
    if file == image:
        return False
    if file.parent == image.parent:
        lossless_beside_lossy = image.suffix.lower() not in _LOSSLESS
        return _bare(file) != file.stem or lossless_beside_lossy
    theirs, ours = _lowered(_folders(source, file)), _lowered(_folders(source, image))
    # Every class folder may hold its own 001.png: the folders that name the class must agree.
    return bool(theirs & _MASK_FOLDERS) and theirs - _CONTAINERS == ours - _CONTAINERS


def _distance(file: Path, image: Path) -> tuple[int, str]:
    """Folder names that the two do not share, ``train`` against ``test`` for example."""
    ours, theirs = set(image.parent.parts), set(file.parent.parts)
    return len(ours ^ theirs), str(file)


def _check_good(source: Path, images: list[Path], good: tuple[str, ...]) -> None:
    folders = {part for image in images for part in _folders(source, image)}
    for name in good:
        if name not in folders:
            known = ", ".join(sorted(folders))
            raise DataError(f"good class {name!r} is not a folder of {str(source)!r}: {known}")


def _record(
    source: Path, image: Path, mask: Path | None, options: ImportOptions
) -> Record | LabelProblem:
    folders = _folders(source, image)
    try:
        size = image_size(image)
        if set(folders) & set(options.good):
            return make_record(image, size, [], image)
        if mask is None:
            return LabelProblem(image, 0, "no mask", image.name, "dropped")
        pixels = read_image(mask)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    if pixels.shape[:2] != size:
        value = f"mask {pixels.shape[1]}x{pixels.shape[0]}, image {size[1]}x{size[0]}"
        return LabelProblem(image, 0, "size", value, "dropped")
    name = options.class_name or _class_of(folders)
    boxes, small = _regions(pixels, options.min_area)
    if options.good and not boxes:
        # The folder says defect, the mask says nothing: neither a good part nor a usable example.
        return LabelProblem(image, 0, "empty mask", f"{name}, {image.name}", "dropped")
    record = make_record(image, size, [(0, name, box) for box in boxes], mask)
    problems = [
        LabelProblem(mask, 0, "small region", f"{name}, area {area}", "dropped") for area in small
    ]
    return Record(image, size, record.boxes, record.names, (*record.problems, *problems))


def _class_of(folders: tuple[str, ...]) -> str:
    own = [folder for folder in folders if folder.lower() not in _CONTAINERS]
    return own[-1] if own else "defect"


def _regions(mask: ImageArray, min_area: int) -> tuple[list[Box], list[int]]:
    """Boxes of the 8-connected regions of at least ``min_area`` pixels, and the smaller areas.

    A pixel counts from half of the mask's range on, so that the soft edges of resized masks do
    not grow the boxes; masks of small numbers (0, 1, 2) count from 1 on.
    """
    values = mask.max(axis=2)
    half = np.iinfo(values.dtype.name).max // 2
    peak = int(values.max())
    marked = values > half if peak > half else values > 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8)
    boxes: list[Box] = []
    small: list[int] = []
    for left, top, width, height, area in stats[1:].tolist():
        if area < min_area:
            small.append(area)
        else:
            boxes.append((left, top, left + width, top + height))
    return boxes, small
