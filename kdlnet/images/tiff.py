"""How many images a TIFF file holds, from its directories alone.

Adobe, TIFF Revision 6.0 (1992), sections 2 and 8; BigTIFF is its form with offsets of 64 bits.
"""

from __future__ import annotations

import struct

_KIND, _WIDTH, _HEIGHT = 254, 256, 257
_REDUCED_OR_MASK = 1 | 4  # bits of the tag NewSubfileType
_SHORT, _LONG, _LONG8 = 3, 4, 16
_ORDERS = {b"II": "<", b"MM": ">"}


def count_pages(data: bytes) -> int:
    """The pages in the bytes of a TIFF file, without previews and masks; 1 for any other file.

    A preview says so in the file or has at most half the sides of the first page. Of a file that
    is cut off the directories before the cut count.
    """
    order = _ORDERS.get(data[:2])
    if order is None or data[2:4] not in (b"*\0", b"\0*", b"+\0", b"\0+"):
        return 1
    sizes: list[tuple[int, int]] = []
    try:
        wide = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        offset = struct.unpack_from(f"{order}Q" if wide else f"{order}I", data, 8 if wide else 4)[0]
        seen: set[int] = set()
        while offset and offset not in seen:
            seen.add(offset)
            tags, offset = _directory(data, offset, order, wide)
            preview = bool(sizes) and tags.get(_KIND, 0) & _REDUCED_OR_MASK
            if not preview:
                sizes.append((tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)))
    except (struct.error, OverflowError):  # the second for offsets that no machine can address
        pass
    # A half is rounded up by most writers.
    whole = [
        size for size in sizes if all(2 * s > f + 1 for s, f in zip(size, sizes[0], strict=True))
    ]
    return max(1, len(whole))


def _directory(data: bytes, offset: int, order: str, wide: bool) -> tuple[dict[int, int], int]:
    """Kind and size of the page whose directory is at ``offset``, and where the next one is."""
    count_form, entry_form, next_form = ("Q", "HHQ", "Q") if wide else ("H", "HHI", "I")
    value_at, entry = (12, 20) if wide else (8, 12)
    count = struct.unpack_from(order + count_form, data, offset)[0]
    first = offset + struct.calcsize(order + count_form)
    tags = {}
    # The next directory's place comes before a loop over as many entries as a broken file claims.
    following = struct.unpack_from(order + next_form, data, first + count * entry)[0]
    forms = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
    for start in range(first, first + count * entry, entry):
        tag, kind, _ = struct.unpack_from(order + entry_form, data, start)
        if tag > _HEIGHT:  # they are sorted
            break
        if tag in (_KIND, _WIDTH, _HEIGHT) and kind in forms:
            tags[tag] = struct.unpack_from(order + forms[kind], data, start + value_at)[0]
    return tags, following
