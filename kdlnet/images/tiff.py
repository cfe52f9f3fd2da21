"""What the directories of a TIFF file say: its pages, and the layout of the first one.

Adobe, TIFF Revision 6.0 (1992); BigTIFF is its form with offsets of 64 bits. Pillow is not asked:
it does not open half floats, five bands or a cut file, so the cause could not be named, and it
cuts 16 bits of colour to 8. The orientation in EXIF is a directory of this kind, too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import mmap

KIND, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
BIT_ORDER, STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES = 266, 273, 274, 277, 278, 279
PLANAR, PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT = 284, 317, 320, 322, 323
TILES, TILE_BYTES, EXTRA, FORMAT, JPEG_TABLES = 324, 325, 338, 339, 347
_REDUCED_OR_MASK = 1 | 4  # bits of the tag KIND
_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 16: "Q", 17: "q"}  # whole ones
_ORDERS = {b"II": "<", b"MM": ">"}
_MOST_PAGES = 100_000

Tags = dict[int, tuple[int, ...]]
Content = bytes | mmap
"""The bytes of a file, in memory or on disk."""


@dataclass(frozen=True, slots=True)
class Directories:
    """How a file writes numbers: byte ``order`` of :mod:`struct`, ``wide`` for BigTIFF."""

    order: str
    wide: bool
    first: int

    @classmethod
    def of(cls, data: Content) -> Directories | None:
        """Those of the bytes of a file, None if it is no TIFF."""
        order = _ORDERS.get(data[:2])
        if order is None or data[2:4] not in (b"*\0", b"\0*", b"+\0", b"\0+"):
            return None
        try:
            wide = struct.unpack_from(f"{order}H", data, 2)[0] == 43
            place = (f"{order}Q", 8) if wide else (f"{order}I", 4)
            return cls(order, wide, struct.unpack_from(place[0], data, place[1])[0])
        except struct.error:
            return None

    def read(
        self, data: Content, offset: int, wanted: frozenset[int] | None = None
    ) -> tuple[Tags, int]:
        """The whole numbers of a directory by tag, of ``wanted`` tags, and where the next one is.

        A tag without a number, which only damage leaves, is left out.
        Raises struct.error or OverflowError where it leads out of the file.
        """
        count_form, entry_form, next_form = ("Q", "HHQ", "Q") if self.wide else ("H", "HHI", "I")
        inline = 8 if self.wide else 4
        entry = struct.calcsize(self.order + entry_form) + inline
        count = struct.unpack_from(self.order + count_form, data, offset)[0]
        first = offset + struct.calcsize(self.order + count_form)
        # The next one's place comes before a loop over as many entries as a broken file claims.
        following = struct.unpack_from(self.order + next_form, data, first + count * entry)[0]
        tags: Tags = {}
        for start in range(first, first + count * entry, entry):
            tag, kind, length = struct.unpack_from(self.order + entry_form, data, start)
            form = _FORMS.get(kind)
            if form is None or (wanted is not None and tag not in wanted):
                continue
            place = start + entry - inline
            if length * struct.calcsize(form) > inline:
                place = struct.unpack_from(self.order + next_form, data, place)[0]
            if 0 < length <= len(data):  # as many as there could be
                tags[tag] = struct.unpack_from(f"{self.order}{length}{form}", data, place)
        return tags, following


def first_page(data: Content) -> Tags:
    """The whole numbers of the first directory; none where it cannot be read."""
    found = Directories.of(data)
    try:
        return found.read(data, found.first)[0] if found else {}
    except (struct.error, OverflowError):
        return {}


def orientation(tags: Tags) -> int:
    """1 to 8 as EXIF counts; 1 where it is missing or out of range."""
    values = tags.get(ORIENTATION, ())
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else 1


def count_pages(data: Content) -> int:
    """The pages in the bytes of a TIFF file, without previews and masks; 1 for any other file.

    A preview says so in the file or has at most half the sides of the first page. Of a file that
    is cut off the directories before the cut count.
    """
    form = Directories.of(data)
    if form is None:
        return 1
    sizes: list[tuple[int, int]] = []
    offset, seen = form.first, set[int]()
    try:
        while offset and offset not in seen and len(seen) < _MOST_PAGES:
            seen.add(offset)
            tags, offset = form.read(data, offset, frozenset({KIND, WIDTH, HEIGHT}))
            kind, width, height = (tags.get(tag, (0,))[0] for tag in (KIND, WIDTH, HEIGHT))
            if not (sizes and kind & _REDUCED_OR_MASK):
                sizes.append((width, height))
    except (struct.error, OverflowError):  # the second for offsets that no machine can address
        pass
    return max(1, sum(not is_preview(size, sizes[0]) for size in sizes))


def is_preview(size: tuple[int, int], first: tuple[int, int]) -> bool:
    """Whether a picture has at most half a side of the first; a half is rounded up by most."""
    return any(2 * side <= full + 1 for side, full in zip(size, first, strict=True))


def with_directory(data: bytes, tags: Tags) -> bytes:
    """The bytes of a TIFF file, little-endian, whose only directory is a new one at its end.

    What the offsets in ``tags`` lead to stays where it is. Raises struct.error past 4 GB.
    """
    start = len(data) + len(data) % 2
    tail_start = start + 2 + 12 * len(tags) + 4
    rows, tail = b"", b""
    for tag, values in sorted(tags.items()):
        kind, form = (7, "B") if tag == JPEG_TABLES else (3, "H")
        if max(values, default=0) > 0xFFFF:
            kind, form = 4, "I"
        body = struct.pack(f"<{len(values)}{form}", *values)
        rows += struct.pack("<HHI", tag, kind, len(values))
        if len(body) > 4:
            rows += struct.pack("<I", tail_start + len(tail))
            tail += body + bytes(len(body) % 2)
        else:
            rows += body.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + rows + bytes(4)
    head = b"II*\0" + struct.pack("<I", start)
    return b"".join((head, data[8:], bytes(len(data) % 2), directory, tail))
