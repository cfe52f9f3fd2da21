"""``kdlnet demo``: the whole method on made-up images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdlnet.utils.paths import shown

from ..console import Console, duration, figure
from ..options import Device, Json, Out, Overwrite, Quiet, Seed, Time, given

if TYPE_CHECKING:
    from kdlnet.verbs.demo import Demo


def demo(
    time: Time = None,
    seed: Seed = None,
    device: Device = None,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the whole method on made-up images.

    Draws a defect set, trains a teacher, distills a student, fuses it with proof, validates,
    predicts and benchmarks. --time is for the two trainings [6m].

    \b
    kdlnet demo
    """
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.demo import demo as run_demo

        from ..progress import EventPrinter

        with EventPrinter(console, epochs_known=False) as printer:
            result = run_demo(
                overwrite=overwrite,
                on_event=printer,
                **given(out=out, seed=seed, device=device, training_seconds=time),
            )
        _show(console, result)


def _show(console: Console, result: Demo) -> None:
    facts = result.metrics
    console.say()
    console.say(
        f"teacher AP50 {figure(facts['teacher_ap50'])}, student AP50 "
        f"{figure(facts['student_ap50'])} on val, after fusing; "
        f"{facts['images_per_second']:.0f} images/s from file to boxes on {facts['device']}",
        "bold",
    )
    console.table(
        ("where to look", "<"),
        [(name, shown(place)) for name, place in result.places.items()],
    )
    console.say(f"done in {duration(sum(result.seconds.values()))}")
    console.document(result.to_dict())
