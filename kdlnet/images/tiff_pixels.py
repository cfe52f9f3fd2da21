"""The pixels of a TIFF file's first page, 1 to 16 bits, whatever their layout.

Libraries differ in what they make of planes, MinIsWhite, alpha and 16 bits. So the compression
alone is left to them: they are shown the page as a grey picture of its bytes, and the bytes become
samples here.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from kdlnet.images import tiff
from kdlnet.images.header import Unfit
from kdlnet.images.jpeg import FILLED, strict_jpeg
from kdlnet.images.quiet import quiet
from kdlnet.images.tiff import Directories, Tags

Array = NDArray[Any]

_GREY = (0, 1)  # photometric: white is zero, black is zero
_RGB, _PALETTE, _CMYK, _YCBCR = 2, 3, 5, 6
_WHITE_IS_ZERO, _ASSOCIATED, _SEPARATE, _DIFFERENCES = 0, 1, 2, 2
_NONE, _LZW, _JPEG, _PACKBITS, _DEFLATE = 1, 5, 7, 32773, (8, 32946)
_BYTEWISE = frozenset({_NONE, _LZW, _PACKBITS, *_DEFLATE, 34925, 50000})  # LZMA, Zstandard
_GROWS = 4096  # times that LZW, and less so packbits, can make of a byte
_LARGEST = 2**32 - 2**24  # what directories of 32 bits reach, which Pillow is shown
# What a decoder needs: layout, compression, colours; 292 and 293 are CCITT's, 512 to 532 JPEG's.
_PICTURE = frozenset({*range(256, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, 317, 320})
_PICTURE |= {*range(322, 326), 338, 339, 347, *range(512, 522), 530}
_NAMES = {3: "CIELab palette", 4: "masks", 8: "CIELab", 9: "ICCLab", 10: "ITULab"}
_DAMAGED = "is truncated or damaged: copy it again or remove it"
_NUMBERS = {2: "signed integers", 3: "floating-point numbers", 5: "complex integers"}


def read_tiff(data: bytes) -> Array:
    """(H, W, 1 or 3) uint8 or uint16, alpha dropped, not turned.

    Grey of 1, 2 and 4 bits fills 8; 10, 12 and 14 keep their values in 16. Raises Unfit for a
    layout that is not read and for damaged data.
    """
    tags = tiff.first_page(data)
    if not all(tags.get(tag, (0,))[0] for tag in (tiff.WIDTH, tiff.HEIGHT)):
        raise Unfit(_DAMAGED)
    page, form = _Page(tags), Directories.of(data)
    page.check()
    if form is None or len(data) > _LARGEST:
        raise Unfit("is larger than 4 GB: cut it into parts")
    if page.compression not in _BYTEWISE or page.photometric in (_CMYK, _YCBCR):
        if page.compression == _JPEG:
            _check_jpeg(page, data)
        return _native(_picture_page(data, tags))
    samples = page.samples(data, form)
    colours = samples[..., : page.colours]
    if page.photometric == _PALETTE:
        return page.palette()[samples[..., 0]]
    if page.alpha == _ASSOCIATED:
        colours = _straight(colours, samples[..., page.colours :][..., :1])
    if page.bits < 8:
        colours = colours * np.uint8(255 // (2**page.bits - 1))
    if page.photometric == _WHITE_IS_ZERO:
        colours = (255 if page.bits < 8 else 2**page.bits - 1) - colours
    return np.require(colours, requirements=["C", "W"])


class _Page:
    """The layout of a page by its tags, as numbers with the defaults of the specification."""

    def __init__(self, tags: Tags) -> None:
        self.tags = tags
        self.width, self.height = self.one(tiff.WIDTH, 0), self.one(tiff.HEIGHT, 0)
        self.bits = self.one(tiff.BITS, 1)
        self.compression = self.one(tiff.COMPRESSION, 1)
        self.photometric = self.one(tiff.PHOTOMETRIC, 1)
        self.bands = self.one(tiff.SAMPLES, 1)
        self.separate = self.one(tiff.PLANAR, 1) == _SEPARATE and self.bands > 1
        self.predictor = self.one(tiff.PREDICTOR, 1)
        self.tiled = tiff.TILES in tags
        self.colours = 3 if self.photometric == _RGB else 1
        self.alpha = self.one(tiff.EXTRA, 0) if self.bands > self.colours else 0

    def one(self, tag: int, default: int) -> int:
        return (self.tags.get(tag) or (default,))[0]

    def blocks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the strips or tiles of all planes lie, and their sizes in bytes."""
        offsets = self.tags.get(tiff.TILES if self.tiled else tiff.STRIPS, ())
        return offsets, self.tags.get(tiff.TILE_BYTES if self.tiled else tiff.STRIP_BYTES, ())

    def blocks_of(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those of plane ``number``."""
        offsets, sizes = self.blocks()
        each = len(offsets) // (self.bands if self.separate else 1)
        part = slice(number * each, (number + 1) * each)
        return offsets[part], sizes[part]

    def check(self) -> None:
        """Raises Unfit, which names what is not read."""
        kinds = set(self.tags.get(tiff.FORMAT, (1,))) - {1, 4}
        bits = set(self.tags.get(tiff.BITS, (1,)))
        save = "save it with 8 or 16 bits, grey or RGB"
        if kinds:
            what = _NUMBERS.get(min(kinds), "numbers of an unknown kind")
            raise Unfit(f"holds {what} of {self.bits} bits: {save}")
        if len(bits) > 1:
            raise Unfit(
                f"has bands of different bits ({', '.join(map(str, sorted(bits)))}): {save}"
            )
        if self.photometric in (_CMYK, _YCBCR):
            if self.bits != 8:
                name = "CMYK" if self.photometric == _CMYK else "YCbCr"
                raise Unfit(f"is a {name} picture of {self.bits} bits: {save}")
            return
        if self.photometric not in (*_GREY, _RGB, _PALETTE):
            name = _NAMES.get(self.photometric, f"colours of kind {self.photometric}")
            raise Unfit(f"holds {name}: {save}")
        if self.bits not in (1, 2, 4, 8, 10, 12, 14, 16):
            raise Unfit(f"has {self.bits} bits: {save}")
        if not 0 <= self.bands - self.colours <= 1:
            raise Unfit(f"has {self.bands} bands: save those that matter as a grey or RGB image")
        if self.predictor not in (1, _DIFFERENCES) or (
            self.predictor == _DIFFERENCES and self.bits not in (8, 16)
        ):
            raise Unfit(f"is compressed in a way that is not read: {save}")

    def samples(self, data: bytes, form: Directories) -> Array:
        """(H, W, bands) as stored."""
        if not self.separate:
            return self._plane(data, form, 0, self.bands)
        planes = [self._plane(data, form, number, 1) for number in range(self.bands)]
        return np.concatenate(planes, axis=2)

    def _plane(self, data: bytes, form: Directories, number: int, bands: int) -> Array:
        raw = _rows_of_bytes(self, data, number, bands)
        samples = self._unpacked(raw, form.order, bands)
        if self.predictor != _DIFFERENCES:
            return samples
        whole = np.empty_like(samples)
        step = self.one(tiff.TILE_WIDTH, self.width) if self.tiled else self.width
        for start in range(0, self.width, step):
            part = slice(start, start + step)
            np.cumsum(samples[:, part], axis=1, dtype=samples.dtype, out=whole[:, part])
        return whole

    def _unpacked(self, raw: Array, order: str, bands: int) -> Array:
        """Samples (H, W, bands) from rows of bytes."""
        count = self.width * bands
        if self.bits == 8:
            found = raw
        elif self.bits == 16:
            found = raw.view(f"{order}u2").astype(np.uint16)
        else:
            flags = np.unpackbits(raw, axis=1)[:, : count * self.bits]
            kind: Any = np.uint8 if self.bits < 8 else np.uint16
            weights = (2 ** np.arange(self.bits - 1, -1, -1)).astype(kind)
            found = flags.reshape(len(raw), count, self.bits) @ weights
        return found[:, :count].reshape(self.height, self.width, bands)

    def palette(self) -> Array:
        """(2 ** bits, 3) uint8: the high bytes of the file's 16."""
        size = 2**self.bits
        colours = self.tags.get(tiff.COLOURS, ())
        if len(colours) != 3 * size:
            raise Unfit("has a palette without colours: save it as a grey or RGB image")
        table = np.array(colours, np.uint16).reshape(3, size).T
        return np.ascontiguousarray((table >> 8 if table.max() > 255 else table).astype(np.uint8))


def _rows_of_bytes(page: _Page, data: bytes, number: int, bands: int) -> NDArray[np.uint8]:
    """One plane without its compression (H, bytes of a row), by the decoder that sees damage."""
    across = bands * page.bits
    row = -(-page.width * across // 8)
    if page.tiled and page.one(tiff.TILE_WIDTH, 0) * across % 16:
        raise Unfit("has tiles that do not end with a byte: save it with 8 or 16 bits")
    if page.compression in (_LZW, _PACKBITS) and page.height * row > _GROWS * len(data):
        raise Unfit(_DAMAGED)  # before memory is taken for what the file cannot hold
    if page.compression in (*_DEFLATE, _NONE) and page.one(tiff.BIT_ORDER, 1) == 1:
        return _inflated(page, data, number, across, row)
    if row % 2 == 0 and page.compression in (_LZW, _PACKBITS):
        return _by_opencv(_shown_as(page, data, number, across, row // 2, 16))
    return np.asarray(_opened(_shown_as(page, data, number, across, row, 8)))


def _inflated(page: _Page, data: bytes, number: int, across: int, row: int) -> NDArray[np.uint8]:
    """Blocks that are plain or deflated, put into their places."""
    wide = page.one(tiff.TILE_WIDTH, 0) * across // 8 if page.tiled else row
    high = page.one(tiff.TILE_HEIGHT if page.tiled else tiff.STRIP_ROWS, page.height)
    high = high if page.tiled else min(high, page.height)
    if not wide or not high:
        raise Unfit(_DAMAGED)
    places = [(y, x) for y in range(0, page.height, high) for x in range(0, row, wide)]
    offsets, sizes = page.blocks_of(number)
    if min(len(offsets), len(sizes)) < len(places):
        raise Unfit(_DAMAGED)
    found = np.empty((page.height, row), np.uint8)
    for (y, x), offset, size in zip(places, offsets, sizes, strict=False):
        rows = high if page.tiled else min(high, page.height - y)
        content = data[offset : offset + size]
        if page.compression != _NONE:
            content = _inflate(content, high * wide)
        if len(content) < rows * wide:
            raise Unfit(_DAMAGED)
        block = np.frombuffer(content, np.uint8, rows * wide).reshape(rows, wide)
        found[y : y + high, x : x + wide] = block[: page.height - y, : row - x]
    return found


def _check_jpeg(page: _Page, data: bytes) -> None:
    """Raises Unfit for a block that Pillow would fill in without a word."""
    tables = bytes(page.tags.get(tiff.JPEG_TABLES, ()))[:-2]  # of all blocks, and an end mark
    for offset, size in zip(*page.blocks(), strict=False):
        block = data[offset : offset + size]
        said = strict_jpeg(tables + block[2:] if tables else block)
        if isinstance(said, str) and said.startswith(FILLED):
            raise Unfit(f"is damaged ({said}): copy it again or remove it")


def _inflate(content: bytes, most: int) -> bytes:
    """All bytes, their check sum compared. Damage can make more of them than a block holds."""
    try:
        found = zlib.decompressobj().decompress(content, most + 1)
    except zlib.error:
        raise Unfit(_DAMAGED) from None
    if len(found) > most:
        raise Unfit(_DAMAGED)
    return found


def _by_opencv(data: bytes) -> NDArray[np.uint8]:
    """Bytes in twos: OpenCV stops at damage in pixels of 16 bits, of 8 it fills it in."""
    try:
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise Unfit(_DAMAGED)
    return image.astype("<u2", copy=False).view(np.uint8)


def _shown_as(page: _Page, data: bytes, number: int, across: int, width: int, bits: int) -> bytes:
    """The file with a directory that shows one plane as a grey picture of ``bits``."""
    offsets, sizes = page.blocks_of(number)
    tags: Tags = {
        tiff.WIDTH: (width,),
        tiff.HEIGHT: (page.height,),
        tiff.BITS: (bits,),
        tiff.COMPRESSION: (page.compression,),
        tiff.PHOTOMETRIC: (1,),
        tiff.BIT_ORDER: (page.one(tiff.BIT_ORDER, 1),),
        tiff.SAMPLES: (1,),
        (tiff.TILES if page.tiled else tiff.STRIPS): offsets,
        (tiff.TILE_BYTES if page.tiled else tiff.STRIP_BYTES): sizes,
    }
    if page.tiled:
        tags[tiff.TILE_WIDTH] = (page.one(tiff.TILE_WIDTH, 0) * across // bits,)
        tags[tiff.TILE_HEIGHT] = (page.one(tiff.TILE_HEIGHT, 0),)
    else:
        tags[tiff.STRIP_ROWS] = (min(page.one(tiff.STRIP_ROWS, page.height), page.height),)
    return tiff.with_directory(data, tags)


def _picture_page(data: bytes, tags: Tags) -> bytes:
    """The file with a directory without what would turn the picture, EXIF or XMP."""
    return tiff.with_directory(data, {tag: tags[tag] for tag in _PICTURE & tags.keys()})


def _native(data: bytes) -> Array:
    """What Pillow makes of 8 bits that are compressed as a picture, or CMYK."""
    image = _opened(data)
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image.convert("RGB"))


def _opened(data: bytes) -> Image.Image:
    """A decoded TIFF. Not by ``Image.open``: large boards are the trade here, not an attack."""
    try:
        image = TiffImageFile(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error):
        raise Unfit(_DAMAGED) from None
    return image


def _straight(colours: Array, alpha: Array) -> Array:
    """Colours that were multiplied by alpha, as they were before; 0 where nothing shows."""
    top = np.iinfo(colours.dtype.name).max
    grown = np.round(colours * (top / np.maximum(alpha, 1).astype(np.float64)))
    return np.where(alpha > 0, np.minimum(grown, top), colours).astype(colours.dtype)
