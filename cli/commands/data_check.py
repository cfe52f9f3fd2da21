"""``kdlnet data check``: what is wrong with a dataset before any training."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

from ..console import Console, duration
from ..errors import PROOF, UsageProblem
from ..options import DataRoot, Json, Overwrite, Quiet, given, names_in, option
from ..seeing import seeing

if TYPE_CHECKING:
    from kdlnet.verbs.check import CheckResult

_LEVELS = {"error": ("error",), "warning": ("error", "warning")}
_LONGEST = 120  # characters of a cell


def check(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Name in datasets.yaml, a data.yaml or a folder of images."
        ),
    ],
    data_root: DataRoot = None,
    image_size: Annotated[
        str | None,
        option("--image-size", metavar="N|HxW", help="Input that boxes are judged at [640]."),
    ] = None,
    only: Annotated[
        list[str] | None,
        option("--only", metavar="NAMES", help="Checks to run: rows,group [all]."),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", metavar="DIR", help="Folder for findings.json, groups.csv and pictures."),
    ] = None,
    overwrite: Overwrite = False,
    fail_on: Annotated[
        str | None,
        option("--fail-on", metavar="LEVEL", help="error or warning: exit with 4 if there is one."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look through a dataset for what spoils a training.

    Broken files, wrong labels, boxes of a few pixels, images that are there twice, parts that
    are in train and test, splits that differ. Nothing is written into the dataset.

    \b
    kdlnet data check neu-det --out found
    kdlnet data split neu-det --group-by found/groups.csv --out neu-det-split
    """
    if fail_on not in (None, *_LEVELS):
        raise UsageProblem(f"--fail-on {fail_on!r}: write error or warning")
    checks = names_in("--only", only)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.check import check_dataset

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            result = check_dataset(
                data,
                on_event=printer,
                overwrite=overwrite,
                **given(data_root=data_root, out=out, only=checks),
                **seeing(image_size),
            )
        _show(console, result)
        console.document(result.to_dict())
        if fail_on is not None and any(result.counts[level] for level in _LEVELS[fail_on]):
            raise typer.Exit(PROOF)  # the findings have said why


def _show(console: Console, result: CheckResult) -> None:
    """One line a check and severity, worst first, with the first finding as the example."""
    survey = result.survey
    counts = Counter((finding.severity, finding.check) for finding in result.findings)
    firsts = {(finding.severity, finding.check): finding for finding in reversed(result.findings)}
    fixes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for finding in result.findings:
        fixes[finding.severity, finding.check].add(finding.fix)
    rows = []
    for key, count in counts.items():
        first = firsts[key]
        others = " (others differ)" if first.fix and len(fixes[key]) > 1 else ""
        where = f"{first.image.name}: " if first.image is not None else ""
        rows.append((*key, count, _short(where + first.message), _short(first.fix) + others))
    console.table(("severity", "<check", "count", "<the first one", "<what to do"), rows)
    splits = ", ".join(f"{len(survey.of(split))} {split}" for split in survey.splits)
    found = ", ".join(counted(count, severity) for severity, count in result.counts.items())
    console.say(f"{survey.name}: {splits}; {found.replace('info', 'note')}", "bold")
    console.say(f"{counted(len(survey.images), 'image')} in {duration(result.seconds)}")
    if result.folder is not None:
        console.say(f"findings {shown(result.folder / 'findings.json')}", "bold")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
