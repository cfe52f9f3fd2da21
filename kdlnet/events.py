"""What the engine tells whoever listens. The command line renders events, tests collect them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Message:
    """One line for people."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A training run begins. ``parameters`` and ``gflops`` are those of the fused model.

    ``val_images`` is 0 where the run learns from val and measures nothing. ``precision`` is that of
    the products: ``float32``, or ``bfloat16`` or ``float16`` where it is mixed.
    """

    folder: Path
    model: str
    parameters: int
    gflops: float
    train_images: int
    val_images: int
    device: str
    precision: str
    epochs: int
    steps_per_epoch: int


@dataclass(frozen=True, slots=True)
class StepDone:
    """How an epoch stands, told a few times a second and at its end: ``step`` of ``steps`` batches.

    ``epoch`` counts from 0. ``parts`` are means of the loss over the epoch so far.
    ``images_per_second`` counts those of all ranks, ``seconds_left`` is what the run still takes.
    """

    epoch: int
    step: int
    steps: int
    parts: dict[str, float]
    learning_rate: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One epoch with its row of results.csv; ``best`` when it is the best so far."""

    epoch: int
    epochs: int
    row: dict[str, float | int | None]
    best: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """Work other than training: ``done`` of ``total`` in ``task``."""

    task: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A training run is over, after ``epochs`` in all. ``reason`` is epochs, patience or time."""

    folder: Path
    best: Path | None
    metrics: dict[str, Any]
    seconds: float
    reason: str
    epochs: int


Listener = Callable[[object], None]


def ignore(event: object) -> None:
    """A listener that does nothing."""
