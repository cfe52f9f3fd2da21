"""What every test shares: one torch thread pool, flushed denormals, and when marked tests skip."""

from __future__ import annotations

import copy
import hashlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from kdlnet.config import TrainConfig, build_config
from kdlnet.inference import onnx_export, transfer
from kdlnet.inference.layouts import Layout
from kdlnet.inference.weights import Weights
from kdlnet.models import cost
from kdlnet.models.cost import ModelCost, model_cost
from kdlnet.models.network import Network
from kdlnet.training import run
from kdlnet.types import ImageSize

from .support.layouts import save_image, save_xml
from .support.squares import make_dataset

REPOSITORY = Path(__file__).resolve().parents[1]

BLANK = cv2.imencode(".png", np.full((1, 1), 255, np.uint8))[1].tobytes()

# Per thread: before the first parallel operation, or half of the pool keeps denormals and crawls.
torch.set_flush_denormal(True)

# What a shell starts with & ignores Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def data_folder() -> Path:
    """Where the real sets of the tests marked ``data`` are."""
    default = REPOSITORY.parent / "shared" / "data"
    return Path(os.environ.get("KDLNET_TEST_DATA", default))


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    folder = data_folder()
    no_gpu = pytest.mark.skip(reason="no CUDA device")
    no_data = pytest.mark.skip(reason=f"no real images in {folder}; set KDLNET_TEST_DATA")
    gpu, data = torch.cuda.is_available(), folder.is_dir()
    for item in items:
        if item.get_closest_marker("gpu") and not gpu:
            item.add_marker(no_gpu)
        if item.get_closest_marker("data") and not data:
            item.add_marker(no_data)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real sets, for tests marked ``data``."""
    return data_folder()


@pytest.fixture(autouse=True)
def _leave_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not reach the tests."""
    monkeypatch.delenv("KDLNET_DATA", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(scope="session", autouse=True)
def _trainings_begin_from_scratch() -> Iterator[None]:
    """Golden losses must not move with the next released start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "find_start", lambda model, block: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _a_structure_is_counted_once() -> Iterator[None]:
    """Every training counts its arithmetic anew, which takes as long as some toy steps."""
    known: dict[object, ModelCost] = {}

    def counted(detector: Network, image_size: ImageSize) -> ModelCost:
        shapes = tuple((name, value.shape) for name, value in detector.state_dict().items())
        if (shapes, image_size) not in known:
            known[shapes, image_size] = model_cost(detector, image_size)
        return known[shapes, image_size]

    with pytest.MonkeyPatch.context() as patch:
        for module in (run, cost):
            patch.setattr(module, "model_cost", counted)
        yield


@pytest.fixture(scope="session", autouse=True)
def traced() -> Iterator[dict[object, Any]]:
    """ONNX networks by what they were traced from: a trace takes seconds, and many are alike."""
    known: dict[object, Any] = {}
    trace = onnx_export._exported

    def traced_once(weights: Weights, layout: Layout, *how: Any) -> Any:
        state = weights.detector.state_dict().values()
        numbers = hashlib.sha256(b"".join(value.numpy().tobytes() for value in state)).hexdigest()
        key = str(weights.detector), numbers, weights.preprocess, layout, str(how)
        if key not in known:
            known[key] = trace(weights, layout, *how)
        return copy.deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "_exported", traced_once)
        yield known


@pytest.fixture(autouse=True)
def _plots_are_blank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw the curves takes longer than the toy trainings that end with them."""
    if "real_plots" not in request.fixturenames:
        monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(BLANK))


@pytest.fixture
def real_plots() -> None:
    """For tests of the plots themselves, and of all that a verb leaves."""


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of a dataset that a detector can learn in seconds."""
    return make_dataset(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def config(dataset: Path) -> TrainConfig:
    """Three epochs on it."""
    return build_config(
        {
            "model": {"name": "lightnet-n"},
            "data": {"name": str(dataset)},
            "image_size": 64,
            "batch": 4,
            "epochs": 3,
            "device": "cpu",
        }
    )


@pytest.fixture
def voc(tmp_path):
    """Two classes, three images in sibling folders; the last one has no annotation."""
    source = tmp_path / "voc"
    for name in ("a", "b", "c"):
        save_image(source / f"IMAGES/{name}.jpg")
    save_xml(source / "ANNOTATIONS/a.xml", [("dent", 1, 1, 60, 40), ("crack", 11, 21, 20, 30)])
    save_xml(source / "ANNOTATIONS/b.xml", [("crack", 5, 5, 8, 9)])
    return source
