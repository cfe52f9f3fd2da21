"""Images per second of whole training loops: `kdlnet train` beside YOLO26n and YOLO11n.

    python benchmarks/train_speed.py --data neu-det --peer-python PEER/bin/python --out speed.json

PEER is a virtual environment of its own with `pip install ultralytics`; without --peer-python only
kdlnet is timed. The peer runs in its own process through its documented Python interface: none of
its code is imported here. Linux only (processor time comes from /proc).

What is timed. Each run is the start of a real run of 100 epochs from scratch, stopped once the
epochs of interest are done. The clock is this script's: it watches the run's results.csv, where
both programs add a row at the end of an epoch. The window opens with the first row, so start-up,
caching of images and the first epoch are outside. Inside: getting images, augmentation, forward,
backward, optimizer, EMA, checkpoints, the row, and the validation where the arm has one.

Who runs how. All sides read one copy of the same images, at one size and batch, and get the same
OMP_NUM_THREADS. Each side runs in two arms. `own`: its defaults. kdlnet's validate after each
epoch; the peers' use a single thread on a machine with two cores, whatever OMP_NUM_THREADS says.
`fast`: no validation; the peers besides with as many threads as kdlnet, images in RAM, no plots, no
checkpoints, no warm-up (which steps the optimizer more often). Like for like is `fast` beside
`fast`, though kdlnet still writes its checkpoint; quote the faster arm of a peer. The peers keep
their own augmentation and optimizer in both.

Measure on a machine that does nothing else. Threads that wait for each other suffer most from a
second program: when a side with two threads keeps fewer than about 1.7 cores busy, or `fast` is
slower than `own`, the figures say more about the neighbour than about the sides.

The sides take turns, one run each a round (A B A B); the ratio is formed within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from kdlnet import __version__
from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import label_path, list_images
from run_clock import PARENT, RUN, RUN_NAME, Run, Side, time_run

PEERS = ("yolo26n", "yolo11n")
PLANNED_EPOCHS = 100
FAST = {"cache": "ram", "val": False, "plots": False, "save": False, "warmup_epochs": 0}
PEER_DRIVER = """
import json, sys, torch
from ultralytics import YOLO
order = json.loads(sys.argv[1])
model = YOLO(order["model"])
if order["threads"]:
    set_threads = lambda trainer: torch.set_num_threads(order["threads"])
    model.add_callback("on_train_epoch_start", set_threads)
model.train(**order["train"])
"""


def copy_dataset(
    data: str,
    data_root: Path | None,
    limit: int | None,
    out: Path,
    splits: Sequence[str] = ("train", "val"),
) -> dict[str, int]:
    """Copies images and labels of ``splits`` to ``out``: the peer writes beside its labels.

    ``limit``: at most so many images to train on, evenly spaced. Returns images by split.
    """
    info = find_dataset(data, data_root)
    counts = {}
    for split in splits:
        images = list_images(info, split)
        if limit is not None and split == "train" and len(images) > limit:
            images = [images[index * len(images) // limit] for index in range(limit)]
        for kind in ("images", "labels"):
            (out / kind / split).mkdir(parents=True)
        for index, image in enumerate(images):
            stem = f"{index:06d}"
            shutil.copyfile(image, out / "images" / split / f"{stem}{image.suffix}")
            if label_path(image).is_file():
                shutil.copyfile(label_path(image), out / "labels" / split / f"{stem}.txt")
        counts[split] = len(images)
    description = {
        "path": str(out),
        **{split: f"images/{split}" for split in splits},
        "names": dict(enumerate(info.names)),
    }
    (out / "data.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
    return counts


def own_side(options: argparse.Namespace, data: Path, arm: str) -> Side:
    words = [sys.executable, "-m", "kdlnet_cli", "train", "--quiet", "--device", "cpu"]
    words += ["--model", options.model, "--data", str(data), "--out", RUN]
    words += ["--image-size", str(options.image_size), "--batch", str(options.batch)]
    words += ["--epochs", str(PLANNED_EPOCHS)]
    for assignment in [*options.set, *(["val_every=1000"] if arm == "fast" else [])]:
        words += ["--set", assignment]
    return Side(f"{options.model} {arm}", tuple(words))


def peer_side(options: argparse.Namespace, data: Path, model: str, arm: str) -> Side:
    train: dict[str, Any] = {
        "data": str(data),
        "epochs": PLANNED_EPOCHS,
        "imgsz": options.image_size,
        "batch": options.batch,
        "device": "cpu",
        "pretrained": False,
        "amp": False,  # no effect on a CPU, and its self-test would download weights
        "project": PARENT,
        "name": RUN_NAME,
    }
    threads = options.threads if arm == "fast" else 0
    order = {"model": f"{model}.yaml", "threads": threads, "train": train}
    train.update(FAST if arm == "fast" else {})
    python = str(Path(options.peer_python).absolute())  # not resolved: a link into a venv counts
    return Side(f"{model} {arm}", (python, "-c", PEER_DRIVER, json.dumps(order)))


def summarize(rounds: Sequence[dict[str, Run]]) -> dict[str, dict[str, Any]]:
    """Rates of each side, and by round how many times slower it is than kdlnet's two arms.

    The first two sides of ``rounds`` are kdlnet's, ``fast`` and ``own``.
    """
    fast, own = list(rounds[0])[:2]
    summary = {}
    for name in rounds[0]:
        rates = [runs[name].images_per_second for runs in rounds]
        summary[name] = {
            "images_per_second": _spread(rates),
            **{
                f"times_slower_than_{arm}": _ratios(rounds, side, name)
                for arm, side in (("fast", fast), ("own", own))
            },
            "cores": statistics.median(runs[name].cores for runs in rounds),
        }
    return summary


def _ratios(rounds: Sequence[dict[str, Run]], side: str, name: str) -> dict[str, Any]:
    ratios = [runs[side].images_per_second / runs[name].images_per_second for runs in rounds]
    return {**_spread(ratios), "rounds": ratios}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(summary: dict[str, dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = ["| side | images/s median (min-max) | kdlnet fast is x times as fast | own | cores |"]
    lines.append("|---|---|---|---|---|")
    for name, row in summary.items():
        rate = row["images_per_second"]
        fast, own = (
            f"{ratio['median']:.2f} ({', '.join(f'{value:.2f}' for value in ratio['rounds'])})"
            for ratio in (row["times_slower_than_fast"], row["times_slower_than_own"])
        )
        lines.append(
            f"| {name} | {rate['median']:.1f} ({rate['min']:.1f}-{rate['max']:.1f}) "
            f"| {fast} | {own} | {row['cores']:.2f} |"
        )
    return "\n".join(lines)


def describe_machine(peer_python: str | None) -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    versions = {"kdlnet": __version__, "torch": torch.__version__}
    if peer_python is not None:
        script = (
            "import importlib.metadata as m; print(m.version('ultralytics'), m.version('torch'))"
        )
        answer = subprocess.run(
            [peer_python, "-c", script], capture_output=True, text=True, check=True
        )
        versions["ultralytics"], versions["torch of the peer"] = answer.stdout.split()
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="name in datasets.yaml or a data.yaml")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, help="train on so many images, evenly spaced")
    parser.add_argument("--peer-python", help="interpreter that has ultralytics")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--arms", nargs="*", default=("fast", "own"), choices=("fast", "own"))
    parser.add_argument("--model", default="lightnet-n")
    parser.add_argument("--set", action="append", default=[], help="key=value for kdlnet train")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=2, help="timed epochs a run [2]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit-seconds", type=float, default=1800.0, help="for one run [1800]")
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    with tempfile.TemporaryDirectory(prefix="train-speed-data-") as name:
        folder = Path(name)
        counts = copy_dataset(options.data, options.data_root, options.images, folder)
        if counts["train"] % options.batch:
            # A last batch that one side drops and the other pads would bend the comparison.
            whole = counts["train"] // options.batch * options.batch
            print(f"{counts['train']} images are no multiple of the batch: --images {whole}")
            return 1
        sides = [own_side(options, folder / "data.yaml", arm) for arm in ("fast", "own")]
        if options.peer_python is not None:
            sides += [
                peer_side(options, folder / "data.yaml", model, arm)
                for model in options.peers
                for arm in options.arms
            ]
        rounds = time_rounds(sides, counts["train"], options)
    summary = summarize(rounds)
    print(table(summary))
    if options.out is not None:
        document = {
            "machine": describe_machine(options.peer_python),
            "settings": {key: str(value) for key, value in vars(options).items()},
            "images": counts,
            "commands": {side.name: side.command for side in sides},
            "rounds": [{name: vars(run) for name, run in runs.items()} for runs in rounds],
            "summary": summary,
        }
        options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def time_rounds(
    sides: Sequence[Side], images: int, options: argparse.Namespace
) -> list[dict[str, Run]]:
    rounds = []
    for number in range(options.rounds):
        runs = {}
        for side in sides:
            run = time_run(side, images, options.epochs, options.threads, options.limit_seconds)
            print(
                f"round {number + 1}: {side.name}: {run.images_per_second:.1f} images/s, "
                f"{run.cores:.2f} cores, load before {run.load_before:.2f}",
                file=sys.stderr,
            )
            runs[side.name] = run
        rounds.append(runs)
    return rounds


if __name__ == "__main__":
    sys.exit(main())
