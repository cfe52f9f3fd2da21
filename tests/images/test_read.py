from __future__ import annotations

import io
import os
import time

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from kdlnet.errors import DataError
from kdlnet.images.read import image_size, is_grey, palette_indices, read_image, to_channels


def picture(height=40, width=60, channels=3, dtype=np.uint8):
    rng = np.random.default_rng(3)
    limit = np.iinfo(dtype).max
    return rng.integers(0, limit, (height, width, channels), dtype=dtype, endpoint=True)


def encoded(image, suffix, *parameters):
    array = image[:, :, ::-1] if image.shape[2] == 3 else image
    return cv2.imencode(suffix, np.ascontiguousarray(array), list(parameters))[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_files_come_back_exactly(tmp_path, suffix, channels, dtype):
    if suffix == ".bmp" and dtype == np.uint16:
        pytest.skip("BMP has 8 bits")
    image = picture(channels=channels, dtype=dtype)
    file = tmp_path / f"image{suffix}"
    file.write_bytes(encoded(image, suffix))
    found = read_image(file)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image)
    assert image_size(file) == (40, 60)


def test_twelve_bit_ramp_keeps_its_levels(tmp_path):
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64, 1)
    file = tmp_path / "ramp.png"
    file.write_bytes(encoded(ramp, ".png"))
    assert len(np.unique(read_image(file))) == 4096


def test_grey_stored_as_three_channels_stays_three(tmp_path):
    image = np.repeat(picture(channels=1), 3, axis=2)
    file = tmp_path / "grey.png"
    file.write_bytes(encoded(image, ".png"))
    assert read_image(file).shape == (40, 60, 3)
    assert is_grey(read_image(file))


def test_alpha_is_dropped_and_red_stays_red(tmp_path):
    file = tmp_path / "alpha.png"
    Image.new("RGBA", (5, 4), (250, 20, 10, 128)).save(file)
    np.testing.assert_array_equal(read_image(file)[0, 0], [250, 20, 10])
    assert read_image(file).shape == (4, 5, 3)


@pytest.mark.parametrize("kind", ["LA", "P", "1", "CMYK"])
def test_other_modes_become_one_or_three_channels(tmp_path, kind):
    file = tmp_path / ("a.jpg" if kind == "CMYK" else "a.png")
    Image.fromarray(picture()).convert(kind).save(file)
    assert read_image(file).shape[2] in (1, 3)
    assert read_image(file).dtype == np.uint8


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, format, orientation):
    # Pillow's exif_transpose is the reference; a smooth picture keeps lossy decoders close.
    smooth = cv2.GaussianBlur(picture(), (0, 0), 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"rotated.{format}"
    Image.fromarray(smooth).save(file, format, exif=exif)
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = read_image(file)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert image_size(file) == expected.shape[:2]


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_jpeg_is_an_error_that_names_the_file(tmp_path, progressive, share):
    data = encoded(picture(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    file = tmp_path / "cut.jpg"
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"cut\.jpg.*truncated") as caught:
        read_image(file)
    assert "\n" not in str(caught.value)


def test_every_cut_of_a_jpeg_is_refused_or_complete(tmp_path):
    data = encoded(cv2.GaussianBlur(picture(), (0, 0), 2), ".jpg")
    whole = tmp_path / "whole.jpg"
    whole.write_bytes(data)
    expected = read_image(whole)
    refused = 0
    for length in range(1, len(data), 7):
        file = tmp_path / "cut.jpg"
        file.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(file), expected)
        except DataError:
            refused += 1
    assert refused > len(data) / 7 - 3


def test_thumbnail_with_its_own_end_mark_does_not_hide_a_cut(tmp_path):
    thumbnail = encoded(picture(16, 16), ".jpg")
    data = encoded(picture(), ".jpg")
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    file = tmp_path / "cut.jpg"
    file.write_bytes(data[:2] + segment + data[2:])
    assert read_image(file).shape == (40, 60, 3)
    file.write_bytes(data[:2] + segment + data[2 : len(data) // 2])
    with pytest.raises(DataError, match="truncated"):
        read_image(file)


def test_cuts_are_found_even_where_the_decoder_fills_the_rest(tmp_path, monkeypatch):
    # OpenCV 4 returns grey filler for a truncated JPEG, OpenCV 5 refuses it.
    filler = np.zeros((40, 60, 3), np.uint8)
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: filler)
    thumbnail = encoded(picture(16, 16), ".jpg")
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    jpeg, png = encoded(picture(), ".jpg"), encoded(picture(), ".png")
    cuts = [jpeg[: len(jpeg) // 2], jpeg[:2] + segment + jpeg[2 : len(jpeg) // 2], jpeg[:9]]
    for data in [*cuts, png[: len(png) // 2]]:
        (tmp_path / "cut").write_bytes(data)
        with pytest.raises(DataError, match="truncated"):
            read_image(tmp_path / "cut")
    (tmp_path / "whole").write_bytes(jpeg)
    assert read_image(tmp_path / "whole").shape == (40, 60, 3)


def test_jpeg_with_bytes_after_its_end_is_read(tmp_path):
    data = encoded(picture(), ".jpg")
    expected = tmp_path / "whole.jpg"
    expected.write_bytes(data)
    contents = {"tail.jpg": data + b"camera notes", "zeros.jpg": data + bytes(99)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(read_image(tmp_path / name), read_image(expected))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_other_truncated_files_are_errors(tmp_path, suffix, share, capfd):
    data = encoded(picture(), suffix)
    file = tmp_path / f"cut{suffix}"
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="cut"):
        read_image(file)


def test_flipped_byte_in_a_png_is_an_error(tmp_path, capfd):
    data = bytearray(encoded(picture(), ".png"))
    data[len(data) // 2] ^= 0x5A
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.png.*damaged"):
        read_image(tmp_path / "bad.png")


@pytest.mark.parametrize("look", [read_image, image_size])
def test_what_is_no_image_gets_one_line(tmp_path, look):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is not an image")
    (tmp_path / "folder.jpg").mkdir()
    cases = {
        "empty": "empty",
        "text": "not an image",
        "folder": "is a folder",
        "none": "does not exist",
    }
    for name, words in cases.items():
        with pytest.raises(DataError, match=rf"{name}\.jpg.*{words}") as caught:
            look(tmp_path / f"{name}.jpg")
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("look", [read_image, image_size])
def test_a_pipe_is_refused_where_reading_it_would_wait(tmp_path, look):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png' is a pipe: give an image file"):
        look(tmp_path / "pipe.png")


def test_float_image_is_refused(tmp_path):
    file = tmp_path / "float.tif"
    cv2.imwrite(str(file), np.ones((4, 4), np.float32))
    with pytest.raises(DataError, match="floating-point numbers of 32 bits"):
        read_image(file)


@pytest.mark.parametrize("name", ["Zürich 東京.PNG", "a.b c..JPG", "#1.bmp"])
def test_unusual_names(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(encoded(picture(), file.suffix.lower()))
    assert read_image(file).shape == (40, 60, 3)
    assert image_size(file) == (40, 60)


def test_size_of_a_huge_image_needs_no_decoding(tmp_path):
    # 100 megapixels: above the size at which Pillow warns, and warnings are errors here.
    file = tmp_path / "huge.png"
    Image.new("1", (10_000, 10_000)).save(file)
    assert image_size(file) == (10_000, 10_000)


def test_channels_change_without_loss_for_grey():
    grey = picture(channels=1, dtype=np.uint16)
    three = to_channels(grey, 3)
    assert three.shape == (40, 60, 3)
    np.testing.assert_array_equal(to_channels(three, 1), grey)
    assert to_channels(grey, 1) is grey
    # Luminance of pure green: 0.587 of it.
    green = np.zeros((2, 2, 3), np.uint8)
    green[..., 1] = 200
    assert to_channels(green, 1)[0, 0, 0] == 117


def test_one_coloured_pixel_is_not_grey():
    image = np.full((40, 40, 3), 90, np.uint8)
    assert is_grey(image)
    image[17, 5, 2] = 91
    assert not is_grey(image)
    assert is_grey(image[:, :, :1])


def test_reading_a_small_jpeg_is_fast(tmp_path):
    file = tmp_path / "small.jpg"
    file.write_bytes(encoded(cv2.GaussianBlur(picture(200, 200), (0, 0), 1), ".jpg"))
    read_image(file)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        read_image(file)
        times.append(time.perf_counter() - start)
    assert min(times) < 2e-3  # about 0.3 ms on a free core


def test_image_in_memory_equals_pillow(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "png")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_indices_of_a_palette_are_turned_as_the_picture_is(tmp_path, suffix, turn):
    indices = np.random.default_rng(turn).integers(0, 200, (6, 9)).astype(np.uint8)
    picture = Image.frombytes("P", (9, 6), indices.tobytes())
    picture.putpalette([value for value in range(256) for _ in range(3)])
    exif = Image.Exif()
    exif[0x0112] = turn
    picture.save(tmp_path / f"a{suffix}", exif=exif)
    found = palette_indices(tmp_path / f"a{suffix}")
    assert found is not None
    assert np.array_equal(found, read_image(tmp_path / f"a{suffix}")[:, :, :1])
    assert (
        found.shape[:2] == image_size(tmp_path / f"a{suffix}") == ((6, 9) if turn < 5 else (9, 6))
    )
