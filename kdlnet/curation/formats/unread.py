"""What an import passes over: pictures and annotations in forms that it does not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kdlnet.images.folder import files_below, unread_below, unread_line
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.manifest import REPORT_NAME
from kdlnet.utils.paths import unpack_first

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
    others = list(_annotations_below(roots[-1], read))
    if others:
        counts = sorted(Counter(file.suffix.lower() for file in others).items())
        found = ", ".join(f"{count} {suffix}" for suffix, count in counts)
        first = str(others[0].relative_to(roots[-1]))
        yield f"annotations that an import of {format} does not read: {found}, first {first!r}"


def still_packed(folder: Path) -> str:
    """What to do with a folder that holds an archive in place of images and annotations.

    "" for any other, also for an archive that lies beside what was in it.
    """
    files, told = list(files_below(folder, closed={})), IMAGE_SUFFIXES | _ANNOTATIONS | _TEXTS
    if any(file.suffix.lower() in told for file in files):
        return ""
    return next(filter(None, map(unpack_first, files)), "")


def _annotations_below(folder: Path, read: Set[str]) -> Iterator[Path]:
    """The files that may say of images what is in them, those with suffixes ``read`` apart.

    A text, which may be anything, does when it is called like an image.
    """
    files = [file for file in files_below(folder) if file.name != REPORT_NAME]
    images = {file.stem for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    for file in files:
        suffix = file.suffix.lower()
        told = suffix in _ANNOTATIONS or (suffix in _TEXTS and file.stem in images)
        if told and suffix not in read:
            yield file
