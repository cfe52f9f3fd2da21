"""Folders of results: made, counted up, emptied, and kept out of what is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from kdlnet.errors import KdlnetError

MARK = ".kdlnet"
"""Made in every folder of results: only a folder that holds it can be replaced."""


def new_folder(
    default: Path,
    out: Path | None = None,
    overwrite: bool = False,
    *,
    reads: Iterable[Path | None] = (),
    images: Iterable[Path] = (),
) -> Path:
    """Makes and returns the folder of a run: ``out`` or ``default``.

    A folder that already holds something is left alone and the name counts up (``name-2``), unless
    ``overwrite``: then it is emptied if kdlnet made it and nothing of ``reads`` and ``images`` is
    in it. It never lies in a folder of ``images``, a dataset's. Raises KdlnetError otherwise, and
    when it cannot be made.
    """
    folder = (out or default).absolute()
    if out is not None and out.is_file():
        raise KdlnetError(f"--out {str(out)!r} is a file: name a folder for the results")
    images = list(images)
    keep_out_of(folder, {image.parent for image in images})
    if folder.is_dir() and overwrite:
        protect(folder, [*reads, *images])
        _empty(folder)
    elif not overwrite:
        base, number = folder, 1
        while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        raise KdlnetError(
            f"cannot make the output folder {str(folder)!r}: {error.strerror}; choose another --out"
        ) from None
    return folder


def protect(out: Path | None, inputs: Iterable[Path | None]) -> None:
    """Refuses to empty a folder that holds what is about to be read. For use with --overwrite."""
    for path in inputs:
        if out is not None and path is not None and path.resolve().is_relative_to(out.resolve()):
            raise KdlnetError(
                f"--overwrite would delete {str(path)!r}, which is read here: choose another --out"
            )


def keep_out_of(folder: Path, image_folders: Iterable[Path]) -> None:
    """Refuses a folder for results below one of images that are read: they stay as they are."""
    for images in image_folders:
        if folder.resolve().is_relative_to(images.resolve()):
            raise KdlnetError(
                f"the results would go into {str(folder)!r}, in the folder of the images that are "
                "read, where nothing is ever written: choose another --out"
            )


def _empty(folder: Path) -> None:
    content = list(folder.iterdir())
    if content and not (folder / MARK).exists():
        raise KdlnetError(
            f"--overwrite: {str(folder)!r} was not made by kdlnet (no {MARK} in it) and was left "
            "alone; choose another --out"
        )
    for path in content:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
