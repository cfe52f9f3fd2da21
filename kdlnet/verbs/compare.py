"""Two models, or two ways of training, on the same images: differences and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdlnet.curation.groups import find_groups, name_below
from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.folders import image_folders
from kdlnet.errors import DataError, WeightsError
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.runtimes import open_runtime
from kdlnet.metrics.average_precision import AveragePrecision, average_precision
from kdlnet.metrics.intervals import Difference, paired_bootstrap
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.table import Table, tabulate
from kdlnet.metrics.verdict import Verdict
from kdlnet.report.comparison import difference_plot
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_json
from kdlnet.utils.output import new_folder

_PAIRS: dict[tuple[Verdict, Verdict], str] = {
    ("NG", "NG"): "both NG",
    ("NG", "OK"): "only A NG",
    ("OK", "NG"): "only B NG",
    ("OK", "OK"): "both OK",
}


@dataclass(frozen=True)
class Measured:
    """One file on the split: its figures, matches, and its verdict on each image."""

    weights: Path
    precision: AveragePrecision
    table: Table
    verdicts: list[Verdict]


@dataclass(frozen=True)
class Comparison:
    """B minus A. ``differences`` by figure: ``ap``, ``ap50``, ``recall``.

    ``per_class`` holds AP of A and B, means over the pairs, and how many true ``boxes`` it rests
    on. ``flips`` counts images by what A and B say of them by their own rules: ``defective`` and
    ``good`` (no true box) apart; pairs with UNSURE are named where they occur.
    """

    folder: Path
    a: list[Path]
    b: list[Path]
    data: str
    split: str
    images: int
    groups: int
    rounds: int
    differences: dict[str, Difference]
    per_class: dict[str, dict[str, float | None]]
    flips: dict[str, dict[str, int]]
    figures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One line: which is better in AP, or that none is shown to be."""
        ap = self.differences["ap"]
        facts = f"AP {ap.difference:+.3f}, 95 % interval {ap.low:+.3f} to {ap.high:+.3f}"
        if not ap.shown:
            return f"no gain shown: {facts} holds zero"
        return f"{'B' if ap.difference > 0 else 'A'} is better: {facts}"

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "verdict": self.verdict,
            "a": [str(path) for path in self.a],
            "b": [str(path) for path in self.b],
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "groups": self.groups,
            "rounds": self.rounds,
            "differences": {name: d.to_dict() for name, d in self.differences.items()},
            "per_class": self.per_class,
            "flips": self.flips,
            "figures": self.figures,
        }


def compare(
    a: Sequence[Path],
    b: Sequence[Path],
    *,
    data: str,
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
    """Measures ``a`` and ``b`` on one split and leaves comparison.json and a picture.

    They are any files that a runtime opens, exported ones too, and are measured as they are.
    Several files a side are the same training with several seeds, in the same order on both sides:
    the difference is the mean over the pairs. ``group_by`` names images that belong together, see
    :func:`~kdlnet.curation.groups.find_groups`: by default each image stands for itself. Raises
    WeightsError or DataError for what cannot be compared.
    """
    _check_sides(a, b)
    info = find_dataset(data, data_root)
    measured, image_paths = _measure_all([*a, *b], info, split, batch, device, on_event)
    names = [name_below(path, info.root) for path in image_paths]
    groups = np.unique(find_groups(group_by, names, image_paths), return_inverse=True)[1].tolist()
    pairs = [(measured[one], measured[two]) for one, two in zip(a, b, strict=True)]
    tables = [(one.table, two.table) for one, two in pairs]
    if not tables[0][0].truths.sum():
        raise DataError(f"split {split!r} of {info.name} has no box: there is nothing to compare")
    default, reads = Path("runs/compare") / info.name, [*a, *b, info.source]
    wholes = image_folders(info)
    folder = new_folder(default, out, overwrite, reads=reads, images=image_paths, folders=wholes)
    on_event(Message(f"{rounds} resamples of {len(names)} images in {len(set(groups))} groups"))
    truths = [bool(count) for count in tables[0][0].truths.sum(axis=1)]
    result = Comparison(
        folder,
        list(a),
        list(b),
        info.name,
        split,
        len(names),
        len(set(groups)),
        rounds,
        paired_bootstrap(tables, groups, rounds, seed),
        _per_class(pairs),
        _flips(pairs, truths),
        [_row(measured[path]) for path in measured],
    )
    difference_plot(result.folder / "comparison.png", result.differences, result.verdict)
    write_json(result.folder / "environment.json", environment())
    write_json(result.folder / "comparison.json", result.to_dict())
    return result


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
    results = detect(runtime.engine, dataset, batch, on_event=on_event)
    precision = average_precision(results, runtime.names)
    verdicts = [runtime.rule.verdict(result) for result in results]
    table = tabulate(_in_order(results, runtime.names, info.names), len(info.names))
    return Measured(path, precision, table, verdicts), [result.name for result in results]


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


def _per_class(pairs: Sequence[tuple[Measured, Measured]]) -> dict[str, dict[str, float | None]]:
    rows: dict[str, dict[str, float | None]] = {}
    for name, first in pairs[0][0].precision.per_class.items():
        a, b = ([pair[side].precision.per_class[name].ap for pair in pairs] for side in (0, 1))
        rows[name] = {"a": _mean(a), "b": _mean(b), "boxes": first.truths}
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _flips(
    pairs: Sequence[tuple[Measured, Measured]], defective: Sequence[bool]
) -> dict[str, dict[str, int]]:
    """Images by verdict of A and B, those with a true box and those without apart."""
    counts = {kind: dict.fromkeys(_PAIRS.values(), 0) for kind in ("defective", "good")}
    for one, two in pairs:
        for has_defect, first, second in zip(defective, one.verdicts, two.verdicts, strict=True):
            kind = counts["defective" if has_defect else "good"]
            pair = _PAIRS.get((first, second)) or f"A {first}, B {second}"
            kind[pair] = kind.get(pair, 0) + 1
    return counts


def _row(measured: Measured) -> dict[str, Any]:
    found = measured.precision
    return {
        "weights": str(measured.weights),
        "ap": found.ap,
        "ap50": found.ap50,
        "recall": found.recall,
    }
