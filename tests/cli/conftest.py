"""The command line called in-process, and a stand-in engine that records how it was called."""
# ruff: noqa: TID251  (these tests are the one place that imports the command line)

from __future__ import annotations

import importlib
import inspect
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdlnet import events
from kdlnet.metrics.analysis import analyse
from kdlnet.metrics.average_precision import AveragePrecision, ClassPrecision
from kdlnet.metrics.errors import OperatingPoint, find_errors
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.rates import measure
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.training.run import TrainResult
from kdlnet.types import Preprocess
from kdlnet_cli.main import main


@dataclass(frozen=True)
class Run:
    """Exit code and captured text of one command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as exactly one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of the error; fails when there is more or a traceback."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


Command = Callable[..., Run]


@pytest.fixture
def kdlnet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """``kdlnet("val --json", file)`` in an empty folder; the line is split as a shell does."""
    monkeypatch.chdir(tmp_path)

    def run(line: str = "", *more: object) -> Run:
        capsys.readouterr()
        code = main([*shlex.split(line), *map(str, more)])
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return run


def metrics() -> dict[str, Any]:
    """Figures as the evaluator gives them, with a class that has no true box."""
    scratch = {"ap": 0.5, "ap50": 0.75, "ap75": 0.5, "recall": 0.6, "truths": 12}
    empty = {"ap": None, "ap50": None, "ap75": None, "recall": None, "truths": 0}
    return {
        **scratch,
        "per_class": {"scratch": scratch, "pit": empty},
        "per_size": {"small": 0.25, "medium": None, "large": 1.0},
        "images": 4,
        "seconds": 1.5,
    }


def evaluation(weights: Path) -> EvalResult:
    """The same figures as a validation gives them."""
    values = metrics()
    scratch, pit = values["per_class"].values()
    names = ("scratch", "pit")
    result = ImageResult([[0, 0, 9, 9]], [0.9], [0], [[0, 0, 9, 9]], [0], (10, 10))
    overall = {name: scratch[name] for name in ("ap", "ap50", "ap75", "recall", "truths")}
    return EvalResult(
        folder=Path("runs/val/set"),
        precision=AveragePrecision(
            **overall,
            recall50=None,
            per_class={
                "scratch": ClassPrecision(**scratch, recall50=None),
                "pit": ClassPrecision(**pit, recall50=None),
            },
            per_size=values["per_size"],
            images=values["images"],
        ),
        analysis=analyse([result], names, find_errors([result], names)),
        operating_point=OperatingPoint(0.5, 0.5, true=9, false=1, missed=3),
        best_scores={"scratch": 0.5},
        confusion=[[9, 0, 3], [0, 0, 0], [1, 0, 0]],
        verdicts=measure([], VerdictRule(), ("scratch", "pit")),
        images_per_second=2.667,
        seconds=values["seconds"],
        weights=weights,
        model="lightnet-n",
        fused=False,
        data="set",
        split="val",
        preprocess=Preprocess((64, 64)),
        score_threshold=0.001,
        iou_threshold=0.65,
        max_detections=300,
        device="cpu",
        learned=None,
        left_out=[],
        label_problems=["labels/a.txt:1: outside, clipped"],
    )


@dataclass
class FakeEngine:
    """What the verbs called. ``fail`` is raised by every call after its events."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    fail: BaseException | None = None
    noise: str = ""
    on_call: Callable[[], None] | None = None
    certificate: dict[str, Any] = field(default_factory=dict)

    @property
    def call(self) -> dict[str, Any]:
        """Arguments of the only call."""
        (only,) = self.calls
        return only

    def _record(self, **arguments: Any) -> Callable[[object], None]:
        self.calls.append(arguments)
        if self.noise:
            print(self.noise)
        if self.on_call is not None:
            self.on_call()
        listener: Callable[[object], None] = arguments.pop("on_event")
        return listener

    def _end(self) -> None:
        if self.fail is not None:
            raise self.fail

    def train(self, config: Any, **options: Any) -> TrainResult:
        tell = self._record(config=config, **options)
        folder = options.get("out") or Path("runs/train/set")
        tell(events.RunStarted(folder, "lightnet-n", 1_120_000, 2.45, 8, 4, "cpu", "float32", 2, 2))
        for epoch in range(2):
            for step in (1, 2):
                parts = {"class": 1.5, "box": 0.75}
                tell(events.StepDone(epoch, step, 2, parts, 0.01, 250.0, 90.0))
            tell(events.Progress("validate", 4, 4))
            row = {"epoch": epoch, "loss": 2.25, "class": 1.5, "ap": 0.25, "ap50": 0.5, "ap75": 0.2}
            row |= {"lr": 0.1, "seconds": 3.0, "images_per_second": 250.0}
            tell(events.EpochDone(epoch, 2, row, epoch == 0))
        self._end()
        best, last = folder / "weights/best.pt", folder / "weights/last.pt"
        tell(events.RunFinished(folder, best, metrics(), 6.5, "epochs", 2))
        return TrainResult(folder=folder, best=best, last=last, metrics=metrics(), reason="epochs")

    def validate(self, weights: Path, **options: Any) -> EvalResult:
        tell = self._record(weights=weights, **options)
        tell(events.Message("a label was clipped", "warning"))
        tell(events.Progress("validate", 2, 4))
        self._end()
        return evaluation(weights)

    def fuse(self, weights: Path, **options: Any) -> SimpleNamespace:
        tell = self._record(weights=weights, **options)
        tell(events.Progress("fuse proof", 32, 32))
        self._end()
        return SimpleNamespace(to_dict=lambda: self.certificate, passed=True)


def _bound(stand_in: Callable[..., Any], real: inspect.Signature) -> Callable[..., Any]:
    """``stand_in``, which refuses what the real function would refuse."""

    def call(*positional: Any, **named: Any) -> Any:
        real.bind(*positional, **named)
        return stand_in(*positional, **named)

    return call


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Stands in for the engine, so that the command line itself is what a test sees."""
    fake = FakeEngine()
    for module, name in (
        ("kdlnet.verbs.train", "train"),
        ("kdlnet.verbs.val", "validate"),
        ("kdlnet.verbs.fuse", "fuse"),
    ):
        real = importlib.import_module(module)
        signature = inspect.signature(getattr(real, name))
        monkeypatch.setattr(real, name, _bound(getattr(fake, name), signature))
    return fake


TRAIN = "train --model lightnet-n --image-size 64 --batch 4 --device cpu --data"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    assert main(["data", "synth", str(folder), "--count", "12", "--image-size", "96"]) == 0
    return folder


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    out = tmp_path_factory.mktemp("runs") / "set"
    line = [*TRAIN.split(), str(dataset), "--epochs", "2", "--out", str(out), "--quiet"]
    assert main(line) == 0
    return out


@pytest.fixture
def weights(trained: Path) -> Path:
    return trained / "weights" / "best.pt"


@pytest.fixture
def training() -> str:
    """The start of a short training command; the dataset comes next."""
    return TRAIN
