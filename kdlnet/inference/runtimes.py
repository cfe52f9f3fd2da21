"""Networks ready to run, whatever their file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from kdlnet.data.learned import Learned
from kdlnet.errors import ConfigError, KdlnetError, WeightsError, unknown
from kdlnet.inference.engine import Engine
from kdlnet.inference.kinds import KINDS, kind_of
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.types import ImageSize, Preprocess


@dataclass(frozen=True)
class Runtime:
    """A network that is ready to run, and what one must know to feed it and read its answer.

    ``rule`` is the file's own, and ``calibration`` says how it was chosen, empty where none was.
    ``learned`` are the images it has learned from, as far as the file tells.
    ``name`` is a key of RUNTIMES, ``version`` that of the library behind it; ``device_name`` is the
    chip. ``fused`` and ``precision`` say what runs, ``file_fused`` and ``file_precision`` what the
    file holds. ``fixed_size``: only ``preprocess.image_size`` fits. ``batch`` is what the network
    takes at once, None for any; others are filled up. ``with_boxes`` takes what ``engine.load``
    makes and returns the network's answer and the boxes (B, A, 4) that the file itself decodes, for
    programs other than kdlnet; None where it decodes none.
    """

    name: str
    version: str
    engine: Engine
    device_name: str
    threads: int
    path: Path
    model: str
    names: tuple[str, ...]
    preprocess: Preprocess
    rule: VerdictRule
    calibration: dict[str, Any]
    fused: bool
    file_fused: bool
    fixed_size: bool
    batch: int | None = None
    precision: str = "float32"
    file_precision: str = "float32"
    with_boxes: Callable[[Any], tuple[Any, Any]] | None = None
    learned: Learned = field(default_factory=Learned)

    @property
    def device(self) -> str:
        """Where it runs, as people name it."""
        return str(self.engine.device)


@dataclass(frozen=True)
class Wanted:
    """How a file is to be opened.

    ``fuse`` folds an unfused weights file in memory; ``image_size`` replaces the one in the file.
    ``threads`` None is what the runtime takes by itself.
    """

    device: str = "auto"
    fuse: bool = True
    image_size: ImageSize | None = None
    threads: int | None = None


Opener = Callable[[Path, Wanted], Runtime]


def open_runtime(
    path: Path,
    *,
    device: str = "auto",
    runtime: str | None = None,
    fuse: bool = True,
    image_size: ImageSize | None = None,
    threads: int | None = None,
) -> Runtime:
    """The network in ``path``, by default in the runtime that its content asks for; see Wanted.

    Raises WeightsError for a file that cannot be used, ConfigError for a runtime, device or size
    that does not fit, KdlnetError when a package is missing.
    """
    kind = kind_of(path)
    name = runtime or (KINDS[kind].runtime if kind else "torch")
    if name is None:
        raise _engine(path)
    if name not in RUNTIMES:
        raise ConfigError(unknown("runtime", name, RUNTIMES))
    return RUNTIMES[name](path, Wanted(device, fuse, image_size, threads))


def _engine(path: Path) -> WeightsError:
    """What to do with an engine of TensorRT, which kdlnet cannot run."""
    if not path.is_file():
        return WeightsError(f"there is no file {str(path)!r}")
    return WeightsError(
        f"{str(path)!r} is a TensorRT engine: only TensorRT runs it, on the card and with the "
        "version it was built for, and kdlnet has no runtime for it. Give the .onnx it was built "
        "from, with --device tensorrt (onnxruntime-gpu and TensorRT installed) or --device cuda; "
        "see docs/deploy.md"
    )


@contextmanager
def thread_count(count: int | None) -> Iterator[None]:
    """OpenCV, and torch where it is in use, with ``count`` threads, as before afterwards.

    None leaves them. Other runtimes take their number when a file is opened.
    """
    torch = sys.modules.get("torch")
    before = cv2.getNumThreads(), torch.get_num_threads() if torch else 0
    if count is not None:
        cv2.setNumThreads(count)
        if torch:
            torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            cv2.setNumThreads(before[0])
            if torch:
                torch.set_num_threads(before[1])


def _of(module: str) -> Opener:
    """``open_file`` of a module whose packages need not be installed: imported when called."""

    def open_file(path: Path, wanted: Wanted) -> Runtime:
        try:
            opener: Opener = importlib.import_module(module).open_file
        except ModuleNotFoundError as error:
            raise KdlnetError(
                f"{str(path)!r} needs the package {error.name!r}, which is not installed: install "
                "all of kdlnet (pip install kdlnet), or export the weights where that is done"
            ) from None
        return opener(path, wanted)

    return open_file


RUNTIMES: dict[str, Opener] = {
    "torch": _of("kdlnet.inference.torch_runtime"),
    "onnxruntime": _of("kdlnet.inference.onnx_runtime"),
    "openvino": _of("kdlnet.inference.openvino_runtime"),
    "torchscript": _of("kdlnet.inference.torchscript_runtime"),
}
"""By name: what opens a file."""
