"""How good a peer becomes on a dataset in so much time, beside weights of kdlnet.

    python benchmarks/peer_accuracy.py --data neu-det --weights lightnet-n-neu-det.safetensors \\
        --peer yolo26n --image-size 192 --minutes 38 --home /tmp/peers

The peer trains from scratch on a copy of the train split, with its own recipe and its own schedule
for that time: images in RAM, no validation, no plots, so that all of the time is training. Its last
weights find boxes in each --split, and kdlnet's metric judges both sides: AP and AP50 of each, and
the difference with its 95 % interval over images. --threads are the peer's; `taskset -c 0` in front
of the command leaves it one core. Everything is kept in --home/accuracy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.listing import list_images
from kdlnet.events import ignore
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.runtimes import open_runtime
from kdlnet.metrics.paired import paired_intervals
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.table import tabulate
from kdlnet.utils.files import write_json
from peer_home import YOLO, Home, make_environment
from train_speed import PEER_DRIVER, copy_dataset

_SCORE, _MOST = 0.001, 300
_PREDICT = """
import json, sys, torch
from ultralytics import YOLO
order = json.loads(sys.argv[1])
torch.set_num_threads(order["threads"])
model, found = YOLO(order["weights"]), {}
for result in model.predict(**order["predict"], stream=True, verbose=False):
    boxes = result.boxes
    found[result.path] = [boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist()]
json.dump(found, open(order["out"], "w"))
"""


def train_peer(home: Home, options: argparse.Namespace, folder: Path) -> Path:
    """Trains the peer for ``options.minutes``; its last weights."""
    train = {
        "data": str(folder / "data" / "data.yaml"), "imgsz": options.image_size,
        "batch": options.batch, "time": options.minutes / 60, "pretrained": False,
        "device": "cpu", "amp": False, "cache": "ram", "val": False, "plots": False,
        "seed": options.seed, "workers": options.threads, "project": str(folder), "name": "run",
    }  # fmt: skip
    order = {"model": f"{options.peer}.yaml", "threads": options.threads, "train": train}
    began = time.monotonic()
    home.run([home.python or "", "-c", PEER_DRIVER, json.dumps(order)])
    print(f"trained in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return folder / "run" / "weights" / "last.pt"


def peer_results(
    home: Home, options: argparse.Namespace, last: Path, split: str, truth: list[ImageResult]
) -> list[ImageResult]:
    """What the peer's weights ``last`` find in the images of ``split``, beside the truth."""
    folder = last.parents[2]
    out = folder / f"{split}.json"
    predict = {
        "source": str(folder / "data" / "images" / split), "imgsz": options.image_size,
        "conf": _SCORE, "max_det": _MOST, "device": "cpu",
    }  # fmt: skip
    order = {"weights": str(last), "threads": options.threads, "predict": predict, "out": str(out)}
    home.run([home.python or "", "-c", _PREDICT, json.dumps(order)])
    found = {int(Path(path).stem): rows for path, rows in json.loads(out.read_text()).items()}
    return [
        replace(one, boxes=found[row][0], scores=found[row][1], labels=found[row][2])
        for row, one in enumerate(truth)
    ]


def own_results(weights: Path, info: DatasetInfo, split: str) -> list[ImageResult]:
    """What kdlnet's ``weights`` find in the images of ``split``, beside the truth."""
    runtime = open_runtime(weights, device="cpu")
    if runtime.names != info.names:
        raise SystemExit(f"{weights} knows {runtime.names}, {info.name} has {info.names}")
    dataset, _ = open_split(runtime, info, split, None, False, ignore)
    results = detect(runtime.engine, dataset, 16)
    shown = [Path(result.name) for result in results]
    if shown != [Path(path) for path in list_images(info, split)]:
        raise SystemExit(f"some images of {split} could not be read")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="name or folder of a dataset")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--peer", choices=YOLO, default=YOLO[0])
    parser.add_argument("--weights", type=Path, required=True, help="kdlnet's side")
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="wall time to train")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", action="append", help="repeatable [val]")
    parser.add_argument("--home", type=Path, required=True, help="peers' environment and results")
    parser.add_argument("--peer-python", help="interpreter with ultralytics [made in --home]")
    options = parser.parse_args()
    python = options.peer_python or make_environment(options.home / "venv")
    home = Home(options.home.absolute(), python, options.threads)
    info = find_dataset(options.data, options.data_root)
    folder = home.folder / "accuracy" / f"{info.name}-{options.peer}"
    if folder.exists():
        raise SystemExit(f"{folder} holds an earlier training: move it or give another --home")
    asked = options.split or ["val"]
    owns = {split: own_results(options.weights, info, split) for split in asked}
    splits = tuple(dict.fromkeys(["train", "val", *asked]))
    copy_dataset(options.data, options.data_root, None, folder / "data", splits)
    last = train_peer(home, options, folder)
    for split, own in owns.items():
        peer = peer_results(home, options, last, split, own)
        tables = [tabulate(results, len(info.names)) for results in (peer, own)]
        found = paired_intervals([(tables[0], tables[1])], info.names).overall
        write_json(
            folder / f"{split}-compared.json", {name: d.to_dict() for name, d in found.items()}
        )
        for name, one in found.items():
            print(
                f"{split} {name}: {options.peer} {one.a:.3f}, {options.weights.stem} {one.b:.3f}, "
                f"{one.difference:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
            )


if __name__ == "__main__":
    main()
