"""kdlnet beside its peers: one command, one table.

    python benchmarks/peers.py --home /tmp/peers > table.md

Needs `pip install 'kdlnet[export,openvino]'` where it runs. Makes an environment of its own for
the peers in --home (or takes --peer-python): Ultralytics' YOLO26n and YOLO11n, LibreYOLO's YOLO9-t
and DEIMv2-Pico, torchvision's SSDlite. Everybody's weights are random, with 80 classes: speed is
compared, not accuracy, and hardly a box is found on either side. About 20 minutes on two quiet
cores after installing.

What is timed, all sides with the same images, image size and threads, in turns (A B A B):
- start: `kdlnet --help` and `yolo help`;
- one: a whole command that predicts one image and saves its picture;
- many: the same on N images. The rate without the start is (N - 1) / (the time of N - that of one),
  within a round; the memory is the process's peak. The peer predicts at its default batch, 1;
- exported: each side's own files in ONNX Runtime and OpenVINO, LibreYOLO's ONNX in both, batch 1,
  the network alone; in OpenVINO in float32 and, where the processor has AMX, in bfloat16;
- train: train_speed.py's `fast` arms on half of the images, no validation on either side; not of
  LibreYOLO.
SSDlite sees 320x320 whatever is asked for. What is measured stands in the table and in --out at
once: a run that is cut keeps it. Measure on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import train_speed
from exported_speed import RUNTIMES
from kdlnet.utils.environment import has_amx
from kdlnet.utils.files import write_json
from kdlnet.verbs.synth import synthesize
from peer_home import LIBRE, SSD, YOLO, Home, make_environment, make_own_files, make_peer_files
from peer_table import HEAD, Bar, Part
from process_clock import RESULTS, Cost, costs_in_turns

MODELS = ("lightnet-n", "lightnet")
PARTS = ("start", "one", "many", "exported", "train")
KDLNET = (sys.executable, "-m", "kdlnet_cli")
EXPORTED_SCRIPT = Path(__file__).with_name("exported_speed.py")


def predict_commands(
    home: Home, size: int, source: Path, yolo: Sequence[str] | None
) -> dict[str, list[str]]:
    """Whole commands that predict ``source`` and save pictures, by side."""
    own = {"torch": ".pt", "ONNX Runtime": ".onnx", "OpenVINO": ".xml"}
    commands = {
        f"{MODELS[0]}, {name}": [
            *KDLNET, "predict", str(source), "--out", RESULTS, "--save", "images", "--quiet",
            "--device", "cpu", "--weights", str(home.folder / f"{MODELS[0]}-{size}{suffix}"),
        ]
        for name, suffix in own.items()
    }  # fmt: skip
    if yolo is not None:
        for name in yolo:
            commands[name] = [
                home.yolo(), "predict", f"model={home.folder / name}.pt", f"source={source}",
                f"imgsz={size}", "device=cpu", "save=True", f"project={RESULTS}",
            ]  # fmt: skip
        for name in LIBRE:
            commands[name] = [
                home.libre(), "predict", "--model", str(home.folder / f"{name}.pt"),
                "--source", str(source), "--imgsz", str(size), "--device", "cpu", "--save",
                "--output-path", RESULTS,
            ]  # fmt: skip
        commands[SSD] = home.ssd(source, RESULTS)
    return commands


def part_start(home: Home, options: Namespace) -> Iterator[Part]:
    commands = {"kdlnet --help": [*KDLNET, "--help"]}
    if options.peers:
        commands["yolo help"] = [home.yolo(), "help"]
    found = costs_in_turns(commands, options.rounds, home.environment, not options.quick)
    yield Part("command start", "s", _all(found, "wall"), [Bar("kdlnet --help", "yolo help", 0.1)])


def part_one(home: Home, options: Namespace, images: Sequence[Path]) -> Iterator[Part]:
    size = options.sizes[0]
    commands = predict_commands(home, size, images[0], YOLO if options.peers else None)
    found = costs_in_turns(commands, options.rounds, home.environment, not options.quick)
    own = [side for side in commands if side.startswith(MODELS[0])]
    bars = [Bar(side, YOLO[0], limit) for side, limit in zip(own, (0.5, 0.15, 0.15), strict=True)]
    title = f"one image at {size}, start included"
    yield Part(title, "s", _all(found, "wall"), bars, {}, _all(found, "peak"))


def part_many(home: Home, options: Namespace, images: Sequence[Path]) -> Iterator[Part]:
    """At the smallest and the largest size; the larger one on a quarter of the images."""
    for size, share in {options.sizes[-1]: 4, options.sizes[0]: 1}.items():
        factor = 3 if size >= 640 else 6
        count = max(2, len(images) // share)
        folder = Path(tempfile.mkdtemp(dir=home.folder))
        for image in images[:count]:
            shutil.copy(image, folder)
        yolo = YOLO[:1] if options.peers else None
        one = predict_commands(home, size, images[0], yolo)
        all_of = predict_commands(home, size, folder, yolo)
        both = {name: command for side in one for name, command in (
            (f"{side} ", one[side]), (side, all_of[side]))}  # fmt: skip
        found = costs_in_turns(both, max(1, options.rounds - 1), home.environment, warm=False)
        shutil.rmtree(folder)
        many = {side: costs for side, costs in found.items() if not side.endswith(" ")}
        each = {
            side: [
                (many_cost.wall - one_cost.wall) / (count - 1)
                for many_cost, one_cost in zip(costs, found[f"{side} "], strict=True)
            ]
            for side, costs in many.items()
        }
        rates = {side: [1 / max(t, 1e-9) for t in times] for side, times in each.items()}
        bars = [Bar(side, YOLO[0], 1 / factor) for side in many if side.startswith(MODELS[0])]
        title = f"{count} images at {size}, pictures saved"
        yield Part(f"{title}, start excluded", "s", each, bars, rates)
        yield Part(f"{title}, start included", "s", _all(many, "wall"), (), {}, _all(many, "peak"))


def part_exported(home: Home, options: Namespace) -> Iterator[Part]:
    names = [*MODELS, *((*YOLO, *LIBRE) if options.peers else ())]
    for size in options.sizes:
        for runtime in RUNTIMES:
            if runtime.endswith("bf16") and not has_amx():
                continue
            files = {}
            for name in names:
                suffix = ".onnx" if runtime == "onnxruntime" or name in LIBRE else ".xml"
                if runtime.endswith("bf16") and name in MODELS:
                    suffix = "-bf16.xml"
                files[str(home.folder / f"{name}-{size}{suffix}")] = name
            command = [sys.executable, str(EXPORTED_SCRIPT), *files, "--runtime", runtime]
            command += ["--image-size", str(size), "--threads", str(options.threads)]
            command += ["--rounds", str(options.rounds + 1), "--calls", str(options.calls)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times = {files[file]: values for file, values in json.loads(done.stdout).items()}
            bars = [Bar("lightnet-n", "yolo26n", 0.35), Bar("lightnet", "yolo11n", 0.85)]
            yield Part(f"exported, {runtime}, {size}, batch 1", "ms", times, bars)


def part_train(home: Home, options: Namespace, data: Path, count: int) -> Iterator[Part]:
    size = options.sizes[0]
    order = Namespace(
        **{**vars(options), "image_size": size, "set": [], "peer_python": home.python, "epochs": 2},
        limit_seconds=1800.0,
    )
    sides = [train_speed.own_side(Namespace(**{**vars(order), "model": model}), data, "fast")
             for model in MODELS]  # fmt: skip
    if options.peers:
        sides += [train_speed.peer_side(order, data, model, "fast") for model in YOLO]
    order.rounds = max(1, options.rounds - 1)
    rounds = train_speed.time_rounds(sides, count, order)
    rates = {
        side.name.removesuffix(" fast"): [runs[side.name].images_per_second for runs in rounds]
        for side in sides
    }
    times = {side: [1 / rate for rate in values] for side, values in rates.items()}
    bars = [Bar("lightnet-n", "yolo26n", 1 / 4), Bar("lightnet", "yolo11n", 1 / 1.5)]
    yield Part(f"training at {size}, batch {options.batch}", "s", times, bars, rates)


def _all(found: Mapping[str, Sequence[Cost]], what: str) -> dict[str, list[float]]:
    return {side: [getattr(cost, what) for cost in costs] for side, costs in found.items()}


def make_images(home: Home, options: Namespace) -> tuple[list[Path], Path, int]:
    """Images to predict; a dataset to train on, which the peers may write beside, and its size."""
    folder, half, made = (home.folder / name for name in ("data", "half", "made-up"))
    for old in (folder, half, made):
        shutil.rmtree(old, ignore_errors=True)
    data = options.data
    if data is None:
        synthesize(made, count=-(-options.images * 5 // 4), image_size=(200, 200))
        data = str(made)
    train_speed.copy_dataset(data, options.data_root, options.images, folder)
    limit = max(options.batch, options.images // 2 // options.batch * options.batch)
    counts = train_speed.copy_dataset(data, options.data_root, limit, half)
    return sorted((folder / "images" / "train").iterdir()), half / "data.yaml", counts["train"]


def measure(home: Home, options: Namespace) -> Iterator[Part]:
    """What was asked for, as soon as it is there. A part that fails is told and stops no other."""
    make_own_files(home, MODELS, options.sizes)
    if options.peers:
        make_peer_files(home, options.sizes if "exported" in options.parts else ())
    images, data, count = make_images(home, options)
    jobs: dict[str, Callable[[], Iterable[Part]]] = {
        "start": lambda: part_start(home, options),
        "one": lambda: part_one(home, options, images),
        "many": lambda: part_many(home, options, images),
        "exported": lambda: part_exported(home, options),
        "train": lambda: part_train(home, options, data, count),
    }
    for name in options.parts:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        try:
            yield from jobs[name]()
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            options.failed.append(name)


def tell(parts: Iterable[Part], python: str | None, options: Namespace) -> None:
    """Every part as it comes: its rows on the screen, and all so far in --out, a whole file."""
    machine, found = train_speed.describe_machine(python), list[Part]()

    def note() -> None:
        if options.out is not None:
            settings = {key: str(value) for key, value in vars(options).items()}
            figures = [asdict(part) for part in found]
            write_json(options.out, {"machine": machine, "settings": settings, "parts": figures})

    note()
    print(f"{machine['processor']}, {options.threads} threads; {machine['versions']}; "
          f"{options.rounds} rounds, median (smallest to largest).\n")  # fmt: skip
    print(HEAD, flush=True)
    for part in parts:
        found.append(part)
        print("\n".join(part.lines()), flush=True)
        note()
    note()  # with what failed


def parse_options(arguments: Sequence[str] | None) -> Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, help="folder to keep for another time [thrown away]")
    parser.add_argument("--peer-python", help="interpreter that has ultralytics [makes its own]")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="kdlnet alone")
    parser.add_argument("--data", help="a dataset [made-up images]")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=320, help="[320], a multiple of the batch")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 320, 640])
    parser.add_argument("--batch", type=int, default=16, help="of the trainings [16]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=20, help="of an exported file a round [20]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="toy sizes, no training: does it run?")
    parser.add_argument("--out", type=Path, help="JSON file for everything that was measured")
    options = parser.parse_args(arguments)
    options.failed = []
    if options.quick:
        options.images, options.sizes, options.rounds, options.calls = 4, [64], 1, 3
        options.parts = [part for part in options.parts if part != "train"]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    with tempfile.TemporaryDirectory(prefix="peers-home-") as name:
        folder = (options.home or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        python = options.peer_python if options.peers else None
        if options.peers:
            python = python or make_environment(folder / "environment")
        home = Home(folder, python, options.threads)
        tell(measure(home, options), python, options)
    return 1 if options.failed else 0


if __name__ == "__main__":
    sys.exit(main())
