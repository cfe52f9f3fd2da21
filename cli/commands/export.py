"""``kdlnet export``: weights in a format that other programs run, with proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdlnet.utils.words import counted

from ..console import Console
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
    at_least_one,
    given,
    joined,
    one_weights,
    option,
)

if TYPE_CHECKING:
    from kdlnet.verbs.export import ExportCertificate


def export(
    weights_file: WeightsArgument = None,
    weights: Weights = None,
    format: Annotated[
        str | None, option("--format", metavar="NAME", help="onnx, openvino or torchscript [onnx].")
    ] = None,
    data: Data = None,
    data_root: DataRoot = None,
    split: Split = None,
    images: Annotated[
        int | None,
        option("--images", metavar="N", help="For the proof, 32 or more [64; bf16, int8: all]."),
    ] = None,
    image_size: Annotated[
        str | None,
        option("--image-size", metavar="N|HxW", help="Network input [that of the weights]."),
    ] = None,
    batch: Annotated[
        int | None,
        option(
            "--batch",
            metavar="N",
            callback=at_least_one,
            help="Images the file takes at once [any number].",
        ),
    ] = None,
    dynamic: Annotated[
        bool, option("--dynamic", help="Any size in multiples of 32 (onnx, openvino).")
    ] = False,
    raw: Annotated[
        bool, option("--raw", help="Maps of the last convolutions, for NPU compilers.")
    ] = False,
    nms: Annotated[bool, option("--nms", help="Boxes after suppression (onnx, openvino).")] = False,
    half: Annotated[bool, option("--half", help="Numbers of 16 bits.")] = False,
    bf16: Annotated[
        bool, option("--bf16", help="Products in bfloat16 (openvino, on CPUs with AMX).")
    ] = False,
    int8: Annotated[
        bool, option("--int8", help="Numbers of 8 bits, calibrated on --data.")
    ] = False,
    calibration: Annotated[
        int | None,
        option("--calibration", metavar="N", help="Training images for --int8, 100 or more [300]."),
    ] = None,
    max_drop: Annotated[
        list[str] | None,
        option(
            "--max-drop",
            metavar="KEY=VALUE,...",
            help="What --int8 may lose [ap=0.01,flips=0.01,escape=0.01].",
        ),
    ] = None,
    device: Annotated[
        str | None,
        option("--device", metavar="NAME", help="For the proof: cuda, tensorrt, gpu, npu [cpu]."),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", metavar="FILE", help="Exported file [NAME-int8 or so, beside WEIGHTS]."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write weights, fused, in another format and prove that the answers are the same.

    The proof runs on real images with --data, else on made-up ones; its certificate is kept beside
    the file. When it fails the exit code is 4 and no file is written.
    Needs: pip install 'kdlnet[export]', for OpenVINO 'kdlnet[openvino]', with --int8
    'kdlnet[int8]'

    \b
    kdlnet export runs/train/neu-det/weights/best.pt --data neu-det
    kdlnet export best.pt --data neu-det --format openvino --int8
    """
    if raw and nms:
        raise typer.BadParameter("--raw and --nms exclude each other: one is before, one after")
    file = one_weights(weights_file, weights)
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.utils.parse import parse_image_size, parse_numbers
        from kdlnet.verbs.export import export as run_export

        from ..progress import EventPrinter

        size = parse_image_size(image_size) if image_size is not None else None
        limits = joined(max_drop)
        drop = parse_numbers("--max-drop", limits) if limits is not None else None
        with EventPrinter(console) as printer:
            certificate = run_export(
                file,
                on_event=printer,
                overwrite=overwrite,
                half=half,
                bf16=bf16,
                outputs="maps" if raw else "detections" if nms else "points",
                batch=batch,
                dynamic=dynamic,
                int8=int8,
                **given(calibration=calibration, max_drop=drop),
                **given(format=format, data=one_set(data), data_root=data_root, split=split),
                **given(images=images, image_size=size, device=device, out=out),
            )
        _show(console, certificate)


def _error(facts: dict[str, Any]) -> str:
    """The largest difference; a file that suppresses boxes itself has no logits."""
    if facts["largest_logit_error"] is None:
        return f"largest box error {facts['largest_box_error']:.1e} pixels"
    tolerance = facts["tolerance"]
    allowed = "" if tolerance is None else f" (allowed {tolerance:.1e})"
    return f"largest logit error {facts['largest_logit_error']:.1e}{allowed}"


def _show(console: Console, certificate: ExportCertificate) -> None:
    facts = certificate.to_dict()
    kind = "real" if facts["real_images"] else "made-up"
    console.say(
        f"proof on {counted(facts['images'], f'{kind} image')} in {facts['runtime']}: "
        f"{_boxes(facts)}, "
        f"{_error(facts)}"
    )
    if "another_size" in facts:
        _show_another_size(console, facts["another_size"])
    if "int8" in facts:
        _show_int8(console, facts["int8"])
    elif facts["ap_loss_allowed"] is not None:
        _show_judged(console, facts)
    height, width = facts["image_size"]
    batch = "any batch" if facts["batch"] is None else f"batch {facts['batch']}"
    size = f"{height}x{width}"
    if facts["dynamic"]:
        size += f" unless told, multiples of {facts['multiples_of']}"
    console.say(
        f"takes   images ({batch}, {size}); {facts['bytes'] / 1e6:.1f} MB; "
        f"proved on {facts['device']}, which computes in {facts['precision']}"
    )
    console.say(f"written {facts['exported']}", "bold")
    console.document(facts)


def _boxes(facts: dict[str, Any]) -> str:
    same = "the same " if facts["same_boxes"] else ""
    boxes = facts["boxes_compared"]
    return f"{same}{counted(boxes, 'box', 'boxes')}" if boxes else "no boxes"


def _show_another_size(console: Console, facts: dict[str, Any]) -> None:
    height, width = facts["image_size"]
    console.say(f"at {height}x{width}: {_boxes(facts)}, {_error(facts)}")
    if facts["ap_loss_allowed"] is not None:
        _show_judged(console, facts)


def _show_judged(console: Console, facts: dict[str, Any]) -> None:
    """Where AP and verdicts are judged, not digits."""
    lost = ""
    if facts["ap_before"] is not None and facts["ap_after"] is not None:
        loss = round(facts["ap_before"] - facts["ap_after"], 4)
        word = "gained" if loss < 0 else "lost"
        lost = f"AP {word} {abs(loss):.4f} (allowed to lose {facts['ap_loss_allowed']}), "
    flips, images = facts["verdict_flips"], counted(facts["images"], "verdict")
    console.say(f"judged  {lost}{flips} of {images} changed (allowed {facts['flips_allowed']})")


def _show_int8(console: Console, facts: dict[str, Any]) -> None:
    from kdlnet.verbs.export import Drop

    gone = [each["layer"] for each in facts["put_back"]]
    told = f"; put back to float32: {', '.join(gone)}" if gone else ""
    console.say(f"int8    {facts['layers'] - len(gone)} of {facts['layers']} layers{told}")
    lost, allowed = Drop(**facts["drop"]), Drop(**facts["max_drop"])
    console.say(f"lost    {lost.describe(allowed)}")
