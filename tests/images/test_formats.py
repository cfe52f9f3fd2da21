"""Every format x depth x layout x orientation against the picture that was written.

The writers are others than the readers: tifffile for TIFF, Pillow and hand-made files for the rest.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from kdlnet.errors import DataError
from kdlnet.images.read import image_size, read_image

HEIGHT, WIDTH = 21, 35  # odd, no multiple of a tile's side


def picture(bits: int, bands: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    dtype = np.uint8 if bits <= 8 else np.uint16
    return random.integers(0, 2**bits, (HEIGHT, WIDTH, bands), dtype=dtype)


def check(file: Path, expected: np.ndarray, tolerance: int = 0) -> None:
    found = read_image(file)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= tolerance
    assert image_size(file) == expected.shape[:2]


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """By the definition: where row 0 and column 0 of the file are seen."""
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    if rows in ("left", "right"):  # rows of the file are seen as columns
        image = image.transpose(1, 0, 2)
        rows, columns = columns, rows
    if rows == "bottom":
        image = image[::-1]
    return image[:, ::-1] if columns == "right" else image


def tiff(file: Path, image: np.ndarray, **options: object) -> Path:
    tags = options.pop("tags", ())
    data = image[:, :, 0] if image.shape[2] == 1 else image
    if options.get("planarconfig") == "separate":
        data = np.moveaxis(image, 2, 0)
    tifffile.imwrite(file, data, extratags=tags, metadata=None, **options)
    return file


STORED = {
    "plain": {},
    "strips": {"rowsperstrip": 4},
    "lzw": {"compression": "lzw", "rowsperstrip": 5},
    "lzw differences": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib", "predictor": True, "rowsperstrip": 4},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
    "tiles": {"tile": (16, 16)},
    "tiles differences": {"tile": (16, 32), "compression": "lzw", "predictor": True},
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", ["minisblack", "miniswhite", "rgb", "planes"])
def test_tiff(tmp_path: Path, colour: str, bits: int, stored: str) -> None:
    bands = 3 if colour in ("rgb", "planes") else 1
    image = picture(bits, bands)
    options = {"photometric": "rgb" if colour == "planes" else colour, **STORED[stored]}
    if colour == "planes":
        options["planarconfig"] = "separate"
    for order, big in itertools.product("<>", (False, True)):
        file = tiff(tmp_path / "a.tif", image, byteorder=order, bigtiff=big, **options)
        check(file, 2**bits - 1 - image if colour == "miniswhite" else image)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("alpha", ["unassalpha", "unspecified", "assocalpha"])
def test_tiff_with_alpha(tmp_path: Path, alpha: str, bands: int, planar: str, bits: int) -> None:
    image = picture(bits, bands + 1)
    image[0, 0, -1], image[0, 1, -1] = 0, 2**bits - 1
    options = {"photometric": "rgb" if bands == 3 else "minisblack", "planarconfig": planar}
    if alpha != "assocalpha":
        check(tiff(tmp_path / "a.tif", image, extrasamples=[alpha], **options), image[..., :bands])
        return
    image[..., -1] |= 2 ** (bits - 1)  # with little alpha little is left of a colour
    share = image[..., -1:] / (2**bits - 1)
    stored = np.round(image * share).astype(image.dtype)
    stored[..., -1] = image[..., -1]
    file = tiff(tmp_path / "a.tif", stored, extrasamples=[alpha], **options)
    check(file, image[..., :bands], tolerance=1)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("white", [0, 1])
def test_tiff_of_packed_bits(tmp_path: Path, bits: int, white: int) -> None:
    image = picture(bits, 1)
    flags = (image[..., 0, None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(flags.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    tags = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: white, 278: HEIGHT, 279: rows.size}
    tags[273] = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    (tmp_path / "a.tif").write_bytes(head + entries + bytes(4) + rows.tobytes())
    shown = image if white else (2**bits - 1 - image)
    check(tmp_path / "a.tif", shown * (255 // (2**bits - 1)) if bits < 8 else shown)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["B", "H", "I"])
def test_tiff_is_turned(
    tmp_path: Path, kind: str, planar: str, bits: int, orientation: int
) -> None:
    image = picture(bits, 3)
    tags = [(274, kind, 1, orientation, True)]
    options = {"planarconfig": planar, "photometric": "rgb", "tags": tags}
    check(tiff(tmp_path / "a.tif", image, **options), turned(image, orientation))


@pytest.mark.parametrize("kind", ["1", "P", "CMYK", "RGB", "L", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "group4", "jpeg", "tiff_lzw"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiff_of_pillow(tmp_path: Path, kind: str, compression: str, orientation: int) -> None:
    if (compression == "group4") != (kind == "1") or (compression, kind) == ("jpeg", "P"):
        pytest.skip("no such file")
    smooth = np.asarray(Image.fromarray(picture(8, 3)).resize((8, 8)).resize((WIDTH, HEIGHT)))
    image = Image.fromarray(smooth).convert(kind)
    image.save(tmp_path / "a.tif", compression=compression)
    with Image.open(tmp_path / "a.tif") as stored:
        expected = np.asarray(stored.convert("L" if kind in ("1", "L") else "RGB"))
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={274: orientation})
    check(tmp_path / "a.tif", turned(expected.reshape(HEIGHT, WIDTH, -1), orientation))


REFUSED = {
    "floating-point numbers of 16 bits": (np.zeros((9, 9), np.float16), {}),
    "floating-point numbers of 32 bits": (np.zeros((9, 9), np.float32), {}),
    "signed integers of 16 bits": (np.zeros((9, 9), np.int16), {}),
    "has 32 bits": (np.zeros((9, 9), np.uint32), {}),
    "has 5 bands": (np.zeros((9, 9, 5), np.uint8), {"photometric": "rgb"}),
    "has 4 bands": (np.zeros((9, 9, 4), np.uint8), {"photometric": "minisblack"}),
    "CMYK picture of 16 bits": (np.zeros((9, 9, 4), np.uint16), {"photometric": "separated"}),
    "holds CIELab": (np.zeros((9, 9, 3), np.uint8), {"photometric": "cielab"}),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_read_is_named(tmp_path: Path, words: str, capfd) -> None:
    image, options = REFUSED[words]
    options = {"planarconfig": "contig", **options} if image.ndim == 3 else options
    tifffile.imwrite(tmp_path / "a.tif", image, metadata=None, **options)
    with pytest.raises(DataError, match=rf"a\.tif' .*{words}.*: save ") as caught:
        read_image(tmp_path / "a.tif")
    assert "copy it again" not in str(caught.value) and capfd.readouterr() == ("", "")


def chunk(kind: bytes, content: bytes) -> bytes:
    check_sum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check_sum


def png(bits: int, kind: int, image: np.ndarray, *more: bytes) -> bytes:
    """A PNG by hand; ``kind`` 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha."""
    if bits == 16:
        rows = image.astype(">u2").reshape(HEIGHT, -1).view(np.uint8)
    elif bits == 8:
        rows = image.reshape(HEIGHT, -1)
    else:
        flags = (image[..., 0, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(flags.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("bits", "kind"),
    [*itertools.product((1, 2, 4), (0,)), *itertools.product((8, 16), (0, 2, 4, 6))],
)
@pytest.mark.parametrize("more", ["nothing", "gamma", "transparent", "profile"])
def test_png(tmp_path: Path, bits: int, kind: int, more: str, capfd) -> None:
    bands = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    image = picture(bits, bands)
    extra = {
        "nothing": [],
        "gamma": [chunk(b"gAMA", struct.pack(">I", 100_000))],
        "transparent": [chunk(b"tRNS", bytes(2 * bands))] if kind in (0, 2) else [],
        "profile": [chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200)))],
    }[more]
    (tmp_path / "a.png").write_bytes(png(bits, kind, image, *extra))
    shown = image[..., :3] if kind in (2, 6) else image[..., :1]
    check(tmp_path / "a.png", shown * (255 // (2**bits - 1)) if bits < 8 else shown)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_with_a_palette(tmp_path: Path, bits: int, transparent: bool) -> None:
    image, table = picture(bits, 1), np.random.default_rng(5).integers(0, 256, (256, 3), np.uint8)
    more = [chunk(b"PLTE", table[: 2**bits].tobytes())]
    more += [chunk(b"tRNS", bytes(range(2**bits)))] if transparent else []
    (tmp_path / "a.png").write_bytes(png(bits, 3, image, *more))
    check(tmp_path / "a.png", table[image[..., 0]])


def exif(orientation: int, kind: int, order: str = "<") -> bytes:
    """EXIF with an orientation alone; ``kind`` 1, 3 or 4: of one, two or four bytes."""
    value = struct.pack(order + {1: "B", 3: "H", 4: "I"}[kind], orientation).ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "HHHI", 1, 0x0112, kind, 1) + value + bytes(4)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_exif_of_any_type_turns(
    tmp_path: Path, format: str, order: str, kind: int, orientation: int
) -> None:
    image = np.asarray(Image.fromarray(picture(8, 3)).resize((5, 5)).resize((WIDTH, HEIGHT)))
    content, file = exif(orientation, kind, order), tmp_path / "a"
    options = {"quality": 95} if format == "jpeg" else {"lossless": True}
    prefix = b"" if format == "png" else b"Exif\0\0"
    Image.fromarray(image).save(file, format, exif=prefix + content, **options)
    check(file, turned(image, orientation), tolerance=60 if format == "jpeg" else 0)
    with Image.open(file) as stored:
        exact = np.asarray(stored)
    check(file, turned(exact, orientation))


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_orientation_in_xmp_turns_nothing(tmp_path: Path, format: str) -> None:
    image = Image.fromarray(picture(8, 3))
    if format == "png":
        (tmp_path / "a").write_bytes(
            png(8, 2, picture(8, 3), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
        )
    elif format == "tiff":
        image.save(tmp_path / "a", format, tiffinfo={700: XMP})
    else:
        image.save(tmp_path / "a", format, xmp=XMP)
    assert read_image(tmp_path / "a").shape[:2] == image_size(tmp_path / "a") == (HEIGHT, WIDTH)


MASKS = {
    "rgb": (0xFF, 0xFF00, 0xFF0000),
    "bgr": (0xFF0000, 0xFF00, 0xFF),
    "high": (0xFF000000, 0xFF0000, 0xFF00),
    "ten": (0x3FF00000, 0xFFC00, 0x3FF),
    "565": (0xF800, 0x7E0, 0x1F),
    "555": (0x7C00, 0x3E0, 0x1F),
    "bgr565": (0x1F, 0x7E0, 0xF800),
    "444": (0xF00, 0xF0, 0xF),
}


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("header", [40, 108, 124])
def test_bmp_of_masks(tmp_path: Path, header: int, upright: bool, masks: str) -> None:
    bits = 16 if max(MASKS[masks]) < 2**16 else 32
    random = np.random.default_rng(2)
    numbers, expected = np.zeros((HEIGHT, WIDTH), np.uint64), []
    for mask in MASKS[masks]:
        shift, top = (mask & -mask).bit_length() - 1, mask // (mask & -mask)
        values = random.integers(0, top, (HEIGHT, WIDTH), np.uint64, endpoint=True)
        numbers |= values << np.uint64(shift)
        expected.append(np.round(values * 255 / top))
    rows = (numbers if upright else numbers[::-1]).astype(f"<u{bits // 8}")
    body = b"".join(row.tobytes().ljust(-(-WIDTH * bits // 32) * 4, b"\0") for row in rows)
    height = -HEIGHT if upright else HEIGHT
    info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, 3, len(body), 0, 0, 0, 0)
    info = (info + struct.pack("<III", *MASKS[masks])).ljust(max(header, 52), b"\0")
    start = struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info))
    (tmp_path / "a.bmp").write_bytes(b"BM" + start + info + body)
    check(tmp_path / "a.bmp", np.stack(expected, axis=2).astype(np.uint8))
    (tmp_path / "a.bmp").write_bytes((b"BM" + start + info + body)[:-200])
    with pytest.raises(DataError, match="truncated"):
        read_image(tmp_path / "a.bmp")


def test_webp_with_alpha(tmp_path: Path) -> None:
    image = picture(8, 4)
    image[0, 0, 3] = 0
    Image.fromarray(image).save(tmp_path / "a.webp", lossless=True, exact=True)
    check(tmp_path / "a.webp", image[..., :3])


def test_jpeg_in_cmyk(tmp_path: Path) -> None:
    image = Image.fromarray(picture(8, 3)).resize((8, 8)).resize((WIDTH, HEIGHT)).convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as stored:
        check(tmp_path / "a.jpg", np.asarray(stored.convert("RGB")), tolerance=1)


def frames(count: int, side: int = 40) -> list[Image.Image]:
    return [Image.fromarray(picture(8, 3, seed)).resize((side, side)) for seed in range(count)]


@pytest.mark.parametrize("format", ["png", "webp", "gif", "tiff", "mpo"])
def test_several_pictures_are_refused_in_every_format(tmp_path: Path, format: str) -> None:
    first, *others = frames(3)
    file = tmp_path / "a.png"
    first.save(file, format, save_all=True, append_images=others)
    with pytest.raises(DataError, match=r"a\.png' holds 3 (pages|pictures) .* file of its own"):
        read_image(file)
    first.save(file, format, save_all=True, append_images=[])
    assert read_image(file).shape == (40, 40, 3)


def test_a_gain_map_behind_a_photograph_is_no_second_picture(tmp_path: Path) -> None:
    first, small = frames(1)[0], frames(1, 20)[0]
    first.save(tmp_path / "a.jpg", "mpo", save_all=True, append_images=[small])
    alone = io.BytesIO()
    first.save(alone, "jpeg")
    (tmp_path / "b.jpg").write_bytes(alone.getvalue())
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg"))
