"""What an import passes over: pictures and annotations in forms that it does not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kdlnet.images.folder import files_below, unread_below, unread_line
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.manifest import REPORT_NAME

_ANNOTATIONS = frozenset(
    ".xml .json .jsonl .ndjson .geojson .csv .tsv .xlsx .parquet .tfrecord .record .rec .mat "  # noqa: SIM905
    ".npz .h5 .hdf5 .pkl".split()
)
_TEXTS = frozenset({".txt", ".yaml", ".yml"})


def not_read(format: str, roots: Sequence[Path], read: Set[str]) -> Iterator[str]:
    """Lines for pictures and annotations that an import of ``format`` does not read.

    ``roots`` are the folder of the images, if it is another one, and that of the annotations;
    ``read`` are the suffixes that are read.
    """
    if unread := unread_below(roots[0]):
        yield unread_line(unread)
    others = _annotations_below(roots[-1], read)
    if others:
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        yield f"annotations that an import of {format} does not read: {found}"


def _annotations_below(folder: Path, read: Set[str]) -> Counter[str]:
    """How many files with each suffix may say of images what is in them, those ``read`` apart.

    A text, which may be anything, does when it is called like an image.
    """
    files = [file for file in files_below(folder) if file.name != REPORT_NAME]
    images = {file.stem for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    suffixes = ((file, file.suffix.lower()) for file in files)
    return Counter(
        suffix
        for file, suffix in suffixes
        if suffix not in read
        and (suffix in _ANNOTATIONS or (suffix in _TEXTS and file.stem in images))
    )
