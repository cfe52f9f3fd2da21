"""Pages of TIFF files, counted from their directories."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from kdlnet.errors import DataError
from kdlnet.images import tiff_pixels
from kdlnet.images.read import read_image
from kdlnet.images.tiff import count_pages

PREVIEW = {254: 1}  # NewSubfileType: a smaller version of another page


def page(width=60, height=40, value=90):
    return Image.new("L", (width, height), value)


def write(file, *pages, kinds=None, **options):
    """A file with these pages; ``kinds`` are the tags of each."""
    first, *others = pages
    if kinds:
        for image, tags in zip(pages, kinds, strict=True):
            image.encoderinfo = {"tiffinfo": tags}
    first.save(file, format="TIFF", save_all=True, append_images=others, **options)
    return file


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_pages_are_counted(tmp_path, count, options):
    file = write(tmp_path / "a.tif", *[page(value=n) for n in range(count)], **options)
    assert count_pages(file.read_bytes()) == count
    with Image.open(file) as image:
        assert image.n_frames == count


def test_what_opencv_writes(tmp_path):
    pictures = [np.full((40, 60, 3), value, np.uint16) for value in (1, 2, 3)]
    cv2.imwritemulti(str(tmp_path / "a.tif"), pictures)
    assert count_pages((tmp_path / "a.tif").read_bytes()) == 3


def test_previews_are_no_pages(tmp_path):
    # 31 of 61 is a half, rounded up; 32 is not.
    for sizes, count in (([61, 31, 16], 1), ([61, 32], 2), ([61, 60], 2), ([16, 61], 2)):
        file = write(tmp_path / "a.tif", *[page(side, side) for side in sizes])
        assert count_pages(file.read_bytes()) == count, sizes
    file = write(tmp_path / "a.tif", page(), page(50, 35), kinds=[{}, PREVIEW])
    assert count_pages(file.read_bytes()) == 1
    assert read_image(file).shape == (40, 60, 1)


def test_motorola_order_broken_chains_and_other_files(tmp_path):
    entries = [(256, 4, 1, 60), (257, 4, 1, 40)]

    def directory(following):
        rows = b"".join(struct.pack(">HHII", *entry) for entry in entries)
        return struct.pack(">H", len(entries)) + rows + struct.pack(">I", following)

    length = len(directory(0))
    head = b"MM\0*" + struct.pack(">I", 8)
    assert count_pages(head + directory(8 + length) + directory(0)) == 2
    assert count_pages(head + directory(8 + length) + directory(8)) == 2, "a chain that returns"
    assert count_pages(head + directory(8 + length)) == 1, "cut off"
    assert count_pages(head + struct.pack(">H", 65535)) == 1
    for entries_claimed in (1, 2**40, 2**64 - 1):
        assert count_pages(b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, entries_claimed)) == 1
    for data in (b"", b"II", b"MM\0*", b"\x89PNG", b"IIRO" + bytes(64)):
        assert count_pages(data) == 1


def test_several_pages_are_refused_and_one_is_read(tmp_path):
    assert read_image(write(tmp_path / "one.tif", page())).shape == (40, 60, 1)
    with pytest.raises(DataError, match=r"two\.tif' holds 2 pages .* file of its own"):
        read_image(write(tmp_path / "two.tif", page(), page()))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
def test_no_memory_is_taken_for_what_a_file_cannot_hold(tmp_path, monkeypatch, compression):
    """A damaged size of 30000 x 30000: OpenCV and Pillow would make room for 900 MB first."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    whole = write(tmp_path / "a.tif", Image.fromarray(noise), compression=compression)
    assert read_image(whole).shape == (60, 60, 1)
    data = bytearray(whole.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] in (256, 257, 278):
            struct.pack_into("<HII", data, entry + 2, 4, 1, 30_000)
    whole.write_bytes(data)
    flat = write(tmp_path / "flat.tif", Image.new("L", (3000, 3000)), compression=compression)
    assert read_image(flat).shape == (3000, 3000, 1)
    for name in ("_by_opencv", "_opened"):
        monkeypatch.setattr(tiff_pixels, name, lambda data: pytest.fail("given to a decoder"))
    with pytest.raises(DataError, match="damaged"):
        read_image(whole)
