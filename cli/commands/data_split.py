"""``kdlnet data split``: divide a dataset anew, groups whole and classes in proportion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kdlnet.utils.paths import shown

from ..console import Console
from ..errors import UsageProblem
from ..options import (
    DataArgument,
    DataRoot,
    Json,
    Overwrite,
    Quiet,
    Seed,
    given,
    option,
)

if TYPE_CHECKING:
    from kdlnet.verbs.split import PartCounts, SplitReport

_EVEN = {"train": 0.8, "val": 0.1, "test": 0.1}

Folder = Annotated[Path, option("--out", metavar="DIR", help="New folder for the lists.")]
Folds = Annotated[
    int | None,
    option("--folds", metavar="K", help="K parts for cross-validation."),
]
GroupBy = Annotated[
    str | None,
    option(
        "--group-by",
        metavar="RULE",
        help="What stays together: a regular expression on the file name whose one group names "
        "the part, a CSV with image,group, 'duplicates' or 'copies'.",
    ),
]
Keep = Annotated[
    str | None, option("--keep", metavar="SPLIT", help="Leave this split as it is, e.g. test.")
]


Train = Annotated[
    float | None, option("--train", metavar="F", help="Share of train, 0 to 1 [the rest].")
]
_SHARE = "0: none [0.1 where no share is given]."
Val = Annotated[float | None, option("--val", metavar="F", help=f"Share of val, {_SHARE}")]
Test = Annotated[float | None, option("--test", metavar="F", help=f"Share of test, {_SHARE}")]


def choose_shares(
    train: float | None, val: float | None, test: float | None, keep: str | None
) -> dict[str, float]:
    """The shares that were given, train by default what is left; without any 0.8, 0.1, 0.1.

    A share of 0 makes no such split. Beside a kept train val and test get half of the rest each.

    Raises UsageProblem for a share of the split that is kept and when nothing is left for train.
    """
    asked = given(train=train, val=val, test=test)
    if keep in asked:
        raise UsageProblem(f"--keep {keep} and --{keep}: a split is kept or divided, not both")
    unwanted = {name for name, share in asked.items() if not share}
    if asked.keys() == unwanted:
        asked = {name: _EVEN[name] for name in ("val", "test") if name not in {keep, *unwanted}}
        if keep == "train":  # what is divided is the rest: the same ratio, all of it
            asked = {name: share / sum(asked.values()) for name, share in asked.items()}
    asked = {name: share for name, share in asked.items() if share}
    written = " ".join(f"--{name} {share:g}" for name, share in asked.items())
    if train is None and keep != "train":
        rest = round(1 - sum(asked.values()), 9)  # 1 - 0.1 - 0.1 is not 0.8 in binary
        if rest <= 0:
            raise UsageProblem(f"{written}: leave something for train, shares sum to 1")
        asked = {"train": min(rest, 1.0), **asked}  # of a share below 0 the split itself tells
    elif train is not None and (total := sum(asked.values())) < 1 - 1e-6:
        raise UsageProblem(
            f"{written} sum to {total:g}, not to 1: leave --train out, which takes what --val and "
            "--test leave, or give them the rest"
        )
    return asked


def split(
    data: DataArgument,
    out: Folder,
    train: Train = None,
    val: Val = None,
    test: Test = None,
    folds: Folds = None,
    group_by: GroupBy = None,
    keep: Keep = None,
    seed: Seed = None,
    data_root: DataRoot = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide a dataset anew: groups stay whole, classes keep their shares.

    Writes list files and a data.yaml into DIR. Images and labels stay where they are.

    \b
    kdlnet data split parts --out parts-by-board --group-by '^(\\d+)_'
    """
    if folds is not None and given(train=train, val=val, test=test):
        raise UsageProblem("--folds and shares (--train, --val, --test): give one of the two")
    if folds is not None and keep not in (None, "test"):
        raise UsageProblem(
            f"--keep {keep} and --folds: folds divide it; leave it out or --keep test"
        )
    shares = choose_shares(train, val, test, keep) if folds is None else None
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.split import split_dataset

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            report = split_dataset(
                data,
                out,
                data_root=data_root,
                shares=shares,
                folds=folds,
                group_by=group_by,
                keep=keep,
                overwrite=overwrite,
                on_event=printer,
                **given(seed=seed),
            )
        _show(console, report, grouped=group_by is not None)


def _show(console: Console, report: SplitReport, grouped: bool) -> None:
    parts = report.parts.values()
    heads = ["", "all", *(_head(name, part) for name, part in report.parts.items())]
    images, good = [part.images for part in parts], [part.good for part in parts]
    groups = [part.groups for part in parts]
    rows = [
        _row(report, "images", images, "images"),
        ["groups", sum(groups), *groups, "", ""],
        _row(report, "good parts", good, "good"),
        *(
            _row(report, name, [part.classes[name] for part in parts], name, held)
            for name, held in report.class_groups.items()
        ),
    ]
    console.say("images that hold each class, and the largest distance of a part from its share")
    console.table([*heads, "groups", "off by"], rows)
    for line in report.warnings:
        console.warn(line)
    if not grouped:
        console.say(
            "each image is a group of its own; where several show the same part, give --group-by"
        )
    for file in report.files:
        console.say(f"dataset {shown(file)}", "bold")
    console.document(report.to_dict())


def _head(name: str, part: PartCounts) -> str:
    """Folds are equal by their nature; only splits tell what was asked for."""
    if part.share is None:
        return f"{name} (kept)"
    return name if name.startswith("fold-") else f"{name} {100 * part.share:.4g} %"


def _row(
    report: SplitReport, title: str, counts: list[int], key: str, groups: int | None = None
) -> list[object]:
    off = f"{100 * report.deviation[key]:.1f} %"
    return [title, sum(counts), *counts, "" if groups is None else groups, off]
