"""``kdlnet predict``: boxes on images, videos and streams."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Console, plain
from ..errors import PROOF, UsageProblem
from ..merging import merge_folder, show_predicted
from ..options import (
    Batch,
    Devices,
    Json,
    Out,
    Overwrite,
    Quiet,
    RunnableDevice,
    at_least_one,
    given,
    names_in,
    one_weights,
    option,
    refuse_beside,
)
from ..seeing import Overlap, Roi, Tile, Window, seeing
from ..team import PREDICTION, in_team, own_shard, run_team
from ..watching import answer_folder

if TYPE_CHECKING:
    from kdlnet.verbs.predict import Prediction, PredictResult, Skipped

_FEW = 20  # up to so many images each gets a line of its own
_FAIL_ON = ("ng", "unsure")


def _fail_on(value: str | None) -> str | None:
    """The verdict, which results spell in capitals. Raises typer.BadParameter."""
    verdict = value and value.lower()
    if verdict not in (None, *_FAIL_ON):
        raise typer.BadParameter(f"{value!r}: give {' or '.join(_FAIL_ON)}")
    return verdict


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="Image, folder, 'glob', .txt list, video, camera, URL.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    option("--weights", metavar="FILE", help="Weights file or name of released ones. Required."),
]
Save = Annotated[
    list[str] | None,
    option(
        "--save", metavar="KINDS", help="images,txt,json,csv,crops,labelme; none [images,json]."
    ),
]
Score = Annotated[
    float | None,
    option("--score", metavar="S", help="Least score of a box [the weights' own, else 0.25]."),
]
Iou = Annotated[
    float | None,
    option("--iou", metavar="IOU", help="Overlap from which two boxes are one [0.55]."),
]
MaxDetections = Annotated[
    int | None,
    option("--max-detections", metavar="N", callback=at_least_one, help="Per image [300]."),
]
Classes = Annotated[
    list[str] | None, option("--classes", metavar="NAMES", help="Only these: scratch,pit [all].")
]
NetworkInput = Annotated[
    str | None,
    option("--image-size", metavar="N|HxW", help="Network input [as in the weights]."),
]
FailOn = Annotated[
    str | None,
    option(
        "--fail-on",
        metavar="VERDICT",
        callback=_fail_on,
        help="Exit code 4 if one is: ng; unsure (NG or unread, too).",
    ),
]
Watch = Annotated[
    Path | None,
    option("--watch", metavar="DIR", help="Answer images of this folder as they come."),
]
Reconnect = Annotated[
    float | None,
    option("--reconnect", metavar="S", help="Seconds to try a lost camera or stream again [0]."),
]
Every = Annotated[
    float | None,
    option("--every", metavar="S", help="Of videos and streams a frame each S seconds [all]."),
]
Settle = Annotated[
    float | None,
    option("--settle", metavar="S", help="With --watch: seconds without a change [0.5]."),
]
ShardPart = Annotated[
    str | None,
    option("--shard", metavar="I/N", help="Only part I of N; given again, it goes on. With --out."),
]
Merge = Annotated[
    Path | None,
    option("--merge", metavar="DIR", help="Make one result of all shards in that --out."),
]
Strict = Annotated[bool, option("--strict", help="An unreadable image fails the run.")]


def predict(
    context: typer.Context,
    source: Sources = None,
    weights: Weights = None,
    save: Save = None,
    score: Score = None,
    iou: Iou = None,
    max_detections: MaxDetections = None,
    classes: Classes = None,
    image_size: NetworkInput = None,
    window: Window = None,
    tile: Tile = None,
    overlap: Overlap = None,
    roi: Roi = None,
    batch: Batch = None,
    device: RunnableDevice = None,
    devices: Devices = None,
    out: Out = None,
    overwrite: Overwrite = False,
    fail_on: FailOn = None,
    every: Every = None,
    reconnect: Reconnect = None,
    watch: Watch = None,
    settle: Settle = None,
    shard: ShardPart = None,
    merge: Merge = None,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find defects in images, videos and streams.

    Each image is OK, NG or, with two thresholds in the weights, UNSURE; --score replaces them.
    --save goes to runs/predict/NAME. What cannot be read is named and skipped. --json: of videos
    and streams a line a frame.

    \b
    kdlnet predict lot-7/ --weights best.pt --fail-on ng
    kdlnet predict rtsp://camera/1 --weights best.pt --save csv --json
    kdlnet predict --watch line-3/ --weights best.pt --out verdicts/
    kdlnet predict all.txt --weights best.pt --out lot/ --shard 1/8
    """
    seen = given(score_threshold=score, iou_threshold=iou, max_detections=max_detections)
    seen |= given(classes=names_in("--classes", classes), batch=batch, device=device)
    seen |= seeing(image_size, window, tile, overlap, roi)
    if merge is not None:
        refused: dict[str, object] = {"a source": source, "--weights": weights, "--watch": watch}
        refused |= {
            "--shard": shard,
            "--devices": devices,
            "--out": out,
            "--save": save,
            "--overwrite": overwrite,
            "--strict": strict,
            "--settle": settle,
            "--every": every,
            "--reconnect": reconnect,
            "a choice of how to predict": seen,
        }
        refuse_beside("--merge", refused)
        _end(merge_folder(merge, as_json=as_json, quiet=quiet), fail_on)
        return
    if watch is not None:
        refused = {"a source": source, "--fail-on": fail_on, "--overwrite": overwrite}
        refused |= {"--strict": strict, "--shard": shard, "--devices": devices}
        refused |= {"--every": every, "--reconnect": reconnect}
        refuse_beside("--watch", refused)
        file, kinds = one_weights(None, weights), names_in("--save", save)
        answer_folder(watch, file, kinds, settle, seen, out, as_json=as_json, quiet=quiet)
        return
    if settle is not None:
        raise UsageProblem("--settle belongs to --watch: add it, or leave it out")
    if not source:
        raise UsageProblem("no source: give an image, a folder, a video or a camera number")
    file = one_weights(None, weights)
    if devices is not None:
        refuse_beside("--devices", {"--shard": shard, "--overwrite": overwrite})
        if out is None:
            raise UsageProblem("--devices needs a folder that all processes write into: give --out")
        if not in_team():
            if code := run_team(devices, context, PREDICTION):
                raise typer.Exit(code)
            _end(merge_folder(out, as_json=as_json, quiet=quiet), fail_on)
            return
        shard = own_shard()
    if shard is not None:
        refuse_beside("--shard", {"--overwrite": overwrite})
    chosen = seen | {"overwrite": overwrite, "strict": strict}
    chosen |= given(save=names_in("--save", save), out=out)
    reading = given(reconnect=reconnect, every=every)
    found = _show(file, source, reading, shard, chosen, as_json=as_json, quiet=quiet)
    if not in_team():
        _end(found, fail_on)


def _show(
    file: Path,
    source: list[str],
    reading: dict[str, Any],
    shard: str | None,
    chosen: dict[str, Any],
    *,
    as_json: bool,
    quiet: bool,
) -> PredictResult:
    """Predicts and tells: a line for each of few images, what all came to, and the document."""
    documents = sys.stdout  # inside the console it is stderr with --json
    # The predictions of --json wait here for the figures that stand before them.
    with Console(as_json=as_json, quiet=quiet) as console, TemporaryFile("w+") as found:
        from kdlnet.verbs.predict import Shard, open_source, predict_files

        from ..progress import EventPrinter

        part = None if shard is None else Shard.read(shard)
        one = source[0] if len(source) == 1 else source
        opened = open_source(one, **reading)
        talks = not quiet and (opened.live or (opened.total or _FEW + 1) <= _FEW)

        def record(answer: Prediction | Skipped) -> None:
            # What a shard found is in its folder, whatever an earlier call found, too.
            if as_json and part is None:
                waits = opened.kind == "images"
                line = json.dumps(plain(answer.to_dict()))
                print(line, file=found if waits else documents, flush=not waits)

        def tell(prediction: Prediction) -> None:
            record(prediction)
            if talks:
                console.say(str(prediction))

        with EventPrinter(console) as printer:
            result = predict_files(
                file,
                opened,
                on_event=printer,
                on_prediction=tell,
                on_skipped=record,
                **chosen,
                **given(shard=part),
            )
        if in_team():
            return result  # the merge shows what all have found
        show_predicted(console, result, "images" if opened.kind == "images" else "frames")
        if part is not None:
            console.document(result.to_dict())
        elif opened.kind == "images":
            found.seek(0)
            console.document_of(result.to_dict(), "predictions", map(json.loads, found))
    return result


def _end(result: PredictResult, fail_on: str | None) -> None:
    """Raises typer.Exit where the verdicts are such that the command is to fail."""
    if fail_on and (result.ng or (fail_on == "unsure" and (result.unsure or result.skipped))):
        raise typer.Exit(PROOF)
