"""What every exported file carries: kdlnet's header, and inputs and outputs that fit it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import ConfigError, WeightsError
from kdlnet.inference.engine import ArrayEngine
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.ops.arrays import make_points
from kdlnet.types import Preprocess, RawArrays

FORMAT = 1
METADATA_KEY = "kdlnet"
"""Key in a file's metadata under which the header stands, as JSON."""

Array = NDArray[np.float32]
Run = Callable[[Array, Sequence[str]], Sequence[Array]]
"""Images (B, channels, H, W) and names of outputs to the arrays of these outputs."""
Shapes = Mapping[str, Sequence[object]]
"""Sizes of inputs and outputs by name, without the batch."""


def exported_file(path: Path, title: str) -> bytes:
    """The bytes of an exported file. Raises WeightsError where there is none."""
    if not path.exists():
        raise WeightsError(f"{title} {str(path)!r} does not exist")
    if path.is_dir():
        raise WeightsError(f"{str(path)!r} is a folder; give a file of kdlnet export")
    return path.read_bytes()


def damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"{str(path)!r} is damaged: its bytes are not those that were written. "
        "Export the weights again"
    )


def read_header(text: str | None, shapes: Shapes, path: Path, title: str) -> dict[str, Any]:
    """What kdlnet wrote into the metadata; it must agree with the inputs and outputs."""
    if text is None:
        raise WeightsError(
            f"{str(path)!r} is {title} of another tool (no {METADATA_KEY!r} in its metadata); "
            "give one that kdlnet export wrote"
        )
    try:
        header: dict[str, Any] = json.loads(text)
        known = header["format"] == FORMAT
        if known and not _fits(shapes, header):
            raise ValueError
    except Exception:  # a header may hold anything
        raise WeightsError(
            f"the network in {str(path)!r} does not fit its metadata: export the weights again"
        ) from None
    if not known:
        raise WeightsError(
            f"{str(path)!r} has format {header['format']}, this kdlnet reads {FORMAT}: "
            "use the kdlnet version that wrote it"
        )
    return header


def _fits(shapes: Shapes, header: dict[str, Any]) -> bool:
    """Whether inputs and outputs have the names and shapes that the metadata asks for.

    Raises ValueError, TypeError or KeyError where its thresholds are none.
    """
    contract = Preprocess.from_dict(header["preprocess"])
    height, width = contract.image_size
    points = sum((height // stride) * (width // stride) for stride in header["strides"])
    wanted = {
        "images": [contract.channels, height, width],
        "logits": [points, len(header["names"])],
        "boxes": [points, 4],
        "bins": [points, 4, header["bins"]],
    }
    VerdictRule.of_weights(header["thresholds"], header["names"])
    texts = isinstance(header["model"], str) and isinstance(header.get("calibration", {}), dict)
    return texts and {name: list(sizes) for name, sizes in shapes.items()} == wanted


def exported_runtime(
    path: Path, wanted: Wanted, header: dict[str, Any], run: Run, device: str, **about: Any
) -> Runtime:
    """The runtime of a network that ``run`` runs; ``about`` are the other fields of Runtime.

    Raises ConfigError where ``wanted`` asks for another image size than the file's.
    """
    contract = Preprocess.from_dict(header["preprocess"])
    height, width = contract.image_size
    if wanted.image_size not in (None, (height, width)):
        raise ConfigError(
            f"{str(path)!r} takes images of {height}x{width} only: leave --image-size out, or "
            "export the weights again with another one"
        )
    network = _Network(path, run, header, contract)
    return Runtime(
        engine=ArrayEngine(network, device),
        path=path,
        model=header["model"],
        names=tuple(header["names"]),
        preprocess=contract,
        rule=VerdictRule.of_weights(header["thresholds"], header["names"]),
        calibration=header.get("calibration", {}),
        fused=True,
        file_fused=True,
        fixed_size=True,
        with_boxes=network.with_boxes,
        **about,
    )


class _Network:
    """``run`` as a function of images (B, channels, H, W) float32."""

    def __init__(self, path: Path, run: Run, header: dict[str, Any], contract: Preprocess) -> None:
        self._path, self._run = path, run
        height, width = contract.image_size
        sizes = [(height // stride, width // stride) for stride in header["strides"]]
        self._grid = make_points(sizes, header["strides"])

    def __call__(self, images: Array) -> RawArrays:
        logits, bins = self._answers(images, ("logits", "bins"))
        return RawArrays(logits, bins, *self._grid)

    def with_boxes(self, images: Array) -> tuple[RawArrays, Array]:
        """Also the output ``boxes`` (B, A, 4), in pixels of the network input."""
        logits, bins, boxes = self._answers(images, ("logits", "bins", "boxes"))
        return RawArrays(logits, bins, *self._grid), boxes

    def _answers(self, images: Array, outputs: Sequence[str]) -> Sequence[Array]:
        try:
            return self._run(images, outputs)
        except Exception as error:  # its classes are many, and derive from Exception alone
            reason = str(error).split("\n")[0]
            raise WeightsError(f"{str(self._path)!r} cannot be run: {reason}") from None
