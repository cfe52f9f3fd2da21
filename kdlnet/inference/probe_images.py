"""Images to measure with: of a split, of a folder, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kdlnet.curation.synth.image import draw_image
from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Listener, Message
from kdlnet.images.folder import LeftOut, images_below
from kdlnet.images.read import IMAGE_SUFFIXES, ImageArray, image_size, read_image
from kdlnet.images.roi import looked_at
from kdlnet.types import ImageSize, Roi
from kdlnet.utils.given import Name

MADE_UP_IMAGES = 32
"""Images of a proof without real ones."""
_SMALLEST_SIDE = 96  # pixels that a made-up surface with defects needs


def find_images(
    source: Path | None,
    data: Name | None,
    split: str,
    data_root: Path | None,
    folder: Path,
    size: ImageSize,
    on_event: Listener,
) -> tuple[str, list[Path]]:
    """``folder`` or ``data`` or ``made-up``, and the image files.

    They are those of ``source``, of the ``split`` of ``data``, or, with neither, made-up ones of
    ``size`` (H, W) that are put into ``folder``. What is left out of ``source`` is told. Raises
    ConfigError for two sources.
    """
    if source is not None and data is not None:
        raise ConfigError(f"two sources of images: {str(source)!r} and --data {data}; give one")
    if source is not None:
        left = LeftOut()
        found = _folder_images(source, left)
        for line in left.lines():
            on_event(Message(line, "warning"))
        return "folder", found
    if data is not None:
        return "data", split_images(data, split, data_root)
    return "made-up", _write_made_up(folder, size)


def split_images(name: Name, split: str, data_root: Path | None = None) -> list[Path]:
    """Images of a dataset's split; no label is read. Raises DataError as the catalog does."""
    return list_images(find_dataset(name, data_root), split)


def _folder_images(source: Path, left: LeftOut) -> list[Path]:
    """The image ``source``, or all images in that folder and below. Raises DataError for none."""
    if not source.exists():
        raise DataError(f"{str(source)!r} does not exist: give an image or a folder of images")
    if source.is_file():
        if source.suffix.lower() == ".txt":
            how = "give an image, a folder of images, or --data"
            raise DataError(f"{str(source)!r} is a list: {how}")
        return [source]
    found = sorted(images_below(source, left))
    if not found:
        allowed = "; ".join([f"allowed are {', '.join(sorted(IMAGE_SUFFIXES))}", *left.lines()])
        raise DataError(f"folder {str(source)!r} holds no image: {allowed}")
    return found


def readable(
    paths: Sequence[Path], limit: int, rois: Sequence[Roi | None], on_event: Listener
) -> list[Path]:
    """Up to ``limit`` of ``paths``, spread over them, each read once; others named and left out.

    So are those that have not all of one of ``rois``. Raises DataError when none is left.
    """
    rows = np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int)
    kept, faults = [], []
    for path in (paths[row] for row in rows):
        try:
            size = read_image(path).shape[:2]
            for roi in rois:
                looked_at(size, roi, f"image {str(path)!r}")
            kept.append(path)
        except DataError as error:
            faults.append(str(error))
            on_event(Message(f"left out: {error}", "warning"))
    if not kept:
        raise DataError(f"no readable image among {len(rows)}: {faults[0]}")
    return kept


def made_up_images(count: int, size: ImageSize) -> list[ImageArray]:
    """Grey surfaces (H, W, 1) uint8 with and without defects, always the same ones.

    They are at least 96 pixels a side.
    """
    height, width = (max(side, _SMALLEST_SIDE) for side in size)
    return [draw_image(0, index, (height, width)).image[:, :, None] for index in range(count)]


def _write_made_up(folder: Path, size: ImageSize, count: int = 8) -> list[Path]:
    """Made-up images as PNG files in ``folder``."""
    paths = []
    for number, image in enumerate(made_up_images(count, size)):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return paths


def describe_files(paths: Sequence[Path]) -> dict[str, Any]:
    """Count, suffixes, size (H, W) if all have the same, mean megapixels and kilobytes."""
    sizes = [image_size(path) for path in paths]
    return {
        "count": len(paths),
        "suffixes": sorted({path.suffix.lower() for path in paths}),
        "size": list(sizes[0]) if len(set(sizes)) == 1 else None,
        "megapixels": sum(height * width for height, width in sizes) / len(sizes) / 1e6,
        "kilobytes": sum(path.stat().st_size for path in paths) / len(paths) / 1e3,
    }
