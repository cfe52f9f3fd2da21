"""A dataset split anew: list files and a data.yaml beside it, its images where they are."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kdlnet.curation.duplicates import DuplicatePair
from kdlnet.curation.groups import (
    BY_PIXELS,
    DUPLICATES,
    GROUPS,
    ROOT,
    find_groups,
    groups_of_duplicates,
    image_names,
    name_below,
    naming_root,
    table_of_groups,
)
from kdlnet.curation.split_report import (
    LEFT_OUT_NAME,
    Division,
    Images,
    PartCounts,
    SplitReport,
    report_division,
)
from kdlnet.curation.splits import TooFewGroups, grouped_folds, grouped_split
from kdlnet.curation.writer import write_index, write_report
from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.label_files import read_images
from kdlnet.data.labels import summarize
from kdlnet.data.listing import list_images
from kdlnet.data.schema import SPLITS
from kdlnet.errors import DataError, unknown
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.folder import LeftOut, results_lines
from kdlnet.utils.output import keep_apart, whole_folder
from kdlnet.utils.paths import absolute
from kdlnet.utils.text import lines_of_paths
from kdlnet.utils.words import counted

__all__ = ["PartCounts", "SplitReport", "split_dataset"]


def split_dataset(
    name: str,
    out: Path,
    *,
    data_root: Path | None = None,
    shares: Mapping[str, float] | None = None,
    folds: int | None = None,
    group_by: str | None = None,
    keep: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> SplitReport:
    """Divides all images of ``name`` anew and writes list files and data.yaml into ``out``.

    ``shares`` by split, or ``folds``: then fold-N/ holds a data.yaml whose val is part N and
    whose train is the rest. ``group_by`` is what :func:`~kdlnet.curation.groups.find_groups` takes.
    The split ``keep`` (with folds only "test") stays as it is; images of its groups in other
    splits are left out, since they would be a leak. Images and labels are only read;
    ``on_event`` gets the progress of the images that are compared for duplicates.

    Raises DataError (one line) for what cannot be divided; ``out`` is then as it was.
    """
    info = find_dataset(name, data_root)
    out = absolute(out)
    kept = _kept_images(info, keep, folds)
    left = LeftOut()
    paths = sorted({path for split in info.splits for path in list_images(info, split, left)})
    for line in results_lines(left.results):
        on_event(Message(line, "warning"))
    if keep is None and "test" in info.splits:
        text = "the images of its test are divided with the rest: --keep test leaves them there"
        on_event(Message(text, "warning"))
    keep_apart(out, [info.root, *{path.parent for path in paths}])
    images = _read(info, paths, group_by, on_event)
    try:
        division = _divide(images, kept, keep, shares or {}, folds, seed)
    except TooFewGroups as error:
        case = "; different parts on one fixture? --group-by copies"
        raise DataError(str(error) + case * (group_by == DUPLICATES)) from None
    datasets = _datasets(division, folds is not None)
    with whole_folder(out, overwrite) as folder:
        for part, splits in datasets.items():
            (folder / part).mkdir(exist_ok=True)
            relative = {
                split: [_path_from(images.paths[i], out / part) for i in positions]
                for split, positions in splits.items()
            }
            write_index(folder / part, info.names, relative, info.channels, info.kpt_shape)
        if division.left_out:
            lines = lines_of_paths(images.names[i] for i in division.left_out)
            (folder / LEFT_OUT_NAME).write_bytes(lines)
        if group_by is not None:
            (folder / GROUPS).write_bytes(table_of_groups(images.names, images.groups))
        files = tuple(out / part / "data.yaml" for part in datasets)
        report = report_division(out, files, info.names, images, division, keep)
        facts = {"data": str(info.source), "group_by": group_by, "keep": keep, "seed": seed}
        facts[ROOT] = name_below(naming_root(info.root), out)
        write_report(folder, report, **facts)
    return report


def _kept_images(info: DatasetInfo, keep: str | None, folds: int | None) -> set[Path]:
    if keep is None:
        return set()
    if folds is not None and keep != "test":
        raise DataError(
            f"--keep {keep} with --folds: each fold has a train and a val of its own, so only "
            "--keep test can stay"
        )
    if keep not in info.splits:
        raise DataError(f"--keep: dataset {info.name!r}: " + unknown("split", keep, info.splits))
    return set(list_images(info, keep))


def _read(info: DatasetInfo, paths: list[Path], group_by: str | None, on_event: Listener) -> Images:
    names = image_names(info, paths)
    reading = read_images(paths, paths, len(info.names), info.kpt_shape)
    labels = [found.labels.tolist() for found in reading.labels]
    doubtful = [bool(reason) for reason in reading.reasons]
    warnings = [line for line in (*reading.doubts(), summarize(reading.every_problem)) if line]
    if group_by in BY_PIXELS:
        pairs = BY_PIXELS[group_by](paths, on_event)
        groups = groups_of_duplicates(names, pairs)
        warnings += _conflicts(pairs, labels, doubtful)
    else:
        groups = find_groups(group_by, names, paths)
    return Images(paths, names, labels, groups, doubtful, warnings)


def _conflicts(
    pairs: Sequence[DuplicatePair], labels: Sequence[list[int]], doubtful: Sequence[bool]
) -> Iterator[str]:
    """A line where copies, equal in every pixel, have boxes of other classes each."""
    kinds: dict[int, set[frozenset[int]]] = defaultdict(set)
    for pair in pairs:
        if pair.kind == "exact":
            both = (i for i in (pair.first, pair.second) if not doubtful[i])
            kinds[pair.first].update(frozenset(labels[i]) for i in both)
    if count := sum(len(each) > 1 for each in kinds.values()):
        yield (
            f"{counted(count, 'image')} with copies whose labels disagree: a model cannot learn "
            "both; kdlnet data check tells which"
        )


def _divide(
    images: Images,
    kept: set[Path],
    keep: str | None,
    shares: Mapping[str, float],
    folds: int | None,
    seed: int,
) -> Division:
    taken = {images.groups[i] for i, path in enumerate(images.paths) if path in kept}
    held = [i for i, path in enumerate(images.paths) if path in kept]
    free = [i for i, path in enumerate(images.paths) if path not in kept]
    left_out = [i for i in free if images.groups[i] in taken]
    chosen = [i for i in free if images.groups[i] not in taken]
    if not chosen:
        reason = "every image" if not free else "every group has an image"
        raise DataError(f"--keep {keep}: {reason} in that split, nothing is left to divide")
    free_images = images.at(chosen)
    content = free_images.names, free_images.kinds(), free_images.groups
    if folds is not None:
        found = grouped_folds(*content, folds, seed)
        parts = {f"fold-{n}": part for n, part in enumerate(found, start=1)}
        shares = dict.fromkeys(parts, 1 / folds)
    else:
        parts = grouped_split(*content, shares, seed)
    return Division(
        {name: [chosen[i] for i in part] for name, part in parts.items()},
        dict(shares),
        {keep: held} if keep else {},
        left_out,
    )


def _datasets(division: Division, folds: bool) -> dict[str, dict[str, list[int]]]:
    """Image positions by split, by the folder below ``out`` that their data.yaml goes to."""
    if not folds:
        splits = {**division.parts, **division.kept}
        return {".": {split: splits[split] for split in SPLITS if split in splits}}
    return {
        fold: {
            "train": [i for other, rest in division.parts.items() if other != fold for i in rest],
            "val": part,
            **division.kept,
        }
        for fold, part in division.parts.items()
    }


def _path_from(image: Path, folder: Path) -> Path:
    try:
        return Path(os.path.relpath(image, folder))
    except ValueError:  # another drive, on Windows
        raise DataError(
            f"--out {str(folder)!r} must be on the drive of the images ({image.drive})"
        ) from None
