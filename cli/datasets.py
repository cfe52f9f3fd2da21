"""The datasets that a command was given, and what it says of one that it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kdlnet.utils.paths import shown

from .console import Console
from .errors import UsageProblem

if TYPE_CHECKING:
    from kdlnet.verbs.convert import ConvertReport


def sets_of(data: list[str] | None) -> str | list[str]:
    """The dataset that was named, or several. Raises UsageProblem for none."""
    if not data:
        raise UsageProblem("no dataset: give --data, a name in datasets.yaml or a data.yaml")
    return data[0] if len(data) == 1 else data


def one_set(data: list[str] | None) -> str | None:
    """The dataset of a verb that takes one. Raises UsageProblem for several."""
    if data and len(data) > 1:
        raise UsageProblem(f"--data {data[0]} and --data {data[1]}: give one, images of it will do")
    return data[0] if data else None


def show_report(console: Console, report: ConvertReport) -> None:
    """What was written, as a table and warnings, or as the document."""
    splits = report.splits.values()
    rows = [
        ("images", *(counts.images for counts in splits)),
        ("good parts", *(counts.good for counts in splits)),
        ("boxes", *(counts.boxes for counts in splits)),
        *((name, *(counts.classes[name] for counts in splits)) for name in report.names),
    ]
    console.table(("", *report.splits), rows)
    if report.converted:
        console.say(f"converted: {_counted(report.converted)}")
    if report.first_bare:
        console.say(f"first without an annotation: {shown(Path(report.first_bare))}")
    for what, counts in (
        ("boxes repaired", report.repaired),
        ("boxes dropped", report.dropped),
        ("files left out", report.left_out),
    ):
        if counts:
            console.warn(f"{what}: {_counted(counts)}")
    for line in (*report.examples, *report.warnings):
        console.warn(line)
    described = report.folder / "data.yaml"
    console.say(f"dataset {shown(described if described.is_file() else report.folder)}", "bold")
    console.document(report.to_dict())


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
