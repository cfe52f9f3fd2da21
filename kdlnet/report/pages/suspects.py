"""Suspicious labels as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdlnet.metrics.suspects import Suspect
from kdlnet.report.pages.section import Cell, Section, Table
from kdlnet.report.pages.subject import Subject
from kdlnet.report.pages.words import visible

SUSPECTS = {
    "unlabelled": "looks like a defect, has no label",
    "class": "looks like another kind than its label",
    "unfound": "has a label, nothing finds it",
}


@dataclass(frozen=True, slots=True)
class SuspectRow:
    """A suspicious label and the image that it is in."""

    image: int
    kind: str
    box: tuple[float, float, float, float]
    title: str
    words: str


def suspect_rows(subject: Subject) -> list[SuspectRow]:
    place = {image.name: row for row, image in enumerate(subject.images)}
    return [
        SuspectRow(place[found.image], found.kind, found.box, _title(found), SUSPECTS[found.kind])
        for found in subject.result.analysis.suspects.boxes
    ]


def _title(found: Suspect) -> str:
    name = visible(found.found or found.labelled or "")
    if found.kind == "class":
        name = f"{name}, labelled {visible(found.labelled or '')}"
    return f"{name}, score {found.score:.2f}"


def suspect_section(subject: Subject, files: Sequence[str], pictures: bool) -> Section:
    """Labels that a person should look at again; a list without ``pictures``.

    ``files`` are the names of the images as the page shows them.
    """
    counts = subject.result.analysis.suspects.counts
    parts = [f"{SUSPECTS[kind]}: {count}" for kind, count in counts.items() if count]
    lines = tuple(
        (files[row.image] or f"picture {row.image + 1}", Cell(row.title, row.words))
        for row in suspect_rows(subject)
    )
    return Section(
        id="labels",
        name="Labels to check",
        title="Labels to check",
        lead="Here the model and the labels contradict each other so plainly that the label may be "
        f"wrong: {'; '.join(parts)}. Wrong labels spoil the training and every rate above.",
        notes=(
            "The folder suspicious beside this page holds them for LabelMe: suggestions begin with "
            "“?”. Rename what is right, delete what is not; kdlnet data convert labelme suspicious "
            "--onto DATA --out NEW writes the dataset anew with these labels.",
        ),
        tables=() if pictures else (Table(("Picture", "What is doubtful"), lines),),
        gallery="suspects" if pictures else "",
    )
