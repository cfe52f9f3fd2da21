"""Run folders: where results go, and the record of what they were made with."""

from __future__ import annotations

import csv
import io
import json
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy
import torch
import torchvision
import yaml

from kdlnet import __version__
from kdlnet.errors import KdlnetError
from kdlnet.utils.files import write_atomic

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


def write_json(path: Path, values: Any) -> None:
    """Writes ``values`` as indented JSON, atomically."""
    write_atomic(path, (json.dumps(values, indent=2) + "\n").encode())


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Writes ``values`` as YAML in their own order, atomically."""
    write_atomic(path, yaml.safe_dump(values, sort_keys=False).encode())


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes one line a row, atomically; columns are all keys in the order they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def environment() -> dict[str, Any]:
    """Versions, machine and threads, as JSON values."""
    return {
        "kdlnet": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": sys.argv,
    }


def processor_name() -> str:
    """The CPU's name as the operating system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
