"""``kdlnet data show``: a page and contact sheets to look through a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

from ..console import Console
from ..options import (
    DataArgument,
    DataRoot,
    Json,
    Out,
    Overwrite,
    Quiet,
    Seed,
    above_zero,
    at_least_one,
    given,
    option,
)

OneSplit = Annotated[
    str | None, option("--split", metavar="NAME", help="Only this split [all of them].")
]
Limit = Annotated[
    int | None,
    option("--limit", metavar="N", callback=at_least_one, help="Most images on the page [1500]."),
]
Megabytes = Annotated[
    float | None,
    option("--megabytes", metavar="MB", callback=above_zero, help="Size of the page [32]."),
]
Findings = Annotated[
    Path | None,
    option("--findings", metavar="FILE", help="findings.json of 'kdlnet data check'."),
]


def show(
    data: DataArgument,
    out: Out = None,
    split: OneSplit = None,
    findings: Findings = None,
    limit: Limit = None,
    megabytes: Megabytes = None,
    seed: Seed = None,
    data_root: DataRoot = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look through a dataset: one HTML page with boxes and filters, and contact sheets.

    The page needs no network and can be sent as it is.

    \b
    kdlnet data show neu-det --out look
    """
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.show import show_dataset

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            view = show_dataset(
                data,
                out=out,
                split=split,
                findings=findings,
                data_root=data_root,
                overwrite=overwrite,
                on_event=printer,
                **given(limit=limit, megabytes=megabytes, seed=seed),
            )
        for sheet in view.sheets:
            console.say(f"sheet {shown(sheet)}")
        size = f"{counted(view.images, 'image')} of up to {view.side} px, {view.megabytes:.1f} MB"
        console.say(f"page {shown(view.page)}: {size}", "bold")
        console.document(view.to_dict())
