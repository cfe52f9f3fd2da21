"""Letterboxed images in their native type, decoded once."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.data.letterbox import letterbox
from kdlnet.data.read import ImageArray, is_grey, read_image, to_channels
from kdlnet.errors import DataError, KdlnetError
from kdlnet.types import Letterbox, Preprocess

_WINDOW_OF_DTYPE = {"uint8": 255.0, "uint16": 65535.0}
_READERS = 4


class ImageStore:
    """The letterboxed images of a split: ``store[indices]`` gives (n, H, W, channels) pixels.

    ``mode`` is ``ram``, ``disk`` (a memory-mapped file in the system's temporary folder, gone with
    the process) or ``none`` (decoded at every call). Past ``budget_gb`` ``ram`` becomes ``disk``.
    Grey images are held with one channel, whatever their file says; ``channels`` tells how many.

    Every image is decoded once here. Those that cannot be are left out: ``kept`` holds the
    positions of the others among ``paths``, ``unreadable`` one line an image. Raises DataError when
    none is left, or at the first one with ``strict``.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        preprocess: Preprocess,
        mode: str = "ram",
        budget_gb: float = 4.0,
        strict: bool = False,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.paths: list[Path] = []
        self.kept: list[int] = []
        self.unreadable: list[str] = []
        self.letterboxes: list[Letterbox] = []
        self.preprocess = preprocess
        self.channels = 1
        self.dtype: np.dtype[Any] | None = None
        self._pixels: ImageArray | None = None
        self.mode = mode
        self._budget = budget_gb * 1e9
        self._fill(list(paths), strict, on_progress)
        if not self.kept:
            raise DataError(f"no readable image among {len(paths)}: {self.unreadable[0]}")

    def __getitem__(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        if self._pixels is not None:
            return torch.from_numpy(self._pixels[np.asarray(indices)])
        with ThreadPoolExecutor(_READERS) as pool:
            pixels = list(pool.map(lambda i: self._load(self.paths[i])[0], indices))
        return torch.from_numpy(np.stack([to_channels(image, self.channels) for image in pixels]))

    def _fill(
        self, paths: list[Path], strict: bool, on_progress: Callable[[int, int], None]
    ) -> None:
        for position, found in enumerate(self._decoded(paths)):
            if isinstance(found, DataError):
                if strict:
                    raise found
                self.unreadable.append(str(found))
            else:
                self._add(paths[position], *found, len(paths))
                self.kept.append(position)
            on_progress(position + 1, len(paths))

    def _decoded(self, paths: list[Path]) -> Iterator[tuple[ImageArray, Letterbox] | DataError]:
        def attempt(path: Path) -> tuple[ImageArray, Letterbox] | DataError:
            try:
                return self._load(path)
            except DataError as error:
                return error

        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(paths), 64):
                yield from pool.map(attempt, paths[start : start + 64])

    def _load(self, path: Path) -> tuple[ImageArray, Letterbox]:
        return letterbox(read_image(path), self.preprocess)

    def _add(self, path: Path, image: ImageArray, geometry: Letterbox, capacity: int) -> None:
        if self.dtype is None:
            self.dtype = image.dtype
        if image.dtype != self.dtype:
            raise KdlnetError(
                f"image {str(path)!r} is {image.dtype}, those before it are {self.dtype}: "
                "give the images of a split one bit depth"
            )
        if self.channels == 1 and self.preprocess.channels == 3 and not is_grey(image):
            self._widen(capacity)
        if self.mode != "none":
            if self._pixels is None:
                self._pixels = self._allocate(capacity, image.dtype)
            self._pixels[len(self.paths)] = to_channels(image, self.channels)
        self.paths.append(path)
        self.letterboxes.append(geometry)

    def _widen(self, capacity: int) -> None:
        self.channels = 3
        if self._pixels is not None:
            done, grey = len(self.paths), self._pixels
            self._pixels = self._allocate(capacity, grey.dtype)
            self._pixels[:done] = grey[:done]

    def _allocate(self, capacity: int, dtype: np.dtype[Any]) -> ImageArray:
        shape = (capacity, *self.preprocess.image_size, self.channels)
        size = math.prod(shape) * dtype.itemsize
        if self.mode == "ram" and size > self._budget:
            self.mode = "disk"
        if self.mode == "ram":
            return np.zeros(shape, dtype)
        handle, name = tempfile.mkstemp(suffix=".cache")
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)  # a full disk says so now, not as a crash later
        except OSError as error:
            Path(name).unlink()
            raise KdlnetError(
                f"no room for the image cache of {size / 1e9:.1f} GB in {tempfile.gettempdir()!r} "
                f"({error.strerror}): use --cache none or set TMPDIR to a larger disk"
            ) from None
        finally:
            os.close(handle)
        pixels: ImageArray = np.memmap(name, dtype=dtype, mode="w+", shape=shape)
        if os.name == "posix":
            Path(name).unlink()
        return pixels


def default_window(dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """The full range of an image type: (0, 255) or (0, 65535)."""
    return 0.0, _WINDOW_OF_DTYPE[dtype.name]


def measured_window(paths: Sequence[Path]) -> tuple[float, float]:
    """The intensity window of a training set: (0, 255) for 8-bit images.

    For deeper ones (0, 2 ** k - 1), k the fewest bits (at least 9) that hold every pixel: cameras
    of 10, 12 or 14 bits write 16-bit files that are nearly black otherwise. Images that cannot be
    read are passed over; if none can, the answer is (0, 255).
    """
    highest, deep = 0, False
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(paths), 64):
            for dtype, peak in pool.map(_peak, paths[start : start + 64]):
                if dtype == "uint8":
                    return default_window(np.dtype(dtype))
                highest, deep = max(highest, peak), deep or bool(dtype)
    bits = max(9 if deep else 8, highest.bit_length())
    return 0.0, float(2**bits - 1)


def _peak(path: Path) -> tuple[str, int]:
    """Type and brightest pixel of an image; ("", 0) when it cannot be read."""
    try:
        image = read_image(path)
    except DataError:
        return "", 0
    return image.dtype.name, 0 if image.dtype == np.uint8 else int(image.max())
