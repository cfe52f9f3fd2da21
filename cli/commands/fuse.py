"""``kdlnet fuse``: fold the branches into plain convolutions, with proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kdlnet.utils.words import counted

from ..console import Console, figure
from ..datasets import one_set
from ..options import (
    Data,
    DataRoot,
    Json,
    Overwrite,
    Quiet,
    Split,
    Weights,
    WeightsArgument,
    given,
    one_weights,
    option,
)

if TYPE_CHECKING:
    from kdlnet.verbs.fuse import Certificate


def fuse(
    weights_file: WeightsArgument = None,
    weights: Weights = None,
    data: Data = None,
    data_root: DataRoot = None,
    split: Split = None,
    images: Annotated[
        int | None,
        option("--images", metavar="N", help="Images of the proof, 32 or more [all]."),
    ] = None,
    device: Annotated[
        str | None,
        option("--device", metavar="NAME", help="Where the proof runs: auto, cpu or cuda:N [cpu]."),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", metavar="FILE", help="Fused file [NAME-fused.pt beside WEIGHTS]."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fold weights for inference and prove that nothing changed.

    With --data the proof runs on real images and compares AP, else on random images. The
    certificate is kept beside the fused file. When the proof fails the exit code is 4 and no file
    is written.

    \b
    kdlnet fuse runs/train/neu-det/weights/best.pt --data neu-det
    """
    file = one_weights(weights_file, weights)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.fuse import fuse as run_fuse

        from ..progress import EventPrinter

        with EventPrinter(console) as printer:
            certificate = run_fuse(
                file,
                on_event=printer,
                overwrite=overwrite,
                **given(data=one_set(data), data_root=data_root, split=split, images=images),
                **given(device=device, out=out),
            )
        _show(console, certificate)


def _show(console: Console, certificate: Certificate) -> None:
    facts = certificate.to_dict()
    if facts.get("already_fused"):
        console.document(facts)  # the engine has said so
        return
    console.table(("", "before", "after"), _rows(facts))
    kind = "real" if facts["real_images"] else "random"
    same = facts["boxes_compared"]
    boxes = f"the same {counted(same, 'box', 'boxes')}" if same else "no boxes"
    console.say(
        f"proof on {counted(facts['images'], f'{kind} image')}: {boxes}, "
        f"largest logit error {facts['largest_logit_error']:.1e} (allowed {facts['tolerance']:.1e})"
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
