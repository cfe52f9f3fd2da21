"""Writing files so that a kill or a full disk never leaves half of one."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, gettempdir
from typing import Any, BinaryIO

import yaml

from kdlnet.errors import KdlnetError
from kdlnet.utils.leftovers import lock, remove_folders, remove_temporary
from kdlnet.utils.manifest import record

_TEMPORARY = "kdlnet-temporary-"
_HELD = ".held"  # in a folder of that name, by who made it


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, see :func:`written_whole`."""
    with written_whole(path) as file:
        file.write(data)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Writes all the files, see :func:`written_together`."""
    with written_together(contents) as files:
        for file, data in zip(files, contents.values(), strict=True):
            file.write(data)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` once written: all of it or, after any failure, what was before.

    Missing folders are made. The bytes go to a temporary file beside ``path``, are forced to
    the disk and take its name in one step. Raises KdlnetError (disk full, not writable, a
    folder of that name) and leaves no temporary file. What a killed process left there is removed.
    """
    with written_together([path]) as (file,):
        yield file


@contextmanager
def written_together(paths: Iterable[Path]) -> Iterator[list[BinaryIO]]:
    """A file each, as :func:`written_whole` gives: none has its name before all are on the disk.

    The first is named last, and nothing is waited for between the first name and the last. Raises
    KdlnetError; then all are as before, unless it was a name that could not be taken, as that of a
    file in use on Windows: those named before it are new.
    """
    temporary = {path: path.parent / f".kdlnet-{uuid.uuid4().hex}.tmp" for path in paths}
    first = next(iter(temporary), Path())
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(_begun(*pair)) for pair in temporary.items()]
            with told(first if len(files) == 1 else first.parent):  # which of several is not known
                yield files
            for path, opened in zip(temporary, files, strict=True):
                with told(path):
                    opened.flush()
                    os.fsync(opened.fileno())  # what is full says so here
        for path, file in temporary.items():
            with told(path):
                record(path, file)
        for path, file in reversed(temporary.items()):
            with told(path):
                file.replace(path)
        for path in temporary:
            with told(path):
                _sync_folder(path.parent)
    finally:
        # Gone already if all went well; also removed on Ctrl-C.
        for file in temporary.values():
            _remove(file)


@contextmanager
def _begun(path: Path, temporary: Path) -> Iterator[BinaryIO]:
    """The new file ``temporary``, which is to become ``path``."""
    with told(path):
        if path.is_dir():
            raise KdlnetError(f"cannot write {str(path)!r}: it is a folder; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean_once(path.parent.absolute())
        with temporary.open("xb") as file:
            lock(file)
            yield file


def check_writable(path: Path) -> None:
    """Raises KdlnetError where :func:`written_whole` could not: before hours of work, not after."""
    with told(path):
        above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        with TemporaryFile(dir=above):
            pass


@contextmanager
def told(path: Path, advice: str = "") -> Iterator[None]:
    """Raises KdlnetError, which names ``path`` and says what to do, in place of an OSError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise KdlnetError(
            f"cannot write {str(path)!r}: {reason}; {advice or advice_at(path)}"
        ) from None


def advice_at(path: Path) -> str:
    """What to do where ``path`` cannot be written; it may be on the way to its place."""
    for folder in path.parents:
        if folder.name.startswith(_TEMPORARY):
            full = str(folder.parent)
            return f"free some space in {full!r} or set TMPDIR to a folder on a larger disk"
    return "free some space there or choose another folder with --out"


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for what is on the way, gone with its block; it lies where TMPDIR says.

    What a killed process left there is removed. One that cannot be held has no mark of its maker:
    another process, which could lock that, would take this one for killed.
    """
    _clear_once(Path(gettempdir()))
    with TemporaryDirectory(prefix=_TEMPORARY) as folder, Path(folder, _HELD).open("xb") as held:
        if not lock(held):
            held.close()
            Path(folder, _HELD).unlink()
        yield folder


def reserve(handle: int, size: int) -> None:
    """Has the disk keep ``size`` bytes for the open file ``handle``, where the system can.

    A full disk says so here, as an OSError; in a file that is mapped into memory the first write
    without room would end the process.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)


def open_to_grow(path: Path) -> io.BufferedRandom:
    """``path`` for whole lines at its end; what a kill left of a last one is a line of its own.

    A new file is noted as ours that grows. Raises OSError.
    """
    file = path.open("ab+")
    size = file.seek(0, os.SEEK_END)
    if not size:
        record(path, grows=True)
        return file
    file.seek(size - 1)
    if file.read(1) != b"\n":
        file.write(b"\n")
    return file


def write_all(file: io.FileIO, data: bytes) -> None:
    """Writes ``data`` to ``file``, which holds nothing back. An OSError may leave a part of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def append_whole(file: io.FileIO, data: bytes) -> None:
    """Writes ``data`` at the end of ``file``: all of it or, where that raises OSError, nothing."""
    start = file.seek(0, os.SEEK_END)
    try:
        write_all(file, data)
    except OSError:
        file.truncate(start)
        raise


def sha256_of(path: Path) -> str:
    """Of the bytes of a file, in hexadecimal. Raises OSError for one that cannot be read."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_json(path: Path, values: Any) -> None:
    """Writes ``values`` as indented JSON, atomically."""
    write_atomic(path, as_json(values))


def as_json(values: Any) -> bytes:
    """The content of a file of indented JSON."""
    return (json.dumps(values, indent=2) + "\n").encode()


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Writes ``values`` as YAML in their own order, atomically."""
    write_atomic(path, yaml_bytes(values))


def yaml_bytes(values: Mapping[str, Any]) -> bytes:
    """``values`` as YAML in their own order."""
    return yaml.safe_dump(dict(values), sort_keys=False).encode()


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes one line per row, atomically; columns are all keys in the order they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


@cache
def _clean_once(folder: Path) -> None:
    """Once a process is enough: leftovers are older than it."""
    remove_temporary(folder)


@cache
def _clear_once(place: Path) -> None:
    """The same for temporary folders."""
    remove_folders(place, _TEMPORARY, _HELD)


def _remove(temporary: Path) -> None:
    """Remove a temporary file if it is still there; a failure to do so hides no other error."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        pass


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut. Windows cannot open folders and need not."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # Some network file systems refuse; the file itself is safe.
    finally:
        os.close(handle)
