"""Letterboxed images in their native type, decoded once."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.errors import DataError, KdlnetError
from kdlnet.images.letterbox import letterbox
from kdlnet.images.read import ImageArray, is_grey, read_image, to_channels
from kdlnet.images.roi import looked_at
from kdlnet.images.tiles import Tile
from kdlnet.images.window import bits
from kdlnet.types import Letterbox, Preprocess
from kdlnet.utils.files import reserve

_READERS = 4
_RESIDENT_SHARE = 0.2
_AHEAD = 64  # letterboxed images that wait; of tiled ones, as many as there are readers

View = tuple[ImageArray, Letterbox]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the network sees at one position: ``tile`` (None: all) of image number ``image``.

    ``letterbox`` maps pixels of that image to pixels of the network input.
    """

    image: int
    tile: Tile | None
    letterbox: Letterbox


class ImageStore:
    """The letterboxed images of a split: ``store[indices]`` gives (n, H, W, channels) pixels.

    ``mode`` is ``ram``, ``disk`` (a memory-mapped file in the system's temporary folder, gone with
    the process) or ``none`` (decoded at every call, once for all tiles of an image that the call
    and, in order, the next one ask for). Past ``budget_gb`` ``ram`` becomes ``disk``.
    Grey images are held with one channel, whatever their file says; ``channels`` tells how many.

    A position is an image, or with ``tiles``, one list a path, a tile of one: ``samples`` tells
    which, ``paths`` are the images that they count.

    Every image is decoded once here. Those that cannot be are left out: ``kept`` holds the
    positions of the others among ``paths``, ``unreadable`` one line an image. Raises DataError when
    none is left, at the first one with ``strict``, and for an image of another bit depth.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        preprocess: Preprocess,
        mode: str = "ram",
        budget_gb: float = 4.0,
        strict: bool = False,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        tiles: Sequence[Sequence[Tile]] | None = None,
    ) -> None:
        self.paths: list[Path] = []
        self.kept: list[int] = []
        self.unreadable: list[str] = []
        self.samples: list[Sample] = []
        self.preprocess = preprocess
        self.channels = 1
        self.dtype: np.dtype[Any] | None = None
        self._pixels: ImageArray | None = None
        self._resident: Tensor | None = None  # all pixels, on a CUDA device
        self._recent: tuple[int, ImageArray] | None = None  # position among paths, decoded
        self.mode = mode
        self._budget = budget_gb * 1e9
        views: Sequence[Sequence[Tile | None]] = tiles or [[None]] * len(paths)
        self._capacity = sum(len(each) for each in views)
        self._fill(list(paths), views, strict, on_progress)
        if not self.kept:
            raise DataError(f"no readable image among {len(paths)}: {self.unreadable[0]}")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        if self._pixels is not None:
            return torch.from_numpy(self._pixels[np.asarray(indices)])
        return torch.from_numpy(self._decoded_again([int(index) for index in indices]))

    def on(self, device: torch.device | str, indices: NDArray[np.int64]) -> Tensor:
        """The same on ``device``: a CUDA device with room to spare holds all of them from then on.

        There they need not be copied again in every epoch.
        """
        device = torch.device(device)
        if self._resident is None or self._resident.device.type != device.type:
            if not self._fits(device):
                return self[indices].to(device, non_blocking=True)
            self._resident = torch.from_numpy(self._pixels).to(device)
        return self._resident[torch.from_numpy(indices).to(self._resident.device)]

    def _fits(self, device: torch.device) -> bool:
        """Whether ``device`` may hold all pixels: they take a small share of what is free there."""
        if device.type != "cuda" or self.mode != "ram" or self.dtype != np.uint8:
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return self._pixels is not None and self._pixels.nbytes < _RESIDENT_SHARE * free

    def _decoded_again(self, indices: list[int]) -> ImageArray:
        """Pixels (n, H, W, channels) from the files, each decoded once for all of its tiles.

        The last image is kept until the next call: in order, its other tiles are asked for there.
        """
        rows_of: dict[int, list[int]] = {}
        for row, index in enumerate(indices):
            rows_of.setdefault(self.samples[index].image, []).append(row)
        pixels = np.empty((len(indices), *self.preprocess.image_size, self.channels), self.dtype)
        last, recent = self.samples[indices[-1]].image, self._recent

        def show(image: int) -> None:
            held = recent is not None and recent[0] == image
            decoded = recent[1] if recent and held else read_image(self.paths[image])
            for row in rows_of[image]:
                view, _ = letterbox(decoded, self.preprocess, self.samples[indices[row]].tile)
                pixels[row] = to_channels(view, self.channels)
            if image == last and self.preprocess.tiling is not None:
                self._recent = image, decoded

        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(show, rows_of))
        return pixels

    def _fill(
        self,
        paths: list[Path],
        views: Sequence[Sequence[Tile | None]],
        strict: bool,
        on_progress: Callable[[int, int], None],
    ) -> None:
        for position, found in enumerate(self._decoded(paths, views)):
            if isinstance(found, DataError):
                if strict:
                    raise found
                self.unreadable.append(str(found))
            else:
                for tile, (image, geometry) in zip(views[position], found, strict=True):
                    self._add(paths[position], image)
                    self.samples.append(Sample(len(self.paths), tile, geometry))
                self.paths.append(paths[position])
                self.kept.append(position)
            on_progress(position + 1, len(paths))

    def _decoded(
        self, paths: list[Path], views: Sequence[Sequence[Tile | None]]
    ) -> Iterator[list[View] | DataError]:
        def attempt(position: int) -> list[View] | DataError:
            try:
                return self._load(paths[position], views[position])
            except DataError as error:
                return error

        ahead = _READERS if self.preprocess.tiling else _AHEAD
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(paths), ahead):
                yield from pool.map(attempt, range(start, min(start + ahead, len(paths))))

    def _load(self, path: Path, tiles: Sequence[Tile | None]) -> list[View]:
        image = read_image(path)
        looked_at(image.shape[:2], self.preprocess.roi, f"image {str(path)!r}")
        return [letterbox(image, self.preprocess, tile) for tile in tiles]

    def _add(self, path: Path, image: ImageArray) -> None:
        self._check_depth(path, image)
        if self.channels == 1 and self.preprocess.channels == 3 and not is_grey(image):
            self._widen()
        if self.mode != "none":
            if self._pixels is None:
                self._pixels = self._allocate(image.dtype)
            self._pixels[len(self)] = to_channels(image, self.channels)

    def _check_depth(self, path: Path, image: ImageArray) -> None:
        """One window cannot serve two depths: 16 bits would be white, or 8 bits black."""
        self.dtype = self.dtype or image.dtype
        low, high = self.preprocess.window
        found, allowed = bits(image.dtype), self.preprocess.depth or bits(self.dtype)
        if image.dtype != self.dtype or found != allowed:
            raise DataError(
                f"image {str(path)!r} has {found} bits, those before it have {allowed} and the "
                f"intensity window {low:g} to {high:g}: give all images of a dataset one bit depth"
            )

    def _widen(self) -> None:
        self.channels = 3
        if self._pixels is not None:
            done, grey = len(self), self._pixels
            self._pixels = self._allocate(grey.dtype)
            self._pixels[:done] = grey[:done]

    def _allocate(self, dtype: np.dtype[Any]) -> ImageArray:
        shape = (self._capacity, *self.preprocess.image_size, self.channels)
        size = math.prod(shape) * dtype.itemsize
        if self.mode == "ram" and size > self._budget:
            self.mode = "disk"
        if self.mode == "ram":
            return np.zeros(shape, dtype)
        handle, name = tempfile.mkstemp(suffix=".cache")
        try:
            reserve(handle, size)
        except OSError as error:
            Path(name).unlink()
            raise KdlnetError(
                f"no room for the image cache of {size / 1e9:.1f} GB in {tempfile.gettempdir()!r} "
                f"({error.strerror}): set TMPDIR to a larger disk, or train with --cache none"
            ) from None
        finally:
            os.close(handle)
        # Not "w+", which empties the file first and so gives its room back.
        pixels: ImageArray = np.memmap(name, dtype=dtype, mode="r+", shape=shape)
        if os.name == "posix":
            Path(name).unlink()
        return pixels
