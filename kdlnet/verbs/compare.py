"""Two models, or two ways of training, on the same images: differences and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdlnet.curation.groups import find_groups, name_below
from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.folders import image_folders
from kdlnet.data.joined import find_datasets
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.evaluate import count_learned, detect, open_split
from kdlnet.inference.runtimes import open_runtime
from kdlnet.metrics.average_precision import AveragePrecision, average_precision
from kdlnet.metrics.comparison import Comparison
from kdlnet.metrics.flips import Flip, McNemar, find_flips
from kdlnet.metrics.paired import ClassDifference, Difference, paired_intervals
from kdlnet.metrics.rates import tabulate_parts
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.shift import score_shift
from kdlnet.metrics.table import Table, tabulate
from kdlnet.metrics.verdict import Verdict
from kdlnet.report.comparison import difference_plot
from kdlnet.report.flips import Sides, draw_flips
from kdlnet.report.pages.comparison import Compared, Side, write_comparison
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json
from kdlnet.utils.output import new_folder
from kdlnet.utils.words import counted

__all__ = ["ClassDifference", "Comparison", "Difference", "McNemar", "compare"]

_FEWEST_ROUNDS = 100


@dataclass(frozen=True)
class Measured:
    """One file on the split: its figures, what it found, matches, its verdict on each image.

    ``defective`` says which images show a defect by its own rule, ``threshold`` is the lowest score
    that makes a part NG. Labels are counted as in the dataset; ``window`` is how grey levels are
    shown. ``learned`` counts the images that it has learned from, None where the file does not
    tell.
    """

    weights: Path
    precision: AveragePrecision
    results: list[ImageResult]
    table: Table
    verdicts: list[Verdict]
    defective: list[bool]
    threshold: float
    window: tuple[float, float] | None
    learned: int | None


def compare(
    a: Sequence[Path],
    b: Sequence[Path],
    *,
    data: str | Sequence[str],
    split: str = "val",
    data_root: Path | None = None,
    group_by: str | None = None,
    rounds: int = 1000,
    seed: int = 0,
    batch: int = 16,
    device: str = "auto",
    out: Path | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> Comparison:
    """Measures ``a`` and ``b`` on one split; leaves report.html, comparison.json, pictures.

    They are any files that a runtime opens, exported ones too, and are measured as they are.
    Several files a side are the same training with several seeds, in the same order on both sides:
    the difference is the mean over the pairs. ``group_by`` names images that belong together, see
    :func:`~kdlnet.curation.groups.find_groups`: by default each image stands for itself. Raises
    WeightsError or DataError for what cannot be compared, ConfigError for fewer than 100 rounds.
    """
    _check_sides(a, b)
    if rounds < _FEWEST_ROUNDS:
        raise ConfigError(
            f"{rounds} rounds: give {_FEWEST_ROUNDS} or more, fewer tell no 95 % interval"
        )
    info = find_datasets(data, data_root)
    measured, image_paths = _measure_all([*a, *b], info, split, batch, device, on_event)
    names = [name_below(path, info.root) for path in image_paths]
    groups = np.unique(find_groups(group_by, names, image_paths), return_inverse=True)[1].tolist()
    pairs = [(measured[one], measured[two]) for one, two in zip(a, b, strict=True)]
    tables = [(one.table, two.table) for one, two in pairs]
    if not tables[0][0].truths.sum():
        raise DataError(f"split {split!r} of {info.name} has no box: there is nothing to compare")
    default, reads = Path("runs/compare") / info.name, [*a, *b, *info.sources]
    wholes = image_folders(info)
    folder = new_folder(default, out, overwrite, reads=reads, images=image_paths, folders=wholes)
    drawn = f"{counted(len(names), 'image')} in {counted(len(set(groups)), 'group')}"
    on_event(Message(f"{counted(rounds, 'resample')} of {drawn}"))
    truths = measured[a[0]].defective
    _say_if_rules_differ(list(measured.values()), on_event)
    gains = paired_intervals(tables, info.names, groups, rounds, seed)
    seen = [(one.verdicts, two.verdicts) for one, two in pairs]
    result = Comparison(
        folder=folder,
        a=list(a),
        b=list(b),
        data=info.name,
        split=split,
        images=len(names),
        groups=len(set(groups)),
        rounds=rounds,
        differences=gains.overall,
        per_class=gains.per_class,
        reason=gains.reason,
        flips=find_flips(seen, truths, names),
        shifts=[
            score_shift(one.results, two.results, one.threshold, groups, rounds, seed)
            for one, two in pairs
        ],
        figures=[_row(measured[path]) for path in measured],
    )
    difference_plot(result.folder / "comparison.png", result.differences, result.verdict)
    _draw(result, pairs, names, info, on_event)
    write_json(result.folder / "environment.json", environment())
    write_json(result.folder / "comparison.json", result.to_dict())
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
    names: Sequence[str],
    info: DatasetInfo,
    on_event: Listener,
) -> None:
    """Pictures of the flips into the folder ``flips``, and the page."""
    row = {name: index for index, name in enumerate(names)}

    def sides(flip: Flip) -> Sides:
        one, two = pairs[flip.pair]
        index = row[flip.image]
        return (one.results[index], one.threshold), (two.results[index], two.threshold)

    window = pairs[0][0].window
    folder = result.folder / "flips"
    draw_flips(folder, result.flips.images, sides, info.names, window, on_event)
    judged = [
        tuple(Side(found.results, found.verdicts, found.threshold) for found in pair)
        for pair in pairs
    ]
    subject = Compared(result, [(one, two) for one, two in judged], names, info.names, window)
    write_comparison(result.folder, subject, on_event)


def _check_sides(a: Sequence[Path], b: Sequence[Path]) -> None:
    if len(a) != len(b) or not a:
        raise WeightsError(
            f"{len(a)} weights on one side and {len(b)} on the other: give as many on both, a pair "
            "for each seed"
        )


def _measure_all(
    weights: Sequence[Path],
    info: DatasetInfo,
    split: str,
    batch: int,
    device: str,
    on_event: Listener,
) -> tuple[dict[Path, Measured], list[Path]]:
    """Figures of each file, every one measured once, and the images that all of them saw."""
    measured: dict[Path, Measured] = {}
    images: list[str] = []
    for path in dict.fromkeys(weights):
        found, seen = _measure(path, info, split, batch, device, on_event)
        if measured and seen != images:
            raise DataError(f"{str(path)!r} could not read the same images as the others")
        measured[path], images = found, seen
    return measured, [Path(name) for name in images]


def _measure(
    path: Path,
    info: DatasetInfo,
    split: str,
    batch: int,
    device: str,
    on_event: Listener,
) -> tuple[Measured, list[str]]:
    """Figures of one file as it is, not fused in memory, and the names of its images."""
    runtime = open_runtime(path, device=device, fuse=False)
    if set(runtime.names) != set(info.names):
        raise WeightsError(
            f"{str(path)!r} knows {', '.join(runtime.names)}, the dataset has "
            f"{', '.join(info.names)}: compare weights of the same classes"
        )
    dataset, _ = open_split(runtime, info, split, None, False, on_event)
    learned = count_learned(runtime, dataset.paths, split, on_event)
    results = detect(runtime.engine, dataset, batch, on_event=on_event)
    precision = average_precision(results, runtime.names)
    verdicts = [runtime.rule.verdict(result) for result in results]
    parts = tabulate_parts(results, runtime.rule, len(runtime.names))
    ordered = _in_order(results, runtime.names, info.names)
    table = tabulate(ordered, len(info.names))
    found = Measured(
        path,
        precision,
        ordered,
        table,
        verdicts,
        parts.defective.tolist(),
        runtime.rule.score,
        dataset.preprocess.window,
        learned,
    )
    return found, [result.name for result in results]


def _in_order(
    results: list[ImageResult], names: Sequence[str], wanted: Sequence[str]
) -> list[ImageResult]:
    """Results with labels counted in ``wanted`` instead of ``names``."""
    if tuple(names) == tuple(wanted):
        return results
    row = np.array([list(wanted).index(name) for name in names], np.int64)
    return [
        ImageResult(
            r.boxes,
            r.scores,
            row[r.labels],
            r.truth_boxes,
            row[r.truth_labels],
            r.size,
            r.name,
        )
        for r in results
    ]


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
