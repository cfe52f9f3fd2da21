"""From camera pixels to pictures a person can look at, and into files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError, KdlnetError
from kdlnet.events import Listener, Message
from kdlnet.images.read import ImageArray, read_image
from kdlnet.utils.files import write_atomic

Image = NDArray[np.uint8]

MIN_SIDE = 400  # a picture whose short side is below this is enlarged
MAX_SIDE = 4000  # but its long side never beyond this


def read_again(path: Path, on_event: Listener) -> ImageArray | None:
    """The pixels of an image that was measured; None, which is told, where it is gone or damaged
    since: it costs its picture and no figures."""
    try:
        return read_image(path)
    except DataError as error:
        on_event(Message(f"a picture is missing: {error}", "warning"))
        return None


@contextmanager
def after(figures: Path) -> Iterator[None]:
    """An error of what is drawn within says that ``figures`` are written."""
    try:
        yield
    except KdlnetError as error:
        raise type(error)(f"{error} (the figures are in {str(figures)!r})") from None


def to_display(image: NDArray[Any], window: tuple[float, float] | None = None) -> Image:
    """(H, W), (H, W, 1) or (H, W, 3) RGB of any depth -> a fresh (H, W, 3) uint8.

    ``window`` holds the intensities shown as black and white. Without one, uint8 is shown as
    it is and deeper images from their own darkest to their own brightest pixel.
    """
    pixels = image[:, :, None] if image.ndim == 2 else image
    if window is None and pixels.dtype != np.uint8:
        window = (float(pixels.min()), float(pixels.max()))
    if window is not None and (window != (0.0, 255.0) or pixels.dtype != np.uint8):
        low, high = window
        scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
        pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    # A copy for colour, too: the caller may draw on the result.
    grey = pixels.shape[2] == 1
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if grey else pixels.copy(), np.uint8)


def enlargement(height: int, width: int) -> int:
    """Whole factor by which a small image is shown larger: 200x200 gives 2, 3000x2000 gives 1."""
    wanted = -(-MIN_SIDE // min(height, width))
    return max(1, min(wanted, MAX_SIDE // max(height, width)))


def enlarge(image: Image, factor: int) -> Image:
    """Every pixel becomes ``factor`` x ``factor`` pixels: nothing is smoothed away or invented."""
    if factor == 1:
        return image
    size = factor * image.shape[1], factor * image.shape[0]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def save_image(path: Path, image: ImageArray) -> None:
    """Write (H, W, 1) or (H, W, 3) RGB as the suffix says (.png, .jpg, ...), whole or not at all.

    Works for any path the file system knows. Raises KdlnetError for a suffix without a writer
    and when the file cannot be written.
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix.lower() in (".jpg", ".jpeg") else []
    pixels = np.ascontiguousarray(image)
    try:
        if pixels.shape[2] == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(path.suffix, pixels, quality)
    except cv2.error:
        done = False
    if not done:
        raise KdlnetError(
            f"cannot write a picture as {path.name!r}: unknown suffix {path.suffix!r}; "
            "use .png or .jpg"
        )
    write_atomic(path, data.tobytes())
