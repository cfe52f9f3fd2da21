"""The whole method on made-up images, in minutes: what ``kdlnet demo`` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig, build_config
from kdlnet.events import Listener, Message, ignore
from kdlnet.types import ImageSize
from kdlnet.utils.files import write_atomic, write_json
from kdlnet.utils.output import new_folder
from kdlnet.verbs.bench import Workload, bench
from kdlnet.verbs.distill import distill
from kdlnet.verbs.fuse import fuse
from kdlnet.verbs.predict import predict_files
from kdlnet.verbs.synth import synthesize
from kdlnet.verbs.train import train
from kdlnet.verbs.val import validate

IMAGE_SIZE: ImageSize = (128, 128)
_IMAGES = 1000
_CONTRAST = 3.0
"""Plainer than the synthetic set is by default: minutes of training must be enough."""
_PICTURES = 24
_STEPS = 7


@dataclass
class Demo:
    """What came of it. ``places`` says where to look, ``seconds`` what each step took."""

    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        places = {name: str(place) for name, place in self.places.items()}
        return {
            "folder": str(self.folder),
            **self.metrics,
            "places": places,
            "seconds": self.seconds,
        }


def demo(
    *,
    out: Path | None = None,
    overwrite: bool = False,
    training_seconds: float = 360.0,
    seed: int = 0,
    device: str = "auto",
    on_event: Listener = ignore,
) -> Demo:
    """Makes images, trains a teacher, distills a student, fuses, validates, predicts, benchmarks.

    ``training_seconds`` are shared evenly by teacher and student. Everything goes into ``out`` or
    runs/demo. Raises KdlnetError for what cannot be written, ProofFailed from the fuse step.
    """
    result = Demo(new_folder(Path("runs/demo"), out, overwrite))
    step = _Steps(result, on_event)
    data = result.folder / "images"
    with step("make images"):
        synthesize(
            data,
            count=_IMAGES,
            image_size=IMAGE_SIZE,
            seed=seed,
            contrast=_CONTRAST,
            on_event=on_event,
        )
    config = _config(data, training_seconds / 2, seed, device)
    with step("train a teacher"):
        teacher = train(
            config.changed(seed=seed + 1), out=result.folder / "teacher", on_event=on_event
        )
    with step("distill a student"):
        student = distill(
            config, teachers=[teacher.best], out=result.folder / "student", on_event=on_event
        )
    with step("fuse with proof"):
        proof = fuse(student.best, data=str(data), device=device, on_event=on_event)
        fused = Path(proof.fused)
    with step("validate"):
        measured = validate(
            fused, data=str(data), device=device, out=result.folder / "val", on_event=on_event
        )
    with step("predict"):
        pictures = sorted((data / "images").rglob("*.png"))[-_PICTURES:]
        listed = result.folder / "predict.txt"
        write_atomic(listed, "".join(f"{path}\n" for path in pictures).encode())
        predict_files(
            fused, listed, device=device, out=result.folder / "predict", on_event=on_event
        )
    with step("benchmark"):
        speed = bench(
            fused, data=str(data), device=device, workload=Workload(calls=100), on_event=on_event
        )
        write_json(result.folder / "bench.json", speed.to_dict())
    result.metrics = {
        "teacher_ap50": teacher.metrics["ap50"],
        "student_ap50": measured.precision.ap50,
        "student_ap": measured.precision.ap,
        "largest_logit_error": proof.largest_logit_error,
        "images_per_second": speed.images_per_second,
        "device": speed.device_name,
    }
    result.places = {
        "worst images of val": result.folder / "val" / "worst.png",
        "curves": result.folder / "val" / "precision-recall.png",
        "predictions": result.folder / "predict",
        "training": student.folder / "results.png",
        "weights": fused,
        "proof of fusing": fused.with_suffix(".json"),
    }
    write_json(result.folder / "demo.json", result.to_dict())
    return result


def _config(data: Path, seconds: float, seed: int, device: str) -> TrainConfig:
    return build_config(
        {
            "model": {"name": "lightnet-n"},
            "data": {"name": str(data)},
            "image_size": list(IMAGE_SIZE),
            "time": seconds,
            "seed": seed,
            "device": device,
            "val_every": 5,
        }
    )


class _Steps:
    """Announces each step and keeps how long it took."""

    def __init__(self, result: Demo, on_event: Listener) -> None:
        self.result = result
        self.on_event = on_event

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        number, began = len(self.result.seconds) + 1, time.perf_counter()
        self.on_event(Message(f"step {number}/{_STEPS}: {name}"))
        yield
        self.result.seconds[name] = round(time.perf_counter() - began, 1)
