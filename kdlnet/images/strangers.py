"""What a file is that is no image that can be read, by its first bytes."""

from __future__ import annotations

_SAVE = "save it as JPEG or PNG"
_STARTS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the image: fetch it with git lfs pull",
    b"%PDF": f"is a PDF document: {_SAVE}",
    b"%!PS": f"is a PostScript document: {_SAVE}",
    b"8BPS": f"is a Photoshop document: {_SAVE}",
    b"PK\3\4": "is a ZIP archive: unpack it",
    b"\x1f\x8b": "is compressed with gzip: unpack it",
    b"7z\xbc\xaf": "is a 7-Zip archive: unpack it",
    b"Rar!": "is a RAR archive: unpack it",
    b"\xff\x0a": f"is a JPEG XL image: {_SAVE}",
    b"\0\0\0\x0cJXL ": f"is a JPEG XL image: {_SAVE}",
    b"\x93NUMPY": f"is an array of NumPy: {_SAVE}",
    b"\x89HDF": f"is an HDF5 file: {_SAVE}",
    b"\x1aE\xdf\xa3": "is a video: give it a video's suffix",
    b"SQLite format": "is a database, no image: remove it",
}
_FAMILIES = {  # of what begins with a box "ftyp", ISO base media
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"): (
        f"is a HEIC photograph: {_SAVE}"
    ),
    (b"avif", b"avis"): f"is an AVIF image: {_SAVE}",
    (b"crx ",): f"is a raw photograph: {_SAVE}",
}
_STARTS_OF_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_STRAY = 64  # bytes before an image, from a copy in text mode or a web server
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")


def what_it_is(data: bytes) -> str:
    """The rest of a sentence that begins with the file's name; "" where nothing is known."""
    for start, text in _STARTS.items():
        if data.startswith(start):
            return text
    if data[4:8] == b"ftyp":
        family = (text for brands, text in _FAMILIES.items() if data[8:12] in brands)
        return next(family, "is a video: give it a video's suffix")
    if data[128:132] == b"DICM":
        return f"is a DICOM file: {_SAVE}"
    if not any(data):
        return "holds nothing but zeros: copy it again or remove it"
    for start in _STARTS_OF_IMAGES:
        stray = data[: _STRAY + len(start)].find(start)
        if stray > 0:
            return f"has {stray} stray bytes before the image: download or copy it again"
    return _text(data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower())


def _text(start: bytes) -> str:
    if start.startswith(_PAGES):
        return "is a web page, not the image: download it again"
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return f"is an SVG drawing: {_SAVE}"
    if start.startswith(b"<?xml"):
        return "is an XML file, no image: remove it, or download the image again"
    if start[:1] in (b"{", b"["):
        return "is a JSON text, no image: download it again"
    try:
        start[:1000].decode("ascii")
    except UnicodeDecodeError:
        return ""
    return "is a text, not an image: download it again or remove it"
