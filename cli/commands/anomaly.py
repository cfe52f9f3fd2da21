"""``kdlnet anomaly``: scores that know what good parts look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kdlnet.utils.words import counted

from ..console import Console, figure
from ..datasets import sets_of
from ..options import (
    Batch,
    DataNames,
    DataRoot,
    Device,
    Json,
    Overwrite,
    Quiet,
    Weights,
    WeightsArgument,
    given,
    one_weights,
    option,
)

if TYPE_CHECKING:
    from kdlnet.verbs.anomaly import Anomaly


def anomaly(
    weights_file: WeightsArgument = None,
    weights: Weights = None,
    data: DataNames = None,
    data_root: DataRoot = None,
    batch: Batch = None,
    device: Device = None,
    out: Annotated[
        Path | None,
        option("--out", metavar="FILE", help="The copy [NAME-anomaly beside WEIGHTS]."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn from good parts: scores rise where an image is unlike them, and fall where it is not.

    What the network sees on the images of train without a box, 50 or more, becomes part of a copy
    of the weights. It is for the verdict on whole parts, and may cost a point of AP: both are told,
    as they were and as they are on val. Then choose the thresholds anew: kdlnet calibrate.

    \b
    kdlnet anomaly best.pt --data parts/data.yaml
    kdlnet calibrate best-anomaly.pt --data parts/data.yaml --max-overkill 0.02
    """
    file = one_weights(weights_file, weights)
    sets = sets_of(data)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.anomaly import anomaly as engine

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            result = engine(
                file,
                data=sets,
                overwrite=overwrite,
                on_event=printer,
                **given(data_root=data_root, batch=batch, device=device, out=out),
            )
        _show(console, result)


def _show(console: Console, result: Anomaly) -> None:
    console.say(
        f"learned {counted(result.good, 'good part')} of train, scaled by {result.compared} of val"
    )
    before, after = result.before, result.after
    rows = [
        ("AP", figure(before.ap, 3), figure(after.ap, 3)),
        ("AP50", figure(before.ap50, 3), figure(after.ap50, 3)),
    ]
    rows.append(("AUROC of images", figure(before.auroc, 3), figure(after.auroc, 3)))
    for percent, share in after.caught.items():
        head = f"caught, at most {percent} % of good rejected"
        rows.append((head, figure(before.caught[percent], 3), figure(share, 3)))
    good = result.images - result.defective
    console.table((f"val: {good} good, {result.defective} defective", "before", "after"), rows)
    console.say(f"written {result.path}", "bold")
    console.document(result.to_dict())
