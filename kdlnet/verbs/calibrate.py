"""Thresholds that meet a requirement, in a copy of the weights: what ``kdlnet calibrate`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdlnet import __version__
from kdlnet.curation.divided import groups_of, tell_groups
from kdlnet.curation.groups import lots_of
from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.digest import images_digest
from kdlnet.data.joined import find_datasets
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, DataError, unknown
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.copies import content_of, copy_network, copy_path, require_unchanged
from kdlnet.inference.evaluate import count_learned, detect, open_split
from kdlnet.inference.released import released_or_file
from kdlnet.inference.runtimes import Runtime, open_runtime
from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.curves import best_thresholds
from kdlnet.metrics.operating_point import Costs, Goal, Unsure, choose
from kdlnet.metrics.rates import PartRates, VerdictReport, measure, tabulate_parts
from kdlnet.metrics.requirement import Check, checks, require_possible
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.calibrated import choosers
from kdlnet.report.pages.counting import BoxCounts, count_all
from kdlnet.utils.given import AnyPath, Name, as_path, checked

__all__ = [
    "Calibration",
    "Costs",
    "Goal",
    "Outcome",
    "PartRates",
    "Rate",
    "Unsure",
    "VerdictReport",
    "calibrate",
]

NO_REPORT = "none"


@dataclass(frozen=True)
class Outcome:
    """What the new rule does on one split: rates, boxes, and the requirement held against them."""

    split: str
    images: int
    learned: int | None
    digest: str
    verdicts: VerdictReport
    boxes: BoxCounts
    checks: list[Check]
    expected_cost: float | None

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "split": self.split,
            "images": self.images,
            "learned_images": self.learned,
            "digest": self.digest,
            "verdicts": self.verdicts.to_dict(),
            "boxes": asdict(self.boxes),
            "checks": [check.to_dict() for check in self.checks],
            "expected_cost": self.expected_cost,
        }


@dataclass(frozen=True)
class Calibration:
    """The new rule, and what it does on the images that chose it and on others.

    ``reported`` is None where no second split was looked at. ``path`` is the copy of ``weights``.
    ``choosers`` has the digest of the images that chose, now or in a calibration of ``weights``, by
    class.
    """

    weights: Path
    path: Path
    data: str
    goal: Goal
    unsure: Unsure | None
    rule: VerdictRule
    names: tuple[str, ...]
    preprocess: dict[str, Any]
    chosen: Outcome
    reported: Outcome | None
    choosers: dict[str, str]

    @property
    def fitted(self) -> bool:
        """Whether the images that chose have chosen several thresholds."""
        chosen = [self.choosers.get(name) == self.chosen.digest for name in self.names]
        return self.rule.several(label for label, own in enumerate(chosen) if own)

    def facts(self) -> dict[str, Any]:
        """What the copy carries: builtins."""
        return {
            "kdlnet": __version__,
            "weights": self.weights.name,
            "data": self.data,
            "preprocess": self.preprocess,
            "goal": asdict(self.goal),
            "unsure": None if self.unsure is None else asdict(self.unsure),
            "thresholds": self.rule.to_dict(self.names),
            "choosers": self.choosers,
            "chosen_on": self.chosen.to_dict(),
            "reported_on": None if self.reported is None else self.reported.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {"calibrated": str(self.path), **self.facts()}


@checked
def calibrate(
    weights: AnyPath,
    goal: Goal,
    *,
    data: Name | Sequence[Name],
    data_root: AnyPath | None = None,
    unsure: Unsure | None = None,
    sizes: Mapping[str, Mapping[str, float]] | None = None,
    split: str = "val",
    report: str | None = None,
    lot_by: str | None = None,
    batch: int = 16,
    device: str = "auto",
    out: AnyPath | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> Calibration:
    """Chooses thresholds for ``goal`` on a split and writes a copy of ``weights`` with them.

    ``data`` is one dataset or several. ``sizes`` maps ``min_area``, ``min_length`` and
    ``min_count`` to values by class name, "" for all classes; what is not given stays as in the
    file. The rates are reported on the split ``report``: by default on test where the dataset has
    one, "none" on no other. The copy is ``out``, by default ``<name>-calibrated`` beside the
    weights.

    Raises ConfigError for values out of range, DataError where the split cannot support the choice,
    KdlnetError where the copy would replace what is there, or ``weights`` changed meanwhile.
    """
    weights, data_root, out = as_path(weights), as_path(data_root), as_path(out)
    file = released_or_file(weights)
    path = copy_path(weights, file, "calibrated", out, overwrite)
    content = content_of(file)
    runtime = open_runtime(weights, device=device, fuse=False)
    names = runtime.names
    require_possible(goal, unsure, names)
    base = _sized(runtime.rule, names, sizes or {})
    info = find_datasets(data, data_root)
    other = _other(info, split, report)
    if split == "train":
        on_event(
            Message("chosen on images that the model has learned: others score lower", "warning")
        )
    found = _Seen.of(runtime, info, split, lot_by, batch, on_event)
    try:
        parts = tabulate_parts(found.results, base, len(names))
        best = best_thresholds(found.results, names) if goal.kind == "f1" else []
        rule = choose(parts, names, goal, unsure, base, best)
    except DataError as error:
        raise DataError(f"split {split!r} of {info.name}: {error}") from None
    _tell_unsure(base, rule, names, unsure, on_event)
    seen = None if other is None else _Seen.of(runtime, info, other, lot_by, batch, on_event)
    anew = names if goal.whole or unsure is not None else tuple(goal.by_class)
    result = Calibration(
        weights,
        path,
        info.name,
        goal,
        unsure,
        rule,
        names,
        runtime.preprocess.to_dict(),
        found.outcome(rule, names, goal, unsure, chosen=True),
        None if seen is None else seen.outcome(rule, names, goal, unsure),
        choosers(runtime.calibration, names) | dict.fromkeys(anew, found.digest),
    )
    require_unchanged(file, content)
    copy_path(weights, file, "calibrated", out, overwrite)  # another may be there by now
    copy_network(file, path, thresholds=rule.to_dict(names), calibration=result.facts())
    return result


@dataclass(frozen=True)
class _Seen:
    """A split with all that was found on it."""

    split: str
    digest: str
    learned: int | None
    results: list[ImageResult]
    lots: list[str] | None

    @classmethod
    def of(
        cls,
        runtime: Runtime,
        info: DatasetInfo,
        split: str,
        lot_by: str | None,
        batch: int,
        on_event: Listener,
    ) -> _Seen:
        dataset, _ = open_split(runtime, info, split, None, False, on_event)
        digest = images_digest(dataset.paths)
        learned = count_learned(runtime, dataset.paths, split, on_event)
        tell_groups(groups_of([(info, dataset.paths)], None, on_event), split, on_event)
        lots = lots_of(info, dataset.paths, lot_by)
        results = detect(runtime.engine, dataset, batch, on_event=on_event)
        return cls(split, digest, learned, results, lots)

    def outcome(
        self,
        rule: VerdictRule,
        names: Sequence[str],
        goal: Goal,
        unsure: Unsure | None,
        *,
        chosen: bool = False,
    ) -> Outcome:
        verdicts = measure(self.results, rule, names, self.lots)
        missed, rejected = verdicts.overall.escape, verdicts.overall.overkill
        cost = None
        if goal.costs is not None and missed.of and rejected.of:
            cost = goal.costs.expected(missed, rejected)
        facts = self.split, len(self.results), self.learned, self.digest
        boxes = count_all(self.results, rule, len(names))
        held = checks(goal, unsure, verdicts, chosen=chosen)
        return Outcome(*facts, verdicts, boxes, held, cost)


def _tell_unsure(
    base: VerdictRule,
    rule: VerdictRule,
    names: Sequence[str],
    unsure: Unsure | None,
    on_event: Listener,
) -> None:
    """Warns of classes whose parts are no longer UNSURE, or not though that was asked for."""
    none = [name for label, name in enumerate(names) if rule.of(label).unsure is None]
    if unsure is None:
        none = [name for name in none if base.of(names.index(name)).unsure is not None]
        what = " any more"
        why = (
            "the stored threshold for that goes with the one for NG; choose a new one with "
            "--unsure, or such parts pass as OK"
        )
    else:
        kind, what = ("share" if unsure.recall is None else "recall"), ""
        why = (
            f"the threshold for {kind} {getattr(unsure, kind):g} would not be below that of NG; "
            f"raise the {kind}, or leave it out"
        )
    if none:
        of = "" if len(none) == len(names) else f" for {', '.join(none)}"
        on_event(Message(f"no part is UNSURE{what}{of}: {why}", "warning"))


def _sized(
    rule: VerdictRule, names: Sequence[str], sizes: Mapping[str, Mapping[str, float]]
) -> VerdictRule:
    """The rule with other sizes and counts. Raises ConfigError."""
    for by_class in sizes.values():
        for name in by_class:
            if name and name not in names:
                raise ConfigError(unknown("class", name, names))
    rules = []
    for label, name in enumerate(names):
        changed = {
            size: by_class.get(name, by_class.get("", getattr(rule.of(label), size)))
            for size, by_class in sizes.items()
        }
        try:
            rules.append(replace(rule.of(label), **changed))
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return VerdictRule(tuple(rules))


def _other(info: DatasetInfo, split: str, report: str | None) -> str | None:
    """The split to report on, None for no other. Raises DataError for one without images."""
    if report is None:
        report = "test" if info.splits.get("test") else NO_REPORT
    if report in (NO_REPORT, split):
        return None
    list_images(info, report)
    return report
