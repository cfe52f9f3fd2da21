"""A dataset folder in kdlnet's own form: images/, labels/, list files, data.yaml, report.json."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from kdlnet.utils.manifest import MADE_BY, REPORT_NAME
from kdlnet.utils.paths import shown, typed
from kdlnet.utils.text import lines_of_paths


@dataclass(frozen=True)
class SplitCounts:
    """``good`` counts the images without boxes; ``classes`` the boxes of each class."""

    images: int
    good: int
    boxes: int
    classes: dict[str, int]


class Report(Protocol):
    """What can be written as report.json."""

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ConvertReport:
    """What a dataset folder holds and what was left out of it on the way.

    ``dropped`` and ``repaired`` count rows (boxes) by reason, ``converted`` the boxes that were
    polygons, masks or circles, ``left_out`` counts files by reason and ``left_out_files`` names
    those with a fault. ``examples`` are lines for people, a few a reason. ``links`` counts how the
    images got there, ``warnings`` are lines about the whole. ``first_bare`` is the first image
    that is a good part for want of an annotation, "" for none.
    """

    folder: Path
    names: tuple[str, ...]
    splits: dict[str, SplitCounts]
    dropped: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    converted: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    left_out_files: dict[str, list[str]] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    first_bare: str = ""

    @property
    def next_command(self) -> str:
        """What a dataset of ours without a val needs before a training, "" for nothing."""
        described = self.folder / "data.yaml"
        if "train" not in self.splits or "val" in self.splits or not described.is_file():
            return ""
        return split_command(shown(described), self.folder, "test" in self.splits)

    @property
    def images(self) -> int:
        return sum(split.images for split in self.splits.values())

    @property
    def good(self) -> int:
        return sum(split.good for split in self.splits.values())

    @property
    def boxes(self) -> int:
        return sum(split.boxes for split in self.splits.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the fields and the totals."""
        totals = {"images": self.images, "good": self.good, "boxes": self.boxes}
        return {**asdict(self), "folder": str(self.folder), "names": list(self.names), **totals}


def split_command(data: str, folder: Path, keep_test: bool) -> str:
    """What gives the dataset ``data`` a val: lists in a new folder beside its ``folder``. A test
    that is given stays one, none of it is learned from."""
    folder = folder.absolute()
    lists = shown(folder.parent / f"{folder.name or 'dataset'}-split")
    keep = " --keep test" if keep_test else ""
    return f"kdlnet data split {typed(data)}{keep} --out {typed(lists)}"


def count_split(classes_of_images: Sequence[Sequence[str]], names: Sequence[str]) -> SplitCounts:
    """Counts from the classes of every image's boxes."""
    found = Counter(name for classes in classes_of_images for name in classes)
    return SplitCounts(
        images=len(classes_of_images),
        good=sum(not classes for classes in classes_of_images),
        boxes=sum(found.values()),
        classes={name: found[name] for name in names},
    )


def write_index(
    folder: Path,
    names: Sequence[str],
    splits: dict[str, list[Path]],
    channels: int | None = None,
    kpt_shape: tuple[int, int] | None = None,
) -> None:
    """List files and data.yaml; ``splits`` holds image paths relative to ``folder``.

    There is no ``path`` key: entries are then relative to the file, and the folder can be moved.
    """
    content: dict[str, Any] = {}
    for split, images in splits.items():
        lines = lines_of_paths(f"./{image.as_posix()}" for image in sorted(images))
        (folder / f"{split}.txt").write_bytes(lines)
        content[split] = f"{split}.txt"
    content["names"] = dict(enumerate(names))
    if channels is not None:
        content["channels"] = channels
    if kpt_shape is not None:
        content["kpt_shape"] = list(kpt_shape)
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")


def write_report(folder: Path, report: Report, **facts: Any) -> None:
    """report.json: what the report's ``to_dict`` says, and how the folder was made."""
    values = {"made_by": MADE_BY, **facts, **report.to_dict()}
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    # A file name that is no UTF-8 is held in surrogates; JSON writes those as escapes.
    file = folder / REPORT_NAME
    file.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def link_file(source: Path, target: Path) -> str:
    """Makes ``target`` show the bytes of ``source`` in the cheapest way the file system allows."""
    real = source.resolve()
    for kind, act in (("hard link", os.link), ("symbolic link", os.symlink)):
        try:
            act(real, target)
        except OSError:
            continue
        return kind
    shutil.copyfile(real, target)
    return "copy"
