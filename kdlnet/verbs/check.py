"""``kdlnet data check``: the survey of a dataset, its findings, and the folder that keeps them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from kdlnet.curation.checks import choose_checks, run_checks
from kdlnet.curation.checks.survey import Survey, list_dataset, take_survey
from kdlnet.curation.findings import SEVERITIES, Finding
from kdlnet.curation.groups import GROUPS, table_of_groups
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.folder import results_lines
from kdlnet.report.findings import finding_picture
from kdlnet.report.images import after, save_image
from kdlnet.utils.files import write_atomic, write_json
from kdlnet.utils.output import Place

_PICTURES_A_CHECK = 3


@dataclass(frozen=True)
class CheckResult:
    """What was found. ``folder`` is where it was written, None without ``out``.

    ``pictures`` maps file names in that folder to the finding they show.
    """

    survey: Survey
    findings: list[Finding]
    seconds: float
    folder: Path | None = None
    pictures: dict[str, Finding] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by severity, worst first."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}

    def to_dict(self) -> dict[str, Any]:
        """findings.json: see docs/files.md."""
        survey = self.survey
        names = [survey.below(image) for image in survey.images]
        return {
            "dataset": survey.name,
            "root": str(survey.root),
            "images": len(survey.images),
            "splits": {split: len(survey.of(split)) for split in survey.splits},
            "image_size": list(survey.image_size),
            "seconds": round(self.seconds, 2),
            "counts": self.counts,
            "findings": [finding.to_dict(survey.root) for finding in self.findings],
            "pairs": [
                {
                    "first": names[pair.first],
                    "second": names[pair.second],
                    "kind": pair.kind,
                    "overlap": pair.overlap,
                    "agreeing": pair.score,
                }
                for pair in survey.pairs
            ],
            "groups": [[names[position] for position in group] for group in survey.groups],
            "pictures": {
                file: {"check": finding.check, "message": finding.message}
                for file, finding in self.pictures.items()
            },
        }


def check_dataset(
    name: str,
    *,
    data_root: Path | None = None,
    image_size: tuple[int, int] = (640, 640),
    only: Sequence[str] = (),
    out: Path | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> CheckResult:
    """Looks through the dataset ``name`` and says what is wrong with it.

    ``image_size`` (H, W) is the network input that boxes are judged at; ``only`` names the checks
    to run. With ``out`` the folder gets findings.json, groups.csv and pictures of the worst cases.

    Raises DataError when there is no such dataset, an unknown check is named, or ``out`` lies in
    the dataset, which is never written to.
    """
    began = time.perf_counter()
    checks = choose_checks(only)  # a wrong name says so before the work
    listing = list_dataset(name, data_root)
    for note in results_lines(listing.left.results):
        on_event(Message(note, "warning"))
    place = None
    if out is not None:  # so does a folder that must not be written to
        images, root = tuple(listing.splits_of), listing.info.root
        place = Place(out, out, overwrite, images=images, folders=(root,))
        place.check()
    survey = take_survey(listing, image_size, on_event)
    findings = run_checks(survey, checks)
    result = CheckResult(survey, findings, time.perf_counter() - began)
    if place is None:
        return result
    folder = place.make()
    file = folder / "findings.json"
    write_json(file, result.to_dict())
    write_atomic(folder / GROUPS, _groups_table(survey))
    with after(file):
        pictures = _write_pictures(folder, survey, findings, on_event)
    result = replace(result, folder=folder, pictures=pictures)
    write_json(file, result.to_dict())
    return result


def _write_pictures(
    folder: Path, survey: Survey, findings: Sequence[Finding], on_event: Listener
) -> dict[str, Finding]:
    """The worst cases of each check, numbered by their place among the findings."""
    drawn: Counter[str] = Counter()
    pictures = {}
    for number, finding in enumerate(findings, start=1):
        if drawn[finding.check] == _PICTURES_A_CHECK:
            continue
        picture = finding_picture(survey, finding)
        if picture is not None:
            drawn[finding.check] += 1
            file = f"{number:04d}-{finding.check}.jpg"
            save_image(folder / file, picture)
            pictures[file] = finding
            on_event(Progress("draw pictures", len(pictures), len(pictures)))
    return pictures


def _groups_table(survey: Survey) -> bytes:
    """Groups are numbers; images that resemble no other are a group of their own."""
    numbers = count(len(survey.groups) + 1)
    group_of = {at: number for number, group in enumerate(survey.groups, 1) for at in group}
    groups = [group_of.get(at) or next(numbers) for at in range(len(survey.images))]
    return table_of_groups([survey.below(image) for image in survey.images], groups)
