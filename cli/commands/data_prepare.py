"""``kdlnet data prepare``: a known dataset from its authors' layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdlnet.utils.paths import shown, typed

from ..console import Console
from ..datasets import show_report
from ..options import Json, Overwrite, Quiet, Seed, given, option
from ..pairs import parse_splits
from .data import KeepPartial, SplitLists

Name = Annotated[str, typer.Argument(metavar="NAME", help="A dataset of datasets.yaml.")]
Source = Annotated[
    Path, option("--from", metavar="DIR", help="The folder as its authors publish it.")
]
Folder = Annotated[
    Path | None, option("--out", metavar="DIR", help="New folder [NAME in $KDLNET_DATA or here].")
]


def prepare(
    name: Name,
    source: Source,
    out: Folder = None,
    split: SplitLists = None,
    seed: Seed = None,
    keep_partial: KeepPartial = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a published dataset, check its counts and split it.

    Without --split the images are split by the dataset's own lists or by its
    group rule, which keeps images of one part together. The folder is only
    read.

    \b
    kdlnet data prepare neu-det --from NEU-DET
    """
    splits = parse_splits(split)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.prepare import catalog_entry
        from kdlnet.verbs.prepare import prepare as run_prepare

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            report = run_prepare(
                name,
                source,
                out,
                splits=splits,
                keep_partial=keep_partial,
                overwrite=overwrite,
                on_event=printer,
                **given(seed=seed),
            )
        show_report(console, report)
        entry = catalog_entry(name)
        console.say(f"terms: {entry.terms}")
        console.say(f"cite: {entry.citation}")
        console.say(f"next: kdlnet train --data {typed(shown(report.folder))}")
