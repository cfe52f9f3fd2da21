"""Segmentation masks: every connected region of a mask becomes one box with its outline.

The class is the name of the folder, the last one above the image that is not a mere container
such as ``Imgs`` or ``masks``; or the file name without its number; or the value of the pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.formats.boxes import imported_image, size_of
from kdlnet.curation.formats.imported import (
    ImportedImage,
    ImportOptions,
    ImportResult,
    sort_out,
)
from kdlnet.curation.formats.mask_files import (
    CONTAINERS,
    MASK_FOLDERS,
    MaskFiles,
    find_masks,
    folders_below,
)
from kdlnet.curation.formats.regions import regions_of
from kdlnet.curation.formats.shapes import Shape, Unusable
from kdlnet.data.labels import LabelProblem
from kdlnet.data.other_tools import folders_in, image_folder_in
from kdlnet.errors import DataError
from kdlnet.images.read import ImageArray, alpha_varies, is_grey, palette_indices, read_image
from kdlnet.utils.text import plain
from kdlnet.utils.words import counted

# What counts the images of a class: "_12", " (3)", "-004".
_NUMBER = re.compile(r"[\s_.-]*[(\[]?\d+[)\]]?$")
_MOST_VALUES = 64  # more are soft edges or noise, not classes


@dataclass(frozen=True)
class _Lost:
    """A region of ``area`` pixels that becomes no box."""

    reason: str
    name: str
    area: int


def import_masks(source: Path, options: ImportOptions) -> ImportResult:
    """All images below ``source`` that have a mask or lie in a ``good`` folder.

    A mask has the image's name (with ``_mask`` or ``_gt`` after it, if anything) and is a PNG
    beside a JPEG or lies in a folder such as ``masks``. With ``images`` all images are below that
    folder and all masks below ``source``, in the same folders of both. Images with neither are
    left out: whether they are good is not known. So are images and masks of which several fit each
    other, and those of ``good`` folders whose mask marks something. Once ``good`` is given, so are
    images of other folders whose mask is empty. Raises DataError when there is no mask, no folder
    is ``good``, or ``values`` would name no class.
    """
    if options.values and options.class_from != "value":
        raise DataError(
            f"values name classes of pixel values, but class_from is {options.class_from!r}: "
            "leave one out, or give class_from='value'"
        )
    root = options.images or source
    found = find_masks(source, root)
    if not found.mask_of and not found.unclear:
        how = (
            f"in {str(source)!r} and {str(root)!r} names and folders must be the same"
            if root != source
            else "a mask is a PNG beside a JPEG of the same name, NAME_mask.png, or the same name "
            "in a folder 'masks' or 'ground_truth'"
        )
        raise DataError(f"no masks below {str(source)!r}: {how}")
    _check_good(root, found.images, options)
    imported = [_image(root, image, found, options) for image in found.images]
    for reason, masks in (("ambiguous", found.unclear_masks), ("no image", found.alone)):
        imported += [LabelProblem(mask, 0, reason, mask.name, "dropped") for mask in masks]
    return sort_out(imported)


def marked_by_masks(folder: Path) -> tuple[set[Path], set[Path]]:
    """Masks among the images below ``folder``, and the images that their masks mark.

    Masks lie among the images, or in a folder such as ``masks`` beside one such as ``images``; in
    JPEG they count, too. A mask that cannot be read marks, and so do several that fit one image:
    nobody knows.
    """
    masks: set[Path] = set()
    marked: set[Path] = set()
    for source in (folder, *_mask_folders(folder)):
        found = find_masks(source, folder, lossy=True)
        masks.update(found.mask_of.values(), found.unclear_masks)
        marked |= found.unclear.intersection(found.images)
        marked |= {image for image, mask in found.mask_of.items() if _marks(mask)}
    return masks, marked


def _mask_folders(folder: Path) -> Iterator[Path]:
    """Where the masks of the images in ``folder`` lie if they mirror ``images``."""
    folder = folder.absolute()
    at = image_folder_in(folder)
    if at is not None:
        for place in folders_in(Path(*folder.parts[:at])):
            if plain(place.name) in MASK_FOLDERS:
                yield place.joinpath(*folder.parts[at + 1 :])


def _marks(mask: Path) -> bool:
    try:
        pixels = read_image(mask)
        return bool(pixels.any()) or _in_alpha(mask, pixels)
    except DataError:
        return True


def _check_good(source: Path, images: list[Path], options: ImportOptions) -> None:
    known = {plain(word): word for image in images for word in _words(source, image, options)}
    for name in options.good:
        if plain(name) not in known:
            found = ", ".join(sorted(known.values()))
            raise DataError(f"good class {name!r} is not a folder of {str(source)!r}: {found}")


def _words(source: Path, image: Path, options: ImportOptions) -> set[str]:
    """What can tell that an image is good: its folders, or the class in its name."""
    words = set(folders_below(source, image))
    return words | {_NUMBER.sub("", image.stem)} if options.class_from == "name" else words


def _image(
    source: Path, image: Path, found: MaskFiles, options: ImportOptions
) -> ImportedImage | LabelProblem:
    folders, mask = folders_below(source, image), found.mask_of.get(image)
    good = not set(map(plain, options.good)).isdisjoint(map(plain, _words(source, image, options)))
    try:
        size = size_of(image)
        if good and mask is None and image not in found.unclear:
            return imported_image(image, size, [], image)
        if mask is None:
            reason = "ambiguous" if image in found.unclear else "no mask"
            return LabelProblem(image, 0, reason, image.name, "dropped")
        pixels = _read_mask(mask, options)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    if pixels.shape[:2] != size:
        value = f"mask {pixels.shape[1]}x{pixels.shape[0]}, image {size[1]}x{size[0]}"
        return LabelProblem(image, 0, "size", value, "dropped")
    try:
        if _in_alpha(mask, pixels):
            raise Unusable("mask in alpha")
        name = "good" if good else _class_of(image, folders, options)
        shapes, lost = _shapes(pixels, name, options)
    except Unusable as fault:
        return LabelProblem(image, 0, str(fault), mask.name, "dropped")
    if contrary := _contradiction(good, shapes, lost, options):
        return LabelProblem(image, 0, *contrary, "dropped")
    result = imported_image(image, size, shapes, mask)
    if good:  # stray pixels make no defect of it
        return result
    values = [(each.reason, f"{each.name}, area {each.area}") for each in lost]
    problems = [LabelProblem(mask, 0, reason, value, "dropped") for reason, value in values]
    return replace(result, problems=(*result.problems, *problems))


def _contradiction(
    good: bool, shapes: list[Shape], lost: list[_Lost], options: ImportOptions
) -> tuple[str, str] | None:
    """Reason and value where the folder says defect and the mask nothing, or the other way round:
    neither a good part nor a usable example."""
    regions = len(shapes) + sum(each.reason != "small region" for each in lost)
    if good and regions:
        return "marked good part", f"{counted(regions, 'region')} in its mask"
    if options.good and not good and not regions:
        largest = max((each.area for each in lost), default=0)
        return "empty mask", f"largest region has {largest} pixels"
    return None


def _shapes(
    pixels: ImageArray, name: str, options: ImportOptions
) -> tuple[list[Shape], list[_Lost]]:
    """What a mask marks, and its regions that are no shapes."""
    shapes: list[Shape] = []
    lost: list[_Lost] = []
    for own, marked in _layers(pixels, name, options):
        regions, small = regions_of(marked, options.smallest)
        shapes += [Shape(0, own, box, "mask", outline=outline) for box, outline in regions]
        lost += [_Lost("small region", own, area) for area in small]
    for area in [] if options.class_from == "value" else _faint(pixels):
        reason = "faint region" if area >= options.smallest else "small region"
        lost.append(_Lost(reason, name, area))
    return shapes, lost


def _class_of(image: Path, folders: tuple[str, ...], options: ImportOptions) -> str:
    """Class of the whole mask; Raises Unusable where the file name has none."""
    if options.class_name or options.class_from == "value":
        return options.class_name or ""
    if options.class_from == "name":
        name = _NUMBER.sub("", image.stem)
        if not name:
            raise Unusable("no class in the name")
        return name
    own = [folder for folder in folders if plain(folder) not in CONTAINERS]
    return own[-1] if own else "defect"


def _read_mask(file: Path, options: ImportOptions) -> ImageArray:
    """The mask (H, W, C); for a palette that tells classes the indices, not the colours."""
    indices = palette_indices(file) if options.class_from == "value" else None
    return read_image(file) if indices is None else indices


def _in_alpha(file: Path, pixels: ImageArray) -> bool:
    """Whether the mask in ``file`` marks by its alpha alone: all its ``pixels`` are one value."""
    return bool(pixels.min() == pixels.max()) and alpha_varies(file)


def _layers(
    pixels: ImageArray, name: str, options: ImportOptions
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Class and marked pixels (H, W) of every layer. Raises Unusable for what is no class mask.

    A pixel counts from half of the mask's range on, so that the soft edges of resized masks do
    not grow the boxes; masks of small numbers (0, 1, 2) count from 1 on.
    """
    if options.class_from != "value":
        values = pixels.max(axis=2)
        half = _full(values) // 2
        yield name, values > half if int(values.max()) > half else values > 0
        return
    colour = not is_grey(pixels)
    weights = np.array([1 << 16, 1 << 8, 1])
    codes = pixels.astype(np.int64) @ weights if colour else pixels[:, :, 0]
    found = [code for code in np.unique(codes).tolist() if code]
    if len(found) > _MOST_VALUES and not options.values:
        raise Unusable("too many values")
    for code in found:
        key = f"#{code:06x}" if colour else str(code)
        if not options.values or key in options.values:
            yield options.class_name or options.values.get(key, key), codes == code


def _faint(pixels: ImageArray) -> list[int]:
    """Areas of the 8-connected regions that end below half of the range where others do not.

    What touches a stronger region is its soft edge, and below an eighth is what compression leaves.
    """
    values = pixels.max(axis=2)
    full = _full(values)
    if int(values.max()) <= full // 2:
        return []
    _, numbers = cv2.connectedComponents((values > 0).astype(np.uint8), connectivity=8)
    areas = np.bincount(numbers[values > full // 8])
    areas[np.unique(numbers[values > full // 2])] = 0
    return [int(area) for area in areas if area]


def _full(values: ImageArray) -> int:
    return int(np.iinfo(values.dtype.name).max)
