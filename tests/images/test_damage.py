"""Damaged and strange files: what a decoder can see is refused by name, and nothing is printed."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from kdlnet.errors import DataError
from kdlnet.images import tiff
from kdlnet.images.quiet import quiet
from kdlnet.images.read import image_size, read_image


def picture() -> Image.Image:
    random = np.random.default_rng(0)
    noise = cv2.GaussianBlur(random.integers(0, 255, (120, 160, 3), np.uint8), (0, 0), 2)
    return Image.fromarray(cv2.normalize(noise, noise, 0, 255, cv2.NORM_MINMAX))


def written(format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, format, **options)
    return buffer.getvalue()


def damaged(data: bytes, kind: str, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    if kind == "flip":
        changed[place] ^= 1 << bit
    elif kind == "hole":
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    elif kind == "tail":
        changed[place:] = bytes(len(changed) - place)
    else:
        del changed[place:]
    return bytes(changed)


SEEN = {  # the least share of damage that is refused: all where there are check sums
    ("png", "flip"): 1.0,
    ("png", "hole"): 1.0,
    ("png", "tail"): 1.0,
    ("png", "cut"): 1.0,
    ("jpeg", "flip"): 0.1,  # the rest decodes to another picture, without a word of the library
    ("jpeg", "hole"): 0.4,
    ("jpeg", "tail"): 1.0,
    ("jpeg", "cut"): 1.0,
    ("progressive", "hole"): 0.9,
    ("deflate", "flip"): 1.0,
    ("deflate", "hole"): 1.0,
    ("lzw", "hole"): 0.9,
    ("lzw", "cut"): 1.0,
    ("tiff", "cut"): 1.0,
    ("jpeg in tiff", "hole"): 0.4,
    ("jpeg in tiff", "cut"): 1.0,
    ("webp", "cut"): 1.0,
    ("bmp", "cut"): 1.0,
}
FILES = {
    "png": ("png", {}),
    "jpeg": ("jpeg", {"quality": 90}),
    "progressive": ("jpeg", {"quality": 90, "progressive": True}),
    "deflate": ("tiff", {"compression": "tiff_adobe_deflate"}),
    "lzw": ("tiff", {"compression": "tiff_lzw"}),
    "jpeg in tiff": ("tiff", {"compression": "jpeg"}),
    "tiff": ("tiff", {}),
    "webp": ("webp", {}),
    "bmp": ("bmp", {}),
}


def test_damage_that_makes_a_block_longer_is_refused(tmp_path: Path) -> None:
    """Every second hole in a strip led to more bytes, of which the first looked like a picture."""
    file, random = tmp_path / "part.tif", np.random.default_rng(1)
    image = np.asarray(picture())
    tifffile.imwrite(file, image, photometric="rgb", compression="zlib", rowsperstrip=120)
    assert np.array_equal(read_image(file), image)
    data = file.read_bytes()
    for place in random.integers(len(data) // 5, len(data) * 9 // 10, 20):
        file.write_bytes(damaged(data, "hole", int(place), 0))
        with pytest.raises(DataError, match="copy it again"):
            read_image(file)


def test_a_last_strip_may_be_as_high_as_the_others(tmp_path: Path) -> None:
    file, image = tmp_path / "a.tif", np.asarray(picture())
    tifffile.imwrite(file, image, photometric="rgb", compression="zlib", rowsperstrip=40)
    data = file.read_bytes()
    shorter = tiff.with_directory(data, tiff.first_page(data) | {tiff.HEIGHT: (100,)})
    file.write_bytes(shorter)
    assert np.array_equal(read_image(file), image[:100])


@pytest.mark.parametrize(("name", "kind"), SEEN)
def test_damage_that_can_be_seen_is_refused(
    tmp_path: Path, name: str, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    format, options = FILES[name]
    data, random, refused = written(format, **options), np.random.default_rng(1), 0
    (tmp_path / "whole").write_bytes(data)
    read_image(tmp_path / "whole")
    for _ in range(40):
        place = int(random.integers(len(data) // 5, len(data) * 9 // 10))
        changed = damaged(data, kind, place, int(random.integers(8)))
        (tmp_path / "part").write_bytes(changed)
        try:
            read_image(tmp_path / "part")
        except DataError as error:
            refused += 1
            assert "part' is" in str(error) and "copy it again" in str(error)
    assert refused >= SEEN[name, kind] * 40
    assert capfd.readouterr() == ("", "")


STRANGE = {
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "HEIC photograph: save it as",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9": "git lfs pull",
    b"\xef\xbb\xbf\r\n<!DOCTYPE HTML><title>404</title>": "web page.*download it again",
    b"<?xml version='1.0'?><svg xmlns='x'/>": "SVG drawing",
    b"<?xml version='1.0'?><annotation/>": "XML file",
    b'{"error": 404}': "JSON",
    b"%PDF-1.7": "PDF",
    b"PK\3\4" + bytes(99): "ZIP archive: unpack it",
    bytes(999): "nothing but zeros: copy it again",
    b"\r\n" + b"\xff\xd8\xff\xe0": "2 stray bytes before the image",
    bytes(128) + b"DICM": "DICOM",
    b"Not Found": "is a text, not an image",
    b"": r"is empty \(0 bytes\)",
}


@pytest.mark.parametrize("content", STRANGE)
def test_the_cause_is_told(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    for look in (read_image, image_size):
        with pytest.raises(DataError, match=rf"a\.jpg' .*{STRANGE[content]}") as caught:
            look(file)
        assert "allowed are" not in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_picture_past_the_limit_is_named_before_it_is_decoded(tmp_path: Path) -> None:
    data = bytearray(written("bmp"))
    data[18:26] = (60_000).to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(DataError, match="60000 x 60000 pixels, 1,073,741,824 are allowed"):
        read_image(tmp_path / "a.bmp")


def test_threads_leave_opencv_as_loud_as_it_was() -> None:
    level = getattr(cv2, "getLogLevel", None) or cv2.utils.logging.getLogLevel
    before = level()

    def work(_: int) -> int:
        with quiet():
            return level()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(200))) == {0}
    assert level() == before
