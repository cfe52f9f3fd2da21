"""Two models, or two ways of training, on the same images: differences and how sure they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from kdlnet.curation.divided import groups_of, names_of
from kdlnet.data.folders import image_folders
from kdlnet.errors import ConfigError, WeightsError
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.sides import Measured, measure_all, place_of
from kdlnet.metrics.comparison import Comparison, FoldFigures
from kdlnet.metrics.flips import Flip, McNemar, find_flips
from kdlnet.metrics.paired import ClassDifference, Difference, paired_intervals
from kdlnet.metrics.shift import score_shift
from kdlnet.report.comparison import difference_plot
from kdlnet.report.flips import Sides, draw_flips
from kdlnet.report.images import after
from kdlnet.report.pages.comparison import write_comparison
from kdlnet.report.pages.flips import Compared, Side
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json
from kdlnet.utils.given import AnyPath, Name, as_path, as_paths, checked
from kdlnet.utils.output import new_folder
from kdlnet.utils.words import counted

__all__ = ["ClassDifference", "Comparison", "Difference", "McNemar", "compare"]

_FEWEST_ROUNDS = 100


@checked
def compare(
    a: AnyPath | Sequence[AnyPath],
    b: AnyPath | Sequence[AnyPath],
    *,
    data: Name | Sequence[Name],
    split: str = "val",
    data_root: AnyPath | None = None,
    group_by: str | None = None,
    folds: bool = False,
    rounds: int = 1000,
    seed: int = 0,
    batch: int = 16,
    device: str = "auto",
    out: AnyPath | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> Comparison:
    """Measures ``a`` and ``b`` on one split; leaves report.html, comparison.json, pictures.

    They are any files that a runtime opens, exported ones too, and are measured as they are.
    Several files a side are the same training with several seeds, in the same order on both sides:
    the difference is the mean over the pairs. ``group_by`` names images that belong together, see
    :func:`~kdlnet.curation.groups.find_groups`: by default as ``data split`` grouped them.
    With ``folds`` each side is the folder of a cross-validation and ``data`` that of its folds, see
    :func:`~kdlnet.inference.folds.find_folds`: every image is judged by the training that never saw
    it. Raises WeightsError or DataError for what
    cannot be compared, ConfigError for fewer than 100 rounds and folds of several datasets.
    """
    data_root, out, a, b = as_path(data_root), as_path(out), as_paths(a), as_paths(b)
    _check_sides(a, b)
    if rounds < _FEWEST_ROUNDS:
        raise ConfigError(
            f"{rounds} rounds: give {_FEWEST_ROUNDS} or more, fewer tell no 95 % interval"
        )
    where = place_of(data, split, data_root, folds)
    measured = measure_all([*a, *b], where, split, batch, device, on_event)
    images = measured[a[0]].images
    infos, image_paths = [info for info, _ in images], [path for _, part in images for path in part]
    names = names_of(images)
    groups = groups_of(images, group_by, on_event)
    pairs = [(measured[one], measured[two]) for one, two in zip(a, b, strict=True)]
    tables = [(one.table, two.table) for one, two in pairs]
    default = Path("runs/compare") / where.name
    reads = [*a, *b, *(source for info in infos for source in info.sources)]
    wholes = [path for info in infos for path in image_folders(info)]
    folder = new_folder(default, out, overwrite, reads=reads, images=image_paths, folders=wholes)
    drawn = f"{counted(len(names), 'image')} in {counted(len(set(groups)), 'group')}"
    on_event(Message(f"{counted(rounds, 'resample')} of {drawn}"))
    truths = measured[a[0]].defective
    _say_if_rules_differ(list(measured.values()), on_event)
    gains = paired_intervals(tables, infos[0].names, groups, rounds, seed)
    seen = [(one.verdicts, two.verdicts) for one, two in pairs]
    result = Comparison(
        folder=folder,
        a=list(a),
        b=list(b),
        data=where.name,
        split=split,
        images=len(names),
        groups=len(set(groups)),
        rounds=rounds,
        differences=gains.overall,
        per_class=gains.per_class,
        reason=gains.reason,
        flips=find_flips(seen, truths, names, groups),
        shifts=[
            score_shift(one.results, two.results, one.rule, infos[0].names, groups, rounds, seed)
            for one, two in pairs
        ],
        figures=[_row(measured[path]) for path in measured],
        folds=_each_fold(pairs),
    )
    # The figures first: a disk may not hold the pictures.
    write_json(result.folder / "environment.json", environment())
    write_json(result.folder / "comparison.json", result.to_dict())
    with after(result.folder / "comparison.json"):
        if result.differences:
            difference_plot(result.folder / "comparison.png", result.differences, result.verdict)
        _draw(result, pairs, names, infos[0].names, on_event)
    return result


def _say_if_rules_differ(measured: Sequence[Measured], on_event: Listener) -> None:
    first = np.array(measured[0].defective)
    for other in measured[1:]:
        differing = int((first != np.array(other.defective)).sum())
        if differing:
            text = f"{str(other.weights)!r} asks for other sizes of a defect: by its rule"
            kinds = f"{counted(differing, 'image')} would be of the other kind, good or defective"
            on_event(Message(f"{text} {kinds}; flips go by {str(measured[0].weights)!r}"))


def _draw(
    result: Comparison,
    pairs: Sequence[tuple[Measured, Measured]],
    images: Sequence[str],
    names: Sequence[str],
    on_event: Listener,
) -> None:
    """Pictures of the flips into the folder ``flips``, and the page."""
    row = {name: index for index, name in enumerate(images)}

    def sides(flip: Flip) -> Sides:
        one, two = pairs[flip.pair]
        index = row[flip.image]
        return (one.results[index], one.rule), (two.results[index], two.rule)

    window, roi = pairs[0][0].window, pairs[0][0].roi
    folder = result.folder / "flips"
    draw_flips(folder, result.flips.images, sides, names, window, roi, on_event)
    judged = [
        tuple(Side(found.results, found.verdicts, found.rule) for found in pair) for pair in pairs
    ]
    both, truths = [(one, two) for one, two in judged], pairs[0][0].defective
    subject = Compared(result, both, images, truths, names, window)
    write_comparison(result.folder, subject, on_event)


def _check_sides(a: Sequence[Path], b: Sequence[Path]) -> None:
    if len(a) != len(b) or not a:
        raise WeightsError(
            f"{len(a)} weights on one side and {len(b)} on the other: give as many on both, a pair "
            "for each seed"
        )


def _each_fold(pairs: Sequence[tuple[Measured, Measured]]) -> list[FoldFigures]:
    """A and B on each part of a cross-validation, means over the pairs."""
    sides = [[measured.folds for measured in side] for side in zip(*pairs, strict=True)]
    rows = []
    for number, first in enumerate(pairs[0][0].folds):
        a, b = ([folds[number] for folds in side] for side in sides)
        ap = _mean(fold.ap for fold in a), _mean(fold.ap for fold in b)
        ap50 = _mean(fold.ap50 for fold in a), _mean(fold.ap50 for fold in b)
        rows.append(FoldFigures(first.data, first.images, first.boxes, ap, ap50))
    return rows


def _mean(values: Iterable[float | None]) -> float | None:
    """None without true boxes."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _row(measured: Measured) -> dict[str, Any]:
    found = measured.precision
    return {
        "weights": str(measured.weights),
        "ap": found.ap,
        "ap50": found.ap50,
        "ap75": found.ap75,
        "recall": found.recall,
        "recall50": found.recall50,
        "learned_images": measured.learned,
    }
