"""Image files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from kdlnet.images.read import IMAGE_SUFFIXES

# Pictures in other clothes: they are counted, so that nobody takes them for read.
UNREAD_SUFFIXES = frozenset(
    ".jfif .jpe .jif .jp2 .j2k .jpx .jxl .heic .heif .avif .gif .pgm .ppm .pbm .pnm .pfm .tga .psd "  # noqa: SIM905
    ".svg .ico .pcx .exr .hdr .dcm .dng .cr2 .cr3 .nef .arw .orf .raf .rw2 .raw .npy".split()
)


def images_below(folder: Path) -> Iterator[Path]:
    """Image files in ``folder`` and below, hidden ones left out; links to folders are followed."""
    return (file for file in files_below(folder) if file.suffix.lower() in IMAGE_SUFFIXES)


def unread_below(folder: Path) -> Counter[str]:
    """How many files with each suffix in ``folder`` and below are pictures that are not read."""
    suffixes = (file.suffix.lower() for file in files_below(folder))
    return Counter(suffix for suffix in suffixes if suffix in UNREAD_SUFFIXES)


def unread_line(counts: Mapping[str, int]) -> str:
    """What to say of them."""
    found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    allowed = ", ".join(sorted(IMAGE_SUFFIXES))
    return f"pictures that are not read: {found}; save them as one of {allowed}"


def files_below(folder: Path) -> Iterator[Path]:
    """All files, in the order of their folders, as :func:`images_below`."""
    visited = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)
