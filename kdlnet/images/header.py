"""What the bytes of an image file say before they are decoded: format, size, turn, pictures.

One look for all who ask, so that the size in a header and the pixels never disagree. The turn is
that of EXIF; orientation in XMP is left alone, by header and pixels alike, as most viewers do.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from kdlnet.images import tiff
from kdlnet.images.tiff import Content
from kdlnet.types import ImageSize

MOST_PIXELS = 2**30  # of OpenCV
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SIZED = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # start of frame, of any coding
SCAN = 0xDA
_THUMBNAILS = frozenset({0x010001, 0x010002})  # of CIPA DC-007, multi-picture format
_CUT = "is truncated: copy it again or remove it"


class Unfit(Exception):
    """What is wrong with an image and the fix: the rest of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class Header:
    """``size`` (H, W) as stored, None where only a decoder knows; ``turn`` 1 to 8 as EXIF counts.

    ``format`` is "" for what is none of JPEG, PNG, TIFF, WebP, BMP and GIF. ``pictures`` leaves
    previews, thumbnails and gain maps out.
    """

    format: str = ""
    size: ImageSize | None = None
    turn: int = 1
    pictures: int = 1

    @property
    def shown(self) -> ImageSize | None:
        """(H, W) as turned."""
        if self.size is None or self.turn < 5:
            return self.size
        return self.size[1], self.size[0]


def look(data: Content) -> Header:
    """The header in the bytes of a file, cut off or not. Nothing is refused here."""
    for start, read in _READERS.items():
        if data[: len(start)] == start:
            try:
                return read(data)
            except (struct.error, IndexError, OverflowError, ValueError):
                return Header(read.__name__.removeprefix("_").upper())
    return Header()


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of the content of a PNG's chunks.

    Raises Unfit where one is cut off or does not fit its check sum.
    """
    offset = len(_PNG)
    while True:
        if offset + 12 > len(data):
            raise Unfit(_CUT)
        length, kind = struct.unpack_from(">I4s", data, offset)
        end = offset + 8 + length
        if end + 4 > len(data):
            raise Unfit(_CUT)
        # A view: the whole of the pixels is not copied.
        if zlib.crc32(memoryview(data)[offset + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise Unfit("is damaged: its check sum is wrong; copy it again or remove it")
        yield kind, offset + 8, length
        if kind == b"IEND":
            return
        offset = end + 4


def jpeg_segments(data: Content) -> Iterator[tuple[int, int, int]]:
    """Marker, start and length of the content of a JPEG's segments, to the first scan."""
    offset = 2
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        length = struct.unpack_from(">H", data, offset + 2)[0]
        yield marker, offset + 4, length - 2
        if marker == SCAN or length < 2:
            return
        offset += 2 + length


def _jpeg(data: Content) -> Header:
    size, turn, pictures = None, 1, 1
    for marker, start, length in jpeg_segments(data):
        if marker in _SIZED:
            height, width = struct.unpack_from(">HH", data, start + 1)
            size = height, width
        elif marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            turn = _exif_turn(data[start + 6 : start + length])
        elif marker == 0xE2 and data[start : start + 4] == b"MPF\0":
            pictures = _more_pictures(data, start + 4, length - 4)
    if size is None or not all(size):  # a height of 0 stands after the scan
        return Header("JPEG", None, turn, pictures)
    return Header("JPEG", size, turn, pictures)


def _more_pictures(data: Content, start: int, length: int) -> int:
    """The pictures of a multi-picture JPEG, without thumbnails and those of half a side or less.

    A phone's gain map and a camera's preview lie behind the photograph in the same file.
    """
    content = data[start : start + length]
    entries = bytes(tiff.first_page(content).get(0xB002, ()))
    sizes, order = [], "<" if content[:2] == b"II" else ">"
    for place in range(0, len(entries) - 15, 16):
        kind, _, offset = struct.unpack_from(f"{order}III", entries, place)
        first = 0 if not offset else start + offset
        found = next(
            (
                struct.unpack_from(">HH", data[first : first + 2**16], inner + 1)
                for marker, inner, _ in jpeg_segments(data[first : first + 2**16])
                if marker in _SIZED
            ),
            None,
        )
        if kind & 0xFFFFFF not in _THUMBNAILS and found:
            sizes.append(found)
    return max(1, sum(not tiff.is_preview(size, sizes[0]) for size in sizes))


def _png(data: Content) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    turn, pictures, offset = 1, 1, len(_PNG)
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"eXIf":
            turn = _exif_turn(data[offset + 8 : offset + 8 + length])
        elif kind == b"acTL":
            pictures = struct.unpack_from(">I", data, offset + 8)[0]
        elif kind == b"IEND":
            break
        offset += 12 + length
    return Header("PNG", (height, width), turn, max(1, pictures))


def _webp(data: Content) -> Header:
    size, turn, pictures, offset = None, 1, 0, 12
    while offset + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, offset)
        start = offset + 8
        if kind == b"VP8X":
            width, height = (
                int.from_bytes(data[start + at : start + at + 3], "little") for at in (4, 7)
            )
            size = height + 1, width + 1
        elif kind == b"VP8 " and size is None:
            width, height = struct.unpack_from("<HH", data, start + 6)
            size = height & 0x3FFF, width & 0x3FFF
        elif kind == b"VP8L" and size is None:
            numbers = struct.unpack_from("<I", data, start + 1)[0]
            size = (numbers >> 14 & 0x3FFF) + 1, (numbers & 0x3FFF) + 1
        elif kind == b"EXIF":
            turn = _exif_turn(data[start : start + length].removeprefix(b"Exif\0\0"))
        elif kind == b"ANMF":
            pictures += 1
        offset = start + length + length % 2
    return Header("WEBP", size, turn, max(1, pictures))


def _bmp(data: Content) -> Header:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("BMP", (abs(height), width))


def _gif(data: Content) -> Header:
    """Pictures by their descriptors; extensions and their blocks are stepped over."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    offset, pictures = 13 + _colours(flags), 0
    while offset < len(data) and data[offset] in (0x21, 0x2C):
        if data[offset] == 0x2C:
            pictures += 1
            offset += 11 + _colours(data[offset + 9])
        else:
            offset += 2
        while offset < len(data) and data[offset]:
            offset += data[offset] + 1
        offset += 1
    return Header("GIF", (height, width), 1, max(1, pictures))


def _colours(flags: int) -> int:
    """Bytes of the colour table that ``flags`` announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _tiff(data: Content) -> Header:
    tags = tiff.first_page(data)
    width, height = (tags.get(tag, (0,))[0] for tag in (tiff.WIDTH, tiff.HEIGHT))
    size = (height, width) if width and height else None
    return Header("TIFF", size, tiff.orientation(tags), tiff.count_pages(data))


def _exif_turn(content: bytes) -> int:
    return tiff.orientation(tiff.first_page(content))


_READERS = {
    _JPEG: _jpeg,
    _PNG: _png,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"GIF8": _gif,
}
