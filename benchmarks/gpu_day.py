"""What only a GPU can show, in one call of at most nine minutes.

    python benchmarks/gpu_day.py --prepare NEU-DET --out "$OUT"

Every job runs in a process of its own with a time budget of its own: one that fails, hangs or runs
out of memory costs its budget and nothing else. NAME.log and, where it has figures, NAME.json of
each lie in --out as soon as it ends, summary.json at the end, and weights in half precision:

- tests: those marked gpu;
- steps: whole training steps, float32 and mixed precision, plain, recorded as `train` runs them,
  and through torch.compile, and how far their losses are apart;
- paper: the forward pass of the fused `lightnet` at 640x640, one image, beside the paper's 72 FPS;
- throughput: images a second of the fused networks by batch, recorded as `predict` runs them;
- neu-det: 300 epochs of `lightnet`, timed; its weights teach the last job;
- train, distill: `lightnet-n` for a minute each, alone and under that teacher.

Its parts tests, steps (profiled) and paper were seen on an H200 (RECIPES.md), the others were not.
One training leaves such a card idle most of the time: start many processes, through MPS.
--toy runs every job on the CPU at sizes of seconds: it shows that they run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kdlnet.config import load_config
from kdlnet.events import ignore
from kdlnet.inference.replayed import replayed_on
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training.parts import prepare_run
from kdlnet.types import Preprocess
from kdlnet.utils.device import find_device, prepare, synchronize
from step_profile import Parts

ROOT = Path(__file__).resolve().parents[1]
KDLNET = (sys.executable, "-m", "kdlnet_cli")


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    device: str
    models: tuple[str, ...]
    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    train_batch: int
    train_size: int
    epochs: int
    minute: str
    steps: int
    budget: float


REAL = Scale(
    "cuda", ("lightnet", "lightnet-n"), (224, 640), (1, 4, 16, 64, 256), 64, 224, 300, "50s", 30, 1
)
TOY = Scale("cpu", ("lightnet-n",), (64,), (1, 2), 4, 64, 1, "1s", 1, 4)


@dataclass(frozen=True)
class Job:
    """``command`` may take ``seconds``; ``weights`` of its run are kept."""

    name: str
    seconds: float
    command: Sequence[str]
    weights: Path | None = None


def jobs(folder: Path, data: str, scale: Scale, options: Namespace) -> list[Job]:
    """In the order of their worth, should time run out. ``folder`` is for what is not kept."""
    own = [sys.executable, str(Path(__file__).resolve()), *(["--toy"] if options.toy else [])]
    part = [*own, "--data", data, "--out", str(folder), "--part"]
    tests = "tests/training/test_cuda.py" if options.toy else "tests"
    train = ["--data", data, "--device", scale.device, "--quiet", "--json"]
    train += ["--batch", str(scale.train_batch), "--image-size", str(scale.train_size)]
    fused = str(folder / "paper.pt")
    best = {name: folder / name / "weights" / "best.pt" for name in ("neu-det", "train", "distill")}

    def run(name: str, verb: str, *more: str) -> list[str]:
        return [*KDLNET, verb, *train, "--out", str(folder / name), *more]

    small = ("lightnet-n", "--time", scale.minute)
    whole = ("--model", scale.models[0], "--epochs", str(scale.epochs), "--set", "val_every=25")
    found = [
        Job("tests", 60, [sys.executable, "-m", "pytest", "-q", "-m", "gpu",
            "--continue-on-collection-errors", tests]),
        Job("paper-weights", 20, [*part, "paper-weights"]),
        Job("paper", 30, [*KDLNET, "bench", fused, "--protocol", "paper", "--json",
            "--device", scale.device, "--calls", str(20 * scale.steps)]),
        Job("neu-det", 150, run("neu-det", "train", *whole), best["neu-det"]),
        Job("steps", 75, [*part, "steps"]),
        Job("throughput", 40, [*part, "throughput"]),
        Job("train", 70, run("train", "train", "--model", *small), best["train"]),
        Job("distill", 85, run("distill", "distill", "--teacher", str(best["neu-det"]),
            "--student", *small), best["distill"]),
    ]  # fmt: skip
    if options.toy:  # the paper's size is 640
        found[2] = Job("paper", 30, [*found[2].command, "--image-size", "64"])
    return found


def run_job(job: Job, limit: float, out: Path) -> dict[str, Any]:
    """Runs ``job`` and keeps what it says. Never raises for what it does."""
    began = time.perf_counter()
    log = out / f"{job.name}.log"
    with log.open("wb") as errors, (out / f"{job.name}.json").open("wb") as answers:
        try:
            code: int | str = subprocess.run(
                job.command, stdout=answers, stderr=errors, cwd=ROOT, timeout=max(limit, 1)
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"stopped after {limit:.0f} s"
        except OSError as error:
            code = str(error)
    result = {"job": job.name, "code": code, "seconds": round(time.perf_counter() - began, 1)}
    if job.weights is not None:
        result["weights"] = keep_half(job.weights, out / f"{job.name}.safetensors")
    return result


def keep_half(best: Path, path: Path) -> str:
    """The weights with their kernels in half precision, as released ones are; or why not."""
    try:
        weights = load_weights(best, start=True)
        for value in weights.detector.parameters():
            if value.ndim == 4:
                value.data = value.data.half()
        save_weights(path, weights)
    except Exception as error:  # the other jobs go on, whatever it is
        return str(error)
    return path.name


def part_paper_weights(scale: Scale, data: str, folder: Path) -> dict[str, Any]:
    """`lightnet` as it is built, fused: its speed does not depend on what it has learned."""
    detector = fuse_model(build_model(scale.models[0], ModelArguments(80), seed=0).eval())
    names = tuple(f"class {number}" for number in range(80))
    contract = Preprocess((640, 640))
    arguments = ModelArguments(80)
    weights = Weights(detector, scale.models[0], arguments, names, contract, fused=True)
    save_weights(folder / "paper.pt", weights)
    return {"model": scale.models[0]}


def part_steps(scale: Scale, data: str, folder: Path) -> dict[str, Any]:
    """Images a second of whole training steps, and the losses of the first of them."""
    found: dict[str, Any] = {}
    for model in scale.models:
        for amp in ("off", "auto"):
            for mode in ("plain", "recorded", "compiled"):
                key = f"{model}, amp {amp}, {mode}"
                found[key] = _tried(partial(_steps, scale, data, model, amp, mode))
                print(f"{key}: {found[key]}", file=sys.stderr, flush=True)
    return found


def _steps(scale: Scale, data: str, model: str, amp: str, mode: str) -> dict[str, Any]:
    flags = {"data.name": data, "model.name": model, "image_size": scale.train_size}
    flags |= {"batch": scale.train_batch, "device": scale.device, "amp": amp}
    config = load_config(None, {**flags, "compile": mode == "compiled"}, [])
    run = prepare_run(config, None, None, ignore)
    parts = Parts(run, config)
    if mode == "plain":
        parts.step.recorded = parts.step.detector
    losses = [float(parts.run()) for _ in range(5)]
    parts.seconds.clear()
    synchronize(run.device)
    began = time.perf_counter()
    for _ in range(scale.steps):
        parts.run()
    synchronize(run.device)
    rate = scale.steps * config.batch / (time.perf_counter() - began)
    memory = torch.cuda.max_memory_allocated() / 2**20 if run.device.type == "cuda" else None
    parts_ms = {name: 1000 * sum(taken) / len(taken) for name, taken in parts.seconds.items()}
    found = {"images_per_second": rate, "first_losses": losses, "peak_mib": memory}
    return {**found, "ms_until_python_goes_on": parts_ms}


def part_throughput(scale: Scale, data: str, folder: Path) -> dict[str, Any]:
    """Images a second of fused networks, float32 (TF32) and 16 bits, by size and batch."""
    device = find_device(scale.device)
    prepare(device)
    found: dict[str, Any] = {}
    for model in scale.models:
        network = fuse_model(build_model(model, ModelArguments(80), seed=0).eval()).to(device)
        network = network.to(memory_format=torch.channels_last)
        for size in scale.sizes:
            for batch in scale.batches:
                images = torch.rand(batch, 3, size, size, device=device)
                for half in (False, True) if device.type == "cuda" else (False,):
                    key = f"{model}, {size}, batch {batch}{', fp16' if half else ''}"
                    found[key] = _tried(partial(_forward_rate, network, images, half, scale.steps))
    return found


@torch.inference_mode()
def _forward_rate(
    network: torch.nn.Module, images: torch.Tensor, half: bool, steps: int
) -> dict[str, Any]:
    images = images.to(memory_format=torch.channels_last)
    shown = replayed_on(images.device, network)
    with torch.autocast(images.device.type, torch.float16, enabled=half):
        for _ in range(4):  # the third call records
            shown(images)
        synchronize(images.device)
        began = time.perf_counter()
        for _ in range(steps):
            shown(images)
        synchronize(images.device)
    return {"images_per_second": len(images) * steps / (time.perf_counter() - began)}


def _tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it gives, or why it gives nothing: too little memory, no compiler."""
    try:
        return work()
    except Exception as error:
        return {"error": str(error).partition("\n")[0]}


PARTS: dict[str, Callable[[Scale, str, Path], dict[str, Any]]] = {
    "paper-weights": part_paper_weights,
    "steps": part_steps,
    "throughput": part_throughput,
}


def make_data(folder: Path, options: Namespace) -> str:
    """The dataset: the one named, one prepared from its authors' layout, or made-up images."""
    if options.data is not None:
        return str(options.data)
    made = folder / "data"
    words = ["data", "synth", str(made), "--count", "20", "--image-size", "96"]
    if options.prepare is not None:
        words = ["data", "prepare", "neu-det", "--from", str(options.prepare), "--out", str(made)]
    subprocess.run([*KDLNET, *words, "--quiet"], check=True, stdout=sys.stderr)
    return str(made)


def day(options: Namespace) -> list[dict[str, Any]]:
    """All jobs, as far as the time goes."""
    scale, out = TOY if options.toy else REAL, options.out
    ends = time.perf_counter() + 60 * options.minutes
    out.mkdir(parents=True, exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="gpu-day-") as name:
        folder = Path(name)
        for job in jobs(folder, make_data(folder, options), scale, options):
            left = ends - time.perf_counter()
            if left < 5:
                results.append({"job": job.name, "code": "no time left", "seconds": 0.0})
            else:
                results.append(run_job(job, min(job.seconds * scale.budget, left), out))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
            summary = {"scale": asdict(scale), "jobs": results}
            (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is found")
    parser.add_argument("--data", help="a dataset [made-up images]")
    parser.add_argument("--prepare", type=Path, help="NEU-DET as its authors publish it")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--toy", action="store_true", help="on the CPU, at sizes of seconds")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part is not None:
        scale = TOY if options.toy else REAL
        print(json.dumps(PARTS[options.part](scale, options.data, options.out), indent=2))
        return 0
    results = day(options)
    print(json.dumps(results, indent=2))
    return 0 if all(result["code"] == 0 for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
