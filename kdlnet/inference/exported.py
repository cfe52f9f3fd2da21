"""What every exported file carries: kdlnet's header, and inputs and outputs that fit it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from kdlnet.data.learned import Learned
from kdlnet.errors import ConfigError, KdlnetError, WeightsError
from kdlnet.inference.arrays import RawArrays, SuppressedArrays
from kdlnet.inference.engine import ArrayEngine
from kdlnet.inference.layouts import Answers, Array, Layout, Shapes
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.types import FORMATS, ImageSize, Preprocess
from kdlnet.utils.lanes import MOST_LANES
from kdlnet.utils.parse import parse_image_size, parse_sides

METADATA_KEY = "kdlnet"
"""Key in a file's metadata under which the header stands, as JSON."""

Run = Callable[[Array, Sequence[str]], Sequence[Array]]
"""Images (B, channels, H, W) and names of outputs to the arrays of these outputs."""


def exported_file(path: Path, title: str) -> bytes:
    """The bytes of an exported file. Raises WeightsError where there is none."""
    if not path.exists():
        raise WeightsError(f"{title} {str(path)!r} does not exist")
    if path.is_dir():
        raise WeightsError(f"{str(path)!r} is a folder; give a file of kdlnet export")
    return path.read_bytes()


def damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"{str(path)!r} is damaged or was changed by another tool: its bytes are not those that "
        "kdlnet export wrote. Export the weights again"
    )


def read_header(text: str | None, shapes: Shapes | None, path: Path, title: str) -> dict[str, Any]:
    """What kdlnet wrote into the metadata; it must agree with the inputs and outputs.

    ``shapes`` None: the file does not tell them.
    """
    if text is None:
        raise WeightsError(
            f"{str(path)!r} is {title} of another tool (no {METADATA_KEY!r} in its metadata); "
            "give one that kdlnet export wrote"
        )
    try:
        header: dict[str, Any] = json.loads(text)
        known = header["format"] in FORMATS
        if known and not _fits(shapes, header):
            raise ValueError
    except Exception:  # a header may hold anything
        raise WeightsError(
            f"the network in {str(path)!r} does not fit its metadata: export the weights again"
        ) from None
    if not known:
        raise WeightsError(
            f"{str(path)!r} has format {header['format']}, this kdlnet reads "
            f"{' and '.join(map(str, FORMATS))}: "
            "use the kdlnet version that wrote it"
        )
    return header


def _fits(shapes: Shapes | None, header: dict[str, Any]) -> bool:
    """Whether inputs and outputs have the names and shapes that the metadata asks for.

    Raises all kinds of errors where its thresholds are none, or the images that were learned.
    """
    contract = Preprocess.from_dict(header["preprocess"])
    layout = Layout.of_header(header)
    size = (None, None) if layout.dynamic else contract.image_size
    wanted = {"images": [contract.channels, *size], **Answers(header, layout).shapes}
    VerdictRule.of_weights(header["thresholds"], header["names"])
    Learned.of_header(header.get("learned"))
    texts = isinstance(header["model"], str) and isinstance(header.get("calibration", {}), dict)
    texts &= header.get("precision", "int8") in ("int8", "float16")
    texts &= header.get("file_precision", "float16") == "float16"
    texts &= header.get("products", "bfloat16") == "bfloat16"
    return texts and shapes in (None, wanted)


def input_size(path: Path, wanted: Wanted, header: dict[str, Any]) -> ImageSize:
    """(H, W) of the images: what is ``wanted``, else the file's own.

    Raises ConfigError where the file does not take it.
    """
    own = Preprocess.from_dict(header["preprocess"]).image_size
    asked = wanted.image_size
    height, width = own if asked is None else parse_sides(asked) or parse_image_size(asked)
    if not Layout.of_header(header).dynamic and (height, width) != own:
        raise ConfigError(
            f"{str(path)!r} takes images of {own[0]}x{own[1]} only: leave --image-size out, or "
            "export the weights again with another one or for any (--dynamic)"
        )
    step = max(header["strides"])
    if height < step or width < step or height % step or width % step:
        raise ConfigError(
            f"image size {height}x{width}: {str(path)!r} takes multiples of {step} only"
        )
    return height, width


def exported_runtime(
    path: Path,
    wanted: Wanted,
    header: dict[str, Any],
    run: Run,
    device: str,
    divide: Callable[[int], Run] | None = None,
    **about: Any,
) -> Runtime:
    """The runtime of a network that ``run`` runs; ``about`` are the other fields of Runtime.

    ``divide`` makes a ``run`` for so many threads that call it at once, and is asked for each
    number once: to compile a network may take seconds. Raises ConfigError as
    :func:`input_size` does.
    """
    contract = Preprocess.from_dict(header["preprocess"])
    contract = replace(contract, image_size=input_size(path, wanted, header))
    layout = Layout.of_header(header)
    answers = Answers(header, layout)
    network = _Network(path, run, answers, layout.batch)
    engine = ArrayEngine(network, device)
    if divide is not None and layout.batch in (None, 1):
        engine = replace(
            engine,
            lanes=min(about["threads"], MOST_LANES),
            divide=cache(lambda lanes: _Network(path, divide(lanes), answers, layout.batch)),
        )
    about |= {"precision": header["precision"]} if "precision" in header else {}
    stored = header.get("file_precision", header.get("precision", "float32"))
    return Runtime(
        engine=engine,
        path=path,
        model=header["model"],
        names=tuple(header["names"]),
        preprocess=contract,
        rule=VerdictRule.of_weights(header["thresholds"], header["names"]),
        calibration=header.get("calibration", {}),
        fused=True,
        file_fused=True,
        file_precision=stored,
        fixed_size=not layout.dynamic,
        batch=layout.batch,
        with_boxes=network.with_boxes,
        learned=Learned.of_header(header.get("learned")),
        **about,
    )


class _Network:
    """``run`` as a function of images (B, channels, H, W) float32, any number of them."""

    def __init__(self, path: Path, run: Run, answers: Answers, batch: int | None) -> None:
        self._path, self._run, self._answers, self._batch = path, run, answers, batch

    def __reduce__(self) -> NoReturn:
        """Raises KdlnetError: what another library has opened cannot be pickled."""
        raise KdlnetError(
            f"a detector of the exported file {str(self._path)!r} cannot be pickled or sent to "
            "another process: send the path, and load it there with Detector.load"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> _Network:
        return self  # nothing of it changes

    def __call__(self, images: Array) -> RawArrays | SuppressedArrays:
        found = self._found(images, self._answers.needed)
        return self._answers.raw(found, images.shape[2:])

    def with_boxes(self, images: Array) -> tuple[RawArrays | SuppressedArrays, Array]:
        """Also boxes (B, A, 4), in pixels of the network input: the file's own if it has them."""
        names = tuple(self._answers.shapes)
        found = dict(zip(names, self._found(images, names), strict=True))
        return self._answers.with_boxes(found, images.shape[2:])

    def _found(self, images: Array, outputs: Sequence[str]) -> Sequence[Array]:
        try:
            if self._batch in (None, len(images)):
                return self._run(images, outputs)
            return self._in_parts(images, outputs, self._batch)
        except Exception as error:  # its classes are many, and derive from Exception alone
            reason = str(error).split("\n")[0]
            raise WeightsError(f"{str(self._path)!r} cannot be run: {reason}") from None

    def _in_parts(self, images: Array, outputs: Sequence[str], size: int) -> list[Array]:
        """In batches of ``size``, the last one filled up with black images."""
        count = len(images)
        more = np.zeros((-count % size, *images.shape[1:]), np.float32)
        full = np.concatenate((images, more))
        parts = [self._run(full[i : i + size], outputs) for i in range(0, count, size)]
        return [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]
