"""``kdlnet fuse``: fold the branches into plain convolutions, with proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Console, figure
from ..options import (
    Data,
    DataRoot,
    Device,
    Json,
    Overwrite,
    Quiet,
    Split,
    Weights,
    WeightsArgument,
    given,
    one_weights,
)

if TYPE_CHECKING:
    from kdlnet.engine.certificate import Certificate


def fuse(
    weights_file: WeightsArgument = None,
    weights: Weights = None,
    data: Data = None,
    data_root: DataRoot = None,
    split: Split = None,
    images: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images of the proof [32].", show_default=False),
    ] = None,
    device: Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Fused file [NAME-fused.pt beside WEIGHTS].", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fold weights for inference and prove that nothing changed.

    With --data the proof uses real images and their labels, else random ones. When it fails the
    exit code is 4 and no file is written.

    \b
    kdlnet fuse runs/train/neu-det/weights/best.pt --data neu-det
    """
    file = one_weights(weights_file, weights)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.engine.certificate import fuse as run_fuse

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            certificate = run_fuse(
                file,
                on_event=printer,
                overwrite=overwrite,
                **given(data=data, data_root=data_root, split=split, images=images),
                **given(device=device, out=out),
            )
        _show(console, certificate)


def _show(console: Console, certificate: Certificate) -> None:
    facts = certificate.to_dict()
    if facts.get("already_fused"):
        console.say(f"{facts['weights']} is fused already: nothing to do")
        console.document(facts)
        return
    console.table(("", "before", "after"), _rows(facts))
    kind = "real" if facts["real_images"] else "random (give --data for real ones)"
    same = "the same boxes" if facts["same_boxes"] else "other boxes"
    console.say(
        f"proof on {facts['images']} {kind} images: {same}, largest logit error "
        f"{facts['largest_logit_error']:.1e} (allowed {facts['tolerance']:.1e})"
    )
    console.say(f"fused   {facts['fused']}", "bold")
    console.document(facts)


def _rows(facts: dict[str, Any]) -> list[tuple[str, ...]]:
    """Name, before, after of each figure of the certificate that was measured."""
    kinds = (
        ("parameters", "parameters", 0),
        ("GFLOPs", "gflops", 2),
        ("latency, ms", "latency_ms", 2),
        ("AP", "ap", 4),
    )
    rows: list[tuple[str, ...]] = []
    for head, key, digits in kinds:
        before, after = facts.get(f"{key}_before"), facts.get(f"{key}_after")
        if before is not None or after is not None:
            rows.append((head, figure(before, digits), figure(after, digits)))
    return rows
