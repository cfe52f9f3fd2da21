"""Which files of a folder kdlnet wrote, and how it left them.

The list lies in the folder itself, a line of JSON a file: ``.kdlnet`` in a folder of results,
``.kdlnet-dataset`` in a dataset. It tells what may be replaced from what a person put there or
changed since. An empty ``.kdlnet`` and a dataset without a list are those of older versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from kdlnet.utils.leftovers import TEMPORARY, abandoned

MARK = ".kdlnet"
"""In every folder of results: it may be replaced, and nothing below it is input."""

DATASET_MARK = ".kdlnet-dataset"
REPORT_NAME = "report.json"
MADE_BY = "kdlnet"
HEADER = json.dumps({"files of": "kdlnet", "version": 1}) + "\n"

_SMALL = 1 << 16
"""Bytes up to which the content itself is compared; above it size and time must do."""

_DESKTOP = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_TEXTS = frozenset({".csv", ".html", ".json", ".jsonl", ".txt", ".yaml"})
_OLD_SUFFIXES = _TEXTS | {".jpg", ".npy", ".onnx", ".png", ".pt", ".safetensors"}
_SLACK = 2.0  # seconds that a copy of an old dataset may take over its last files

Entry = dict[str, Any]
Ours = Callable[[Path], bool]


def record(path: Path, written: Path | None = None, *, grows: bool = False) -> None:
    """Notes ``path`` as written by kdlnet, in the list of the folder of results it lies in, if any.

    ``written`` is where the file is now if it has not got its name yet. A file that ``grows`` is
    ours whatever it holds, until it is recorded without.
    """
    for folder in path.absolute().parents:
        if (folder / DATASET_MARK).exists():
            return  # a dataset is listed as a whole
        mark = folder / MARK
        if mark.exists():
            if mark.stat().st_size:
                name = path.absolute().relative_to(folder).as_posix()
                with mark.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(_line(name, _entry(written or path, grows)))
            return


def listing(folder: Path) -> Iterator[str]:
    """The lines of a list of everything in ``folder``, for one that appears as a whole."""
    yield HEADER
    for path in _files(folder):
        if path.name != DATASET_MARK:
            yield _line(path.relative_to(folder).as_posix(), _entry(path))


def strangers(folder: Path) -> list[Path]:
    """Files in ``folder`` and below that kdlnet did not write, or that were changed since.

    ``folder`` is one that kdlnet made. Folders of results and datasets in it have their own lists.
    """
    judges: dict[Path, Ours] = {}

    def judge(here: Path) -> Ours:
        if here not in judges:
            judges[here] = _judge(here) or judge(here.parent)
        return judges[here]

    return [path for path in _files(folder) if not (_passing(path) or judge(path.parent)(path))]


def is_dataset(folder: Path) -> bool:
    """Whether kdlnet wrote the dataset in ``folder``: its report says so."""
    return bool(report_of(folder))


def report_of(folder: Path) -> Entry:
    """What the report of a dataset that kdlnet wrote says; empty where there is none."""
    try:
        values = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(values, dict) and values.get("made_by") == MADE_BY
    return dict(values) if ours else {}


def _files(folder: Path) -> Iterator[Path]:
    """Everything below ``folder`` but folders, sorted; links to folders are not followed.

    A folder that cannot be listed stands for what is in it.
    """
    closed: list[Path] = []
    for parent, folders, files in os.walk(
        folder, onerror=lambda error: closed.append(Path(error.filename))
    ):
        folders.sort()
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in sorted([*files, *links]))
    yield from closed


def _passing(path: Path) -> bool:
    """What nobody misses: the lists themselves, leftovers, and what file managers leave."""
    name = path.name
    if name in _DESKTOP or name in (MARK, DATASET_MARK):
        return True
    return TEMPORARY.fullmatch(name) is not None and abandoned(path)


def _judge(folder: Path) -> Ours | None:
    """What tells the files below ``folder`` apart, None where kdlnet did not make it."""
    for mark in (folder / MARK, folder / DATASET_MARK):
        if mark.is_file() and mark.stat().st_size:
            entries = _read(mark)
            return lambda path: _same(path, entries.get(path.relative_to(folder).as_posix(), ()))
    if (folder / MARK).exists():
        return lambda path: path.suffix.lower() in _OLD_SUFFIXES and not path.is_symlink()
    if is_dataset(folder):
        # An old dataset's report is its last file.
        latest = (folder / REPORT_NAME).stat().st_mtime + _SLACK
        return lambda path: path.is_symlink() or _elsewhere(path) or _time(path) <= latest
    return None


def _read(mark: Path) -> dict[str, list[Entry]]:
    """The last two entries by path: the second of them may not have come true."""
    entries: dict[str, list[Entry]] = {}
    with mark.open(encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
                path = entry["path"]
            except (ValueError, KeyError, TypeError):
                continue  # the header, or a line that a kill cut off
            before = [old for old in entries.get(path, []) if "grows" not in old]
            entries[path] = [*before[-1:], entry]
    return entries


def _line(name: str, entry: Entry) -> str:
    return json.dumps({"path": name, **entry}) + "\n"


def _entry(path: Path, grows: bool = False) -> Entry:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return {"link": str(path.readlink())}
    if grows:
        return {"grows": info.st_ino}
    if info.st_nlink == 1 and info.st_size <= _SMALL:
        return {"size": info.st_size, "digest": _digest(path)}
    inode = {"inode": info.st_ino} if info.st_nlink > 1 else {}
    return {"size": info.st_size, "time": info.st_mtime_ns, **inode}


def _same(path: Path, entries: Iterable[Entry]) -> bool:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return any(entry.get("link") == str(path.readlink()) for entry in entries)
    return any(_matches(path, info, entry) for entry in entries)


def _matches(path: Path, info: os.stat_result, entry: Entry) -> bool:
    if "grows" in entry:
        return bool(info.st_ino == entry["grows"])
    if "inode" in entry and info.st_nlink == 1:
        return False  # another name held the same bytes, and does no longer
    if info.st_nlink > 1 and info.st_ino == entry.get("inode"):
        return True  # nothing is lost with this one
    if info.st_size != entry.get("size"):
        return False
    digest = entry.get("digest")
    return bool(info.st_mtime_ns == entry["time"] if digest is None else _digest(path) == digest)


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _elsewhere(path: Path) -> bool:
    return path.stat().st_nlink > 1


def _time(path: Path) -> float:
    return path.stat().st_mtime
