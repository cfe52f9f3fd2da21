"""``kdlnet predict --merge``, and what both it and ``predict`` show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kdlnet.utils.paths import shown

from .console import Console

if TYPE_CHECKING:
    from kdlnet.verbs.predict import PredictResult

_FEW = 20  # up to so many classes all get a row


def merge_folder(folder: Path, *, as_json: bool, quiet: bool) -> PredictResult:
    """Merges the shards in ``folder`` and shows what they came to."""
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.merge import merge_shards

        from .progress import EventPrinter

        with EventPrinter(console) as printer:
            result = merge_shards(folder, on_event=printer)
        show_predicted(console, result)
        console.document(result.to_dict())
    return result


def show_predicted(console: Console, result: PredictResult, kind: str = "images") -> None:
    """Boxes by class, verdicts, speed and the folder, for people."""
    many = len(result.boxes) > _FEW
    rows = [(name, str(count)) for name, count in result.boxes.items() if count or not many]
    console.table(("class", "boxes"), [*rows, ("all", str(sum(result.boxes.values())))])
    unread = f"; {len(result.skipped)} UNREADABLE" if result.skipped else ""
    stages = ", ".join(f"{stage} {1000 * value:.1f}" for stage, value in result.stages.items())
    before = f"; {result.before} of them by an earlier call" if stages and result.before else ""
    unsure = f"{result.unsure} UNSURE, " if result.unsure else ""
    seen = f"1 {kind[:-1]}" if result.images == 1 else f"{result.images} {kind}"
    console.say(f"{seen}: {result.ok} OK, {unsure}{result.ng} NG{unread}{before}")
    if stages:
        console.say(f"{result.images_per_second:.1f} {kind}/s with all; ms of work each: {stages}")
    if result.folder is not None:
        console.say(f"all is in {shown(result.folder)}")
