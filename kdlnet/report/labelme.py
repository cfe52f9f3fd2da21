"""Files that LabelMe opens: one JSON per image, boxes and polygons in pixels of the image.

https://github.com/wkentaro/labelme. Written beside the images or elsewhere, never in their place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdlnet.metrics.result import Floats
from kdlnet.types import ImageSize
from kdlnet.utils.files import write_atomic


def write_labelme(
    file: Path,
    image: Path,
    size: ImageSize,
    shapes: Sequence[Mapping[str, Any]],
    flags: Mapping[str, bool] | None = None,
) -> None:
    """``shapes`` of the ``image`` of ``size`` (H, W) as the ``file`` that LabelMe opens.

    ``flags`` are ticks of the image as a whole. Raises KdlnetError where it cannot be written.
    """
    height, width = size
    document = {
        "version": "5.0.0",
        "flags": flags or {},
        "shapes": shapes,
        "imagePath": _from(file.parent, image),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    write_atomic(file, text.encode("utf-8", "surrogateescape"))


def labelme_shape(
    label: str,
    box: Sequence[float],
    words: str = "",
    outline: Floats | None = None,
    **flags: bool,
) -> Mapping[str, Any]:
    """A ``box`` (x1, y1, x2, y2), or for it the polygon ``outline`` (K, 2), with ``words``."""
    x1, y1, x2, y2 = box
    return {
        "label": label,
        "points": [[x1, y1], [x2, y2]] if outline is None else outline.tolist(),
        "group_id": None,
        "description": words,
        "shape_type": "rectangle" if outline is None else "polygon",
        "flags": flags,
    }


def _from(folder: Path, image: Path) -> str:
    """The way from ``folder``, from its own place where a link leads to it, to ``image``."""
    try:
        return Path(os.path.relpath(image.absolute(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return image.absolute().as_posix()
