"""``kdlnet val``: average precision of weights on a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from kdlnet.utils.files import shown

from ..console import Console, figure
from ..errors import UsageProblem
from ..options import (
    Batch,
    Data,
    DataRoot,
    Device,
    ImageSize,
    Json,
    Out,
    Overlap,
    Overwrite,
    Quiet,
    RunnableArgument,
    Split,
    Strict,
    Tile,
    Weights,
    Window,
    given,
    one_weights,
    option,
    seeing,
)

if TYPE_CHECKING:
    from kdlnet.verbs.val import AveragePrecision, ClassPrecision, EvalResult


def val(
    weights_file: RunnableArgument = None,
    weights: Weights = None,
    data: Data = None,
    data_root: DataRoot = None,
    split: Split = None,
    image_size: ImageSize = None,
    window: Window = None,
    tile: Tile = None,
    overlap: Overlap = None,
    batch: Batch = None,
    device: Device = None,
    pictures: Annotated[
        bool | None,
        option("--pictures/--no-pictures", help="Draw what was found and missed [on]."),
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the precision of weights on a dataset.

    AP, AP50 and AP75, over all, per class and per size.
    The folder (runs/val/NAME unless --out) gets metrics.json, curves, the confusion matrix and
    pictures with true, false and missed boxes.

    \b
    kdlnet val runs/train/neu-det/weights/best.pt --data neu-det --split test
    """
    file = one_weights(weights_file, weights)
    if data is None:
        raise UsageProblem("no dataset: give --data, a name in datasets.yaml or a data.yaml")
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.val import validate

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            result = validate(
                file,
                data=data,
                on_event=printer,
                overwrite=overwrite,
                strict=strict,
                **seeing(image_size, window, tile, overlap),
                **given(split=split, data_root=data_root, batch=batch),
                **given(device=device, out=out, pictures=pictures),
            )
        _show(console, result)


def _show(console: Console, result: EvalResult) -> None:
    found = result.precision
    rows = [_row("all", found)]
    rows += [_row(name, values) for name, values in found.per_class.items()]
    console.table(("class", "boxes", "AP", "AP50", "AP75", "recall"), rows)
    cells = ", ".join(f"{name} {figure(value)}" for name, value in found.per_size.items())
    console.say(f"AP by size: {cells}")
    problems = f", {len(result.problems)} problems in the data" if result.problems else ""
    console.say(f"{found.images} images{problems}; all is in {shown(result.folder)}")
    console.document({"folder": result.folder, **result.to_dict(), "problems": result.problems})


def _row(name: str, found: AveragePrecision | ClassPrecision) -> tuple[str, ...]:
    values = (found.truths, found.ap, found.ap50, found.ap75, found.recall)
    return (name, *map(figure, values))
