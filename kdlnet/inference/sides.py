"""One side of a comparison: its files on a split, or on the folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdlnet.curation.divided import Images
from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.joined import find_datasets
from kdlnet.errors import DataError, WeightsError
from kdlnet.events import Listener
from kdlnet.inference.evaluate import detect
from kdlnet.inference.folds import (
    each_fold,
    find_folds,
    folder_of_folds,
    learned_of,
    one_rule,
    open_part,
    require_alike,
)
from kdlnet.metrics.average_precision import AveragePrecision, average_precision
from kdlnet.metrics.evaluation import Fold
from kdlnet.metrics.rates import tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.table import Table, tabulate
from kdlnet.metrics.verdict import Verdict, VerdictRule
from kdlnet.types import Roi
from kdlnet.utils.given import Name


@dataclass(frozen=True)
class Measured:
    """One side on the split: its figures, what it found, matches, its verdict on each image.

    ``rule`` makes the verdicts, ``defective`` says which images show a defect by it. Labels are
    counted as in the dataset, in the rule too; ``window`` is how grey levels are shown, ``roi``
    what of an image is looked at. ``images`` are those of each part. ``learned`` counts the images
    that it has learned from, None where the file does not tell. ``folds`` has the figures of each
    part of a cross-validation.
    """

    weights: Path
    precision: AveragePrecision
    images: list[Images]
    results: list[ImageResult]
    table: Table
    verdicts: list[Verdict]
    defective: list[bool]
    rule: VerdictRule
    window: tuple[float, float] | None
    roi: Roi | None
    learned: int | None
    folds: list[Fold]


@dataclass(frozen=True)
class Place:
    """What the sides are measured on: a dataset, or the ``folds`` of a cross-validation.

    ``pairs`` gives the files of a side, each with its dataset.
    """

    name: str
    pairs: Callable[[Path], list[tuple[Path, DatasetInfo]]]
    folds: Path | None = None


def place_of(data: Name | Sequence[Name], split: str, data_root: Path | None, folds: bool) -> Place:
    if not folds:
        info = find_datasets(data, data_root)
        return Place(info.name, lambda file: [(file, info)])
    home = folder_of_folds(data)

    def pairs(runs: Path) -> list[tuple[Path, DatasetInfo]]:
        found = find_folds(runs, home, split)
        return [(file, find_dataset(fold, data_root)) for file, fold in found]

    return Place(home.absolute().name, pairs, home)


def measure_all(
    sides: Sequence[Path],
    where: Place,
    split: str,
    batch: int,
    device: str,
    on_event: Listener,
) -> dict[Path, Measured]:
    """Figures of each side, every one measured once.

    Raises DataError for other images, WeightsError for other regions of them.
    """
    measured: dict[Path, Measured] = {}
    images: list[str] = []
    for side in dict.fromkeys(sides):
        measured[side] = _measure(side, where, split, batch, device, on_event)
        one, two = next(iter(measured.values())), measured[side]
        if one.roi != two.roi:
            raise WeightsError(
                f"{str(one.weights)!r} and {str(side)!r} look at other regions of the images, and "
                "so at other defects: measure each by itself (kdlnet val, which takes --roi)"
            )
        names = [result.name for result in two.results]
        if images and names != images:
            raise DataError(f"{str(side)!r} could not read the same images as the others")
        images = names
    return measured


def _measure(
    side: Path, where: Place, split: str, batch: int, device: str, on_event: Listener
) -> Measured:
    """Figures of one side on all of its parts together; pixels and networks are gone after it."""
    parts = [
        open_part(file, info, split, device, on_event, exact=True)
        for file, info in where.pairs(side)
    ]
    require_alike(parts)
    runtime = parts[0].runtime
    names = parts[0].info.names
    stored = one_rule(parts, on_event)
    rule = VerdictRule(tuple(stored.of(runtime.names.index(name)) for name in names))
    found = [detect(part.runtime.engine, part.dataset, batch, on_event=on_event) for part in parts]
    results = [result for each in found for result in each]
    row = np.array([names.index(name) for name in runtime.names], np.int64)
    ordered = [result.renumbered(row) for result in results]
    return Measured(
        weights=side,
        precision=average_precision(results, runtime.names),
        images=[part.images for part in parts],
        results=ordered,
        table=tabulate(ordered, len(names)),
        verdicts=[rule.verdict(result.judged) for result in ordered],
        defective=tabulate_parts(ordered, rule, len(names)).defective.tolist(),
        rule=rule,
        window=parts[0].dataset.preprocess.window,
        roi=parts[0].dataset.preprocess.roi,
        learned=learned_of(parts),
        folds=each_fold(parts, found) if len(parts) > 1 else [],
    )
