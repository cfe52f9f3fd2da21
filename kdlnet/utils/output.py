"""Folders that kdlnet writes: made, counted up, replaced, and kept apart from what is read.

There are two kinds. A folder of results grows while the work goes on (:class:`Place`), a dataset
appears as a whole (:func:`whole_folder`). One set of rules holds for both: nothing is written
below a folder that is read, and ``--overwrite`` deletes only what kdlnet wrote and nobody changed.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.utils.leftovers import abandoned, lock
from kdlnet.utils.lock import alone_in
from kdlnet.utils.manifest import (
    DATASET_MARK,
    HEADER,
    MARK,
    REPORT_NAME,
    is_dataset,
    listing,
    strangers,
)
from kdlnet.utils.paths import absolute


@dataclass(frozen=True)
class Place:
    """Where results will go: ``out``, or ``default`` where none was asked for.

    ``reads`` are files that are read, ``images`` those of a dataset, ``folders`` such that are
    read as a whole. Results lie in none of ``folders`` and in no folder of ``images``.
    """

    default: Path
    out: Path | None = None
    overwrite: bool = False
    reads: tuple[Path | None, ...] = ()
    images: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """What was asked for, absolute; the name may be taken."""
        return absolute(self.out or self.default)

    def check(self) -> None:
        """Raises DataError for what :meth:`make` would refuse; nothing is changed."""
        folder = self.folder
        if self.out is not None and self.out.is_file():
            raise DataError(f"--out {str(self.out)!r} is a file: name a folder for the results")
        if self.overwrite:
            _keep_inputs(folder, [*self.reads, *self.images])
        keep_out_of(folder, [*self.folders, *{image.parent for image in self.images}])
        if self.overwrite and folder.is_dir() and any(folder.iterdir()):
            if not (folder / MARK).exists():
                raise DataError(
                    f"--overwrite: {str(folder)!r} was not made by kdlnet (no {MARK} in it) and "
                    "was left alone; choose another --out"
                )
            _refuse_strangers(folder)

    def make(self) -> Path:
        """Makes and returns the folder.

        One that already holds something is left alone and the name counts up (``name-2``), unless
        ``overwrite``: then it is emptied. Raises DataError where :meth:`check` does, and when it
        cannot be made, KdlnetError when another process is at work there.
        """
        self.check()
        folder = self.folder
        with _made(folder):
            if self.overwrite and (folder / MARK).exists():
                with alone_in(folder):
                    pass  # nobody is at work there
                _empty(folder)
            number = 1
            while not _claim(folder):
                number += 1
                folder = self.folder.with_name(f"{self.folder.name}-{number}")
        return folder

    def take(self) -> Path:
        """The folder itself, made, or as kdlnet left it there: for work that goes on.

        Raises DataError where :meth:`check` does, and when it holds something else.
        """
        self.check()
        folder = self.folder
        with _made(folder):
            if not (_claim(folder) or (folder / MARK).exists()):
                raise DataError(f"{str(folder)!r} was not made by kdlnet: choose another --out")
        return folder


def new_folder(
    default: Path,
    out: Path | None = None,
    overwrite: bool = False,
    *,
    reads: Iterable[Path | None] = (),
    images: Iterable[Path] = (),
    folders: Iterable[Path] = (),
) -> Path:
    """Makes and returns a folder of results, see :class:`Place`."""
    return Place(default, out, overwrite, tuple(reads), tuple(images), tuple(folders)).make()


@contextmanager
def whole_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder to write a dataset into; it becomes ``out`` when the block ends without error.

    Raises DataError when ``out`` is taken (with ``overwrite``: by something that kdlnet did not
    write, or that was changed since) or cannot be written.
    """
    out = absolute(out)
    _check_free(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_stagings(out)
        staging = _beside(out)
        staging.mkdir()
    except OSError as error:
        raise DataError(
            f"cannot write {str(out)!r}: {error.strerror or error}; choose another --out"
        ) from None
    try:
        with (staging / DATASET_MARK).open("xb") as mark:
            lock(mark)
            yield staging
            mark.writelines(line.encode() for line in listing(staging))
        _take_name(staging, out)
    except OSError as error:
        raise DataError(f"cannot write {str(out)!r}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def keep_out_of(out: Path, folders: Iterable[Path]) -> None:
    """Refuses a folder for results below one that is read. Raises DataError."""
    for folder in folders:
        if out.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"the results would go into {str(out)!r}, in the folder {str(folder)!r} that is "
                "read, where nothing is ever written: choose another --out, outside of it"
            )


def keep_apart(out: Path, folders: Iterable[Path], fix: str = "") -> None:
    """Refuses a folder ``out`` inside one of ``folders``, which are read, or around it.

    ``fix`` says what else can be done. Raises DataError.
    """
    real = out.resolve()
    for folder in folders:
        read = folder.resolve()
        if real.is_relative_to(read) or read.is_relative_to(real):
            raise DataError(
                f"--out {str(out)!r} and {str(folder)!r}, which is read, lie inside each other: "
                f"what is read is never written to, choose another --out {fix}".rstrip()
            )


def _keep_inputs(out: Path, inputs: Iterable[Path | None]) -> None:
    real = out.resolve()
    for path in inputs:
        if path is not None and path.resolve().is_relative_to(real):
            raise DataError(
                f"--overwrite would delete {str(path)!r}, which is read here: choose another --out"
            )


def _refuse_strangers(folder: Path) -> None:
    found = strangers(folder)
    if found:
        count = "a file" if len(found) == 1 else f"{len(found)} files"
        first = found[0].relative_to(folder).as_posix()
        raise DataError(
            f"--overwrite would delete {count} in {str(folder)!r} that kdlnet did not write, that "
            f"changed since, or that was linked and is the last copy now, first {first!r}: "
            f"move {'it' if len(found) == 1 else 'them'} away or choose another --out"
        )


def _empty(folder: Path) -> None:
    """The mark goes last: a kill on the way leaves a folder that can still be replaced."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name in (MARK, DATASET_MARK)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Makes the folders above ``folder``; says of it what goes wrong."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"cannot make the output folder {str(folder)!r}: {error.strerror}; choose another --out"
        ) from None


def _claim(folder: Path) -> bool:
    """Makes ``folder``, or takes one that is empty; False when another process or person has it."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir() or any(folder.iterdir()):
            return False
    try:
        with (folder / MARK).open("x", encoding="utf-8", newline="\n") as mark:
            mark.write(HEADER)
    except FileExistsError:
        return False
    return True


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise DataError(f"{str(out)!r} is not a folder: choose another --out")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise DataError(f"folder {str(out)!r} is not empty: choose another --out or --overwrite")
    if not is_dataset(out):  # someone's originals may lie there
        raise DataError(
            f"folder {str(out)!r} was not written by kdlnet (no {REPORT_NAME} of its own): remove "
            "it yourself or choose another --out"
        )
    _refuse_strangers(out)


def _take_name(staging: Path, out: Path) -> None:
    """``out`` is there until the new one is complete, and away for the time of a rename."""
    if not out.exists():
        staging.rename(out)
        return
    old = _beside(out)
    try:
        out.rename(old)
        staging.rename(out)
    finally:
        if old.exists() and not out.exists():  # refused, or Ctrl-C came between
            _put_back(old, out)
    _remove(old)


def _put_back(old: Path, out: Path) -> None:
    try:
        old.rename(out)
    except OSError as error:
        raise DataError(
            f"cannot write {str(out)!r}, and what was there is in {str(old)!r} now: "
            f"{error.strerror or error}; rename it back before the next try, which removes it there"
        ) from None


def _beside(out: Path) -> Path:
    return out.with_name(f"{_prefix(out)}{secrets.token_hex(4)}")


def _prefix(out: Path) -> str:
    return f".{out.name[:40]}."  # a name may be as long as the file system allows


def _remove_stagings(out: Path) -> None:
    """Removes what killed processes left of their tries to write ``out``."""
    name = re.compile(re.escape(_prefix(out)) + "[0-9a-f]{8}")
    for path in out.parent.iterdir():
        if name.fullmatch(path.name) and abandoned(path / DATASET_MARK):
            _remove(path)


def _remove(folder: Path) -> None:
    """A kill on the way leaves what :func:`_remove_stagings` knows."""
    try:
        (folder / DATASET_MARK).touch()
        _empty(folder)
        folder.rmdir()
    except OSError:
        pass  # nobody's loss, and the next start tries again
