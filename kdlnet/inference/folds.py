"""Files, each with the split that it is measured on: one, or of a cross-validation one a fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import Any

from kdlnet.curation.divided import Images
from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.digest import images_digest
from kdlnet.data.labels import Split
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Listener, Message
from kdlnet.images.contract import Seeing, adjusted, rates_line
from kdlnet.images.folder import matches
from kdlnet.inference.evaluate import count_learned, open_split
from kdlnet.inference.runtimes import Runtime, open_runtime
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.evaluation import Fold
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.utils.given import Name
from kdlnet.utils.paths import shown, typed


@dataclass(frozen=True)
class Part:
    """A file and the split that it is measured on.

    ``learned`` counts the images of it that the file has learned from, None where it does not tell.
    """

    file: Path
    runtime: Runtime
    info: DatasetInfo
    dataset: DetectionDataset
    loaded: Split
    learned: int | None

    @property
    def images(self) -> Images:
        return self.info, self.dataset.paths

    @property
    def left_out(self) -> list[str]:
        """A line for each image that is not used."""
        return [*self.loaded.left_out, *self.dataset.unreadable]


def open_part(
    file: Path,
    info: DatasetInfo,
    split: str,
    device: str,
    on_event: Listener,
    *,
    seen: Seeing | None = None,
    strict: bool = False,
    exact: bool = False,
) -> Part:
    """The file as it is, not fused in memory, and the split as it wants to see it.

    Raises WeightsError where with ``exact`` the dataset has other classes, more or fewer.
    """
    asked = seen or Seeing()
    runtime = open_runtime(file, device=device, fuse=False, image_size=asked.image_size)
    if exact and set(runtime.names) != set(info.names):
        raise WeightsError(
            f"{str(file)!r} knows {', '.join(runtime.names)}, the dataset has "
            f"{', '.join(info.names)}: compare weights of the same classes"
        )
    contract = adjusted(runtime.preprocess, replace(asked, image_size=None))
    if line := rates_line(runtime.calibration, contract):
        on_event(Message(f"{shown(file)}: {line}", "warning"))
    dataset, loaded = open_split(runtime, info, split, contract, strict, on_event)
    learned = count_learned(runtime, dataset.paths, split, on_event)
    return Part(file, runtime, info, dataset, loaded, learned)


def folder_of_folds(data: Name | Sequence[Name]) -> Path:
    """The one folder that a cross-validation is in. Raises ConfigError for several datasets."""
    if not isinstance(data, str | PathLike):
        raise ConfigError("folds of several datasets: give the one folder with fold-1, fold-2 ...")
    return Path(data)


def find_folds(runs: Path, data: Path, split: str) -> list[tuple[Path, str]]:
    """Weights and dataset of each fold, in the order of their numbers.

    ``data`` holds ``fold-N/data.yaml`` as ``kdlnet data split --folds`` makes them, ``runs`` the
    run folder ``fold-N`` of each. Raises DataError where there are no folds and for the split that
    trainings learn, WeightsError where a training is missing.
    """
    if split == "train":
        raise DataError("--folds with --split train: a fold is judged by what it never saw, val")
    found = {
        _number(file.parent): file.parent
        for file in matches(f"{escape(str(data))}/fold-*/data.yaml")
    }
    found.pop(-1, None)
    if len(found) < 2:
        raise DataError(
            f"--folds: {str(data)!r} has no folders fold-1, fold-2: make them with "
            f"kdlnet data split DATA --folds 5 --out {typed(str(data))}"
        )
    pairs = []
    for number, folder in sorted(found.items()):
        weights = runs / f"fold-{number}" / "weights" / "best.pt"
        if not weights.is_file():
            command = typed("--data", str(folder), "--out", str(runs / folder.name))
            raise WeightsError(f"--folds: {str(weights)!r} does not exist: kdlnet train {command}")
        pairs.append((weights, str(folder)))
    return pairs


def _number(folder: Path) -> int:
    """N of ``fold-N``, -1 for another name."""
    text = folder.name.removeprefix("fold-")
    return int(text) if text.isdecimal() else -1


def require_alike(parts: Sequence[Part]) -> None:
    """Raises WeightsError where folds have other classes, DataError for a leak."""
    first, *others = parts
    for other in others:
        if other.runtime.names != first.runtime.names:
            raise WeightsError(
                f"{str(first.file)!r} and {str(other.file)!r} differ in their classes: pool files "
                "that were trained alike"
            )
        if other.dataset.preprocess.roi != first.dataset.preprocess.roi:
            raise WeightsError(
                f"{str(first.file)!r} and {str(other.file)!r} look at other regions of their images"
                ": pool files that were trained alike, or give --roi"
            )
    if not others:
        return
    # A link beside its image is no second fold.
    real = [{path.resolve() for path in part.dataset.paths} for part in parts]
    images = Counter(image for found in real for image in found)
    image, count = max(images.items(), key=lambda item: item[1])
    if count > 1:
        raise DataError(
            f"image {str(image)!r} is in {count} folds: make them with kdlnet data split --folds"
        )


def one_rule(parts: Sequence[Part], on_event: Listener) -> VerdictRule:
    """The rule by which all parts are judged: their own, or of single scores the mean, and told.

    A training leaves the score that was best on its own fold, so that they differ. Raises
    WeightsError for rules that have no mean.
    """
    rules = [part.runtime.rule for part in parts]
    if len(set(rules)) == 1:
        return rules[0]
    for part, rule in zip(parts, rules, strict=True):
        if rule != VerdictRule.at(rule.score):
            raise WeightsError(
                f"{str(part.file)!r} has thresholds by class, size or count, and folds differ in "
                "theirs: pool the weights as the trainings left them"
            )
    scores = [rule.score for rule in rules]
    on_event(
        Message(
            f"thresholds of {shown(parts[0].file)} and the other folds are {min(scores):.4g} to "
            f"{max(scores):.4g}: verdicts are those of their mean, {fmean(scores):.4g}"
        )
    )
    return VerdictRule.at(fmean(scores))


def choices_of(parts: Sequence[Part], split: str) -> list[tuple[Mapping[str, Any], str]]:
    """How the thresholds of each part's file were chosen, and the digest of what it is judged by.

    A fold without a calibration has the score that its training stored, the best one on its val.
    """
    found: list[tuple[Mapping[str, Any], str]] = []
    record: Mapping[str, Any]
    for part in parts:
        record, digest = part.runtime.calibration, images_digest(part.dataset.paths)
        trained = len(parts) > 1 and split == "val" and part.runtime.rule != VerdictRule()
        if trained and not record:
            record = {"data": part.info.name, "chosen_on": {"split": split, "digest": digest}}
        found.append((record, digest))
    return found


def learned_of(parts: Sequence[Part]) -> int | None:
    """How many images were learned from, None where that is not known of all."""
    known = [part.learned for part in parts if part.learned is not None]
    return sum(known) if len(known) == len(parts) else None


def each_fold(parts: Sequence[Part], found: Sequence[list[ImageResult]]) -> list[Fold]:
    """The figures of every part, from what was ``found`` on it."""
    folds = []
    for part, results in zip(parts, found, strict=True):
        figures = average_precision(results, part.runtime.names)
        folds.append(
            Fold(
                part.file,
                part.info.source,
                figures.images,
                figures.truths,
                figures.ap,
                figures.ap50,
            )
        )
    return folds
