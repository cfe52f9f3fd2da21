"""Bytes of small files changed at random: what cannot be read is refused by name, always."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdlnet.errors import DataError
from kdlnet.images.read import image_size, palette_indices, read_image

TRIES = 60
SHAPE = (13, 17)


def stored(format: str, mode: str = "RGB", **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def masked_bmp(bits: int, masks: tuple[int, int, int]) -> bytes:
    """A BMP of 4 x 2 pixels whose colours are where ``masks`` say."""
    pixels = bytes(range(bits))
    start, width, height, kind = 14 + 40 + 12, 4, 2, 3
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(pixels), 0, 0, 0, 0)
    return head + struct.pack("<III", *masks) + pixels


def one_tag_tiff(tag: int, length: int) -> bytes:
    """A TIFF whose only tag announces ``length`` numbers."""
    entry = struct.pack("<HHII", tag, 3, length, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


SEEDS = {
    "bmp": stored("BMP"),
    "bmp with a palette": stored("BMP", "P"),
    "bmp of 16 bits": masked_bmp(16, (0xF800, 0x7E0, 0x1F)),
    "bmp of 32 bits": masked_bmp(32, (0xFF0000, 0xFF00, 0xFF)),
    "png": stored("PNG"),
    "png with a palette": stored("PNG", "P"),
    "jpeg": stored("JPEG"),
    "tiff": stored("TIFF"),
    "tiff with a palette": stored("TIFF", "P"),
    "tiff, CMYK": stored("TIFF", "CMYK"),
    "tiff, lzw": stored("TIFF", compression="tiff_lzw"),
    "tiff, deflate": stored("TIFF", compression="tiff_adobe_deflate"),
    "tiff, jpeg": stored("TIFF", compression="jpeg"),
    "tiff, group 4": stored("TIFF", "1", compression="group4"),
}
BROKEN = {
    "masks of more bits than a pixel": masked_bmp(16, (0xF80000, 0x7E0, 0x1F)),
    "a width of no number": one_tag_tiff(256, 0),
    "bits of no number": one_tag_tiff(258, 0),
    "a height of no number": one_tag_tiff(257, 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_numbers_that_cannot_be_are_damage(tmp_path: Path, name: str) -> None:
    (tmp_path / "part").write_bytes(BROKEN[name])
    with pytest.raises(DataError, match="part' is truncated or damaged: copy it again"):
        read_image(tmp_path / "part")
    if "no number" in name:
        with pytest.raises(DataError, match="part' is truncated or damaged"):
            image_size(tmp_path / "part")


@pytest.mark.filterwarnings("ignore:::PIL")  # Pillow's remarks on a palette's file
@pytest.mark.parametrize("name", SEEDS)
def test_nothing_but_a_data_error_leaves_the_readers(tmp_path: Path, name: str) -> None:
    """One such file among thousands is skipped by name; any other error would end the run."""
    random, seed, refused = np.random.default_rng(3), SEEDS[name], 0
    file = tmp_path / "part"
    file.write_bytes(seed)
    read_image(file)
    ends = np.concatenate([np.arange(min(len(seed), 200)), np.arange(len(seed))[-200:]])
    for _ in range(TRIES):
        changed = bytearray(seed)
        for place in random.choice(ends, int(random.integers(1, 5))):
            changed[place] = random.choice([0, 1, 127, 128, 255, random.integers(256)])
        file.write_bytes(changed)
        for reader in (read_image, image_size, palette_indices):
            try:
                reader(file)
            except DataError as error:
                refused += 1
                assert "\n" not in str(error)
    assert refused
