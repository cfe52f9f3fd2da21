"""The files of a cross-validation: one training a fold, each with the part that it never saw."""

from __future__ import annotations

from pathlib import Path

from kdlnet.errors import DataError, WeightsError


def find_folds(runs: Path, data: Path) -> list[tuple[Path, str]]:
    """Weights and dataset of each fold, in the order of their numbers.

    ``data`` holds ``fold-N/data.yaml`` as ``kdlnet data split --folds`` makes them, ``runs`` the
    run folder ``fold-N`` of each. Raises DataError where there are no folds, WeightsError where a
    training is missing.
    """
    found = {_number(file.parent): file.parent for file in data.glob("fold-*/data.yaml")}
    found.pop(-1, None)
    if len(found) < 2:
        raise DataError(
            f"--folds: {str(data)!r} has no folders fold-1, fold-2: make them with "
            f"kdlnet data split DATA --folds 5 --out {data}"
        )
    pairs = []
    for number, folder in sorted(found.items()):
        weights = runs / f"fold-{number}" / "weights" / "best.pt"
        if not weights.is_file():
            raise WeightsError(
                f"--folds: {str(weights)!r} does not exist: kdlnet train --data {folder} --out "
                f"{runs / folder.name}"
            )
        pairs.append((weights, str(folder)))
    return pairs


def _number(folder: Path) -> int:
    """N of ``fold-N``, -1 for another name."""
    text = folder.name.removeprefix("fold-")
    return int(text) if text.isdecimal() else -1
