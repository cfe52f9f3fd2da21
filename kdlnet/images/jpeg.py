"""JPEG by libjpeg-turbo with its warnings heard: what it would fill in is said, not shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

FILLED = ("Corrupt JPEG", "Premature end of JPEG")
"""How libjpeg begins to say that pixels are made up."""

_SPACES = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}


def strict_jpeg(data: bytes) -> NDArray[np.uint8] | str:
    """The pixels (H, W, 1, 3 or 4), grey, RGB or CMYK, or what libjpeg says about the data."""
    try:
        space = simplejpeg.decode_jpeg_header(data)[2]
        found: NDArray[Any] = simplejpeg.decode_jpeg(data, _SPACES.get(space, "RGB"))
    except ValueError as error:
        return str(error)
    return found
