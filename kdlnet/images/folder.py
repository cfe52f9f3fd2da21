"""Image files below a folder, and which of them are results that no verb takes for input."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from errno import ELOOP
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.manifest import MARK
from kdlnet.utils.paths import asked
from kdlnet.utils.words import counted

# Pictures in other clothes: they are counted, so that nobody takes them for read.
UNREAD_SUFFIXES = frozenset(
    ".jfif .jpe .jif .jp2 .j2k .jpx .jxl .heic .heif .avif .gif .pgm .ppm .pbm .pnm .pfm .tga .psd "  # noqa: SIM905
    ".svg .ico .pcx .exr .hdr .dcm .dng .cr2 .cr3 .nef .arw .orf .raf .rw2 .raw .npy".split()
)

_SYSTEM = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})
"""What file systems keep for themselves, closed to their users."""

Closed = dict[Path, str]
"""Folders that cannot be listed, with a line for people about each."""


@dataclass(frozen=True)
class LeftOut:
    """What was found and not taken, filled while one looks: folders of ``results``, pictures that
    are not read, ``folders`` with images that a glob of images matches, too, and files that were
    named ``again``."""

    results: list[Path] = field(default_factory=list)
    unread: set[Path] = field(default_factory=set)
    folders: list[Path] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def lines(
        self, folders: str = "name them, too, or write **/* for all that is below"
    ) -> list[str]:
        """What to say of it, and to do about ``folders``; nothing of nothing."""
        lines = results_lines(self.results)
        if self.unread:
            lines.append(unread_line(self.unread))
        if self.folders:
            which = counted(len(set(map(spelled, self.folders))), "folder")
            lines.append(
                f"left out {which} with images that a glob matches, first {str(self.folders[0])!r}"
                f": {folders}"
            )
        if self.again:
            files = counted(len(self.again), "file")
            lines.append(f"named again: {files}, first {self.again[0]!r}; each counts once")
        return lines


def images_below(
    folder: Path, left: LeftOut | None = None, closed: Closed | None = None
) -> Iterator[Path]:
    """Image files in ``folder`` and below, hidden ones left out; links to folders are followed.

    Folders of results below it, told by their mark, are left out and collected in ``left``, as are
    pictures that are not read. Folders that cannot be listed are collected in
    ``closed``; without it the first one raises DataError.
    """
    left = left or LeftOut()
    for file in files_below(folder, left.results, closed):
        suffix = file.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            yield file
        elif suffix in UNREAD_SUFFIXES:
            left.unread.add(file)


def unread_below(folder: Path) -> set[Path]:
    """Files in ``folder`` and below that are pictures and are not read."""
    left = LeftOut()
    deque(images_below(folder, left), maxlen=0)
    return left.unread


def by_suffix(files: Iterable[Path]) -> dict[str, int]:
    """How many have each suffix."""
    return dict(sorted(Counter(file.suffix.lower() for file in files).items()))


def unread_line(files: Iterable[Path]) -> str:
    """What to say of pictures that are not read."""
    found = ", ".join(f"{count} {suffix}" for suffix, count in by_suffix(files).items())
    allowed = ", ".join(sorted(IMAGE_SUFFIXES))
    return f"pictures that are not read: {found}; save them as one of {allowed}"


def files_below(
    folder: Path, results: list[Path] | None = None, closed: Closed | None = None
) -> Iterator[Path]:
    """All files, in the order of their folders, as :func:`images_below`; ``results`` collects
    folders of these."""
    visited = set()
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            continue
        folders, files = _listed(parent, closed)
        if MARK in files and parent != folder:
            if results is not None:
                results.append(parent)
            continue
        visited.add(real)
        waiting += [parent / name for name in sorted(folders, reverse=True) if _counts(name)]
        yield from (parent / name for name in sorted(files) if not name.startswith("."))


def matches(pattern: str, closed: Closed | None = None) -> list[Path]:
    """The paths that ``pattern`` matches, sorted; ``closed`` as in :func:`images_below`."""
    anchor = Path(Path(pattern).anchor)  # Path.glob takes no absolute pattern before Python 3.13
    parts = Path(pattern).relative_to(anchor).parts
    looks = False
    try:
        for depth, part in enumerate(parts):  # Path.glob passes over what it cannot look into
            looks |= any(mark in part for mark in "*?[")
            if looks:
                above = Path(*parts[: depth + (part == "**")])
                for folder in anchor.glob(str(above)) if above.parts else [anchor]:
                    if (folder == anchor or _counts(folder.name)) and folder.is_dir():
                        _listed(folder, closed)
        return sorted(anchor.glob(str(Path(*parts))))
    except OSError as error:
        raise DataError(closed_line(error.filename or glob_root(pattern), error)) from None


def folders_with_images(found: Iterable[Path], pattern: str) -> Iterator[Path]:
    """Those folders among what ``pattern`` has ``found`` that images lie in or below.

    None of a pattern with ``**``, which goes into them.
    """
    for path in found if "**" not in pattern else ():
        wanted = _counts(path.name) and asked(path.is_dir) and not asked((path / MARK).exists)
        if wanted and any(images_below(path, closed={})):
            yield path


def not_whole_among(images: Iterable[Path], folders: Iterable[Path]) -> list[Path]:
    """Those of ``folders`` that hold an image that is none of ``images``."""
    taken = set(map(spelled, images))
    return [
        folder
        for folder in folders
        if any(spelled(image) not in taken for image in images_below(folder, closed={}))
    ]


def spelled(path: Path) -> str:
    """The one spelling of ``path`` by which it is compared; links as they are."""
    return os.path.normpath(path.absolute())


def closed_line(folder: Path | str, error: OSError) -> str:
    """What to say of a folder that cannot be listed."""
    reason = error.strerror or error
    return (
        f"folder {str(folder)!r} cannot be read ({reason}), so nobody knows what is in it: allow "
        "reading it, see to its drive, or move it away"
    )


def _listed(folder: Path, closed: Closed | None) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files in ``folder``; of one that is gone none."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                (folders if _is_folder(entry) else files).append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        line = closed_line(folder, error)
        if closed is None:
            raise DataError(line) from None
        closed[folder] = line
        return [], []
    return folders, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link whose target cannot be looked at is one unless it has the name of a file, or leads
    to itself: nothing is behind that."""
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno != ELOOP and not Path(entry.name).suffix


def _counts(folder: str) -> bool:
    return folder == ".." or not (folder.startswith(".") or folder in _SYSTEM)


def outside_results(paths: Iterable[Path], root: Path, results: list[Path]) -> Iterator[Path]:
    """Those of ``paths`` that lie in no folder of results below ``root``."""
    holders: dict[Path, Path | None] = {}
    for path in paths:
        if path.parent not in holders:
            holder = _holder(path, root)
            holders[path.parent] = holder
            if holder is not None and holder not in results:
                results.append(holder)
        if holders[path.parent] is None:
            yield path


def glob_root(pattern: str) -> Path:
    """The folder that everything ``pattern`` can match is below; its name may be escaped in it."""
    found = re.match(r"(?:\[[*?\[]\]|[^*?\[])*", pattern)
    fixed = re.sub(r"\[(.)\]", r"\1", found[0] if found else "")
    return Path(fixed) if fixed.endswith("/") else Path(fixed).parent


def results_lines(results: Iterable[Path]) -> list[str]:
    """A line for people about folders that were left out; none for none."""
    found = list(dict.fromkeys(results))
    if not found:
        return []
    count = "a folder" if len(found) == 1 else f"{len(found)} folders"
    return [f"left out {count} of results (with {MARK} in it), first {str(found[0])!r}"]


def _holder(path: Path, root: Path) -> Path | None:
    below = (folder for folder in path.parents if folder != root and folder.is_relative_to(root))
    return next((folder for folder in below if asked((folder / MARK).exists)), None)
