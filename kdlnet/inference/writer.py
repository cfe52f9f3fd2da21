"""Predictions into files: pictures, YOLO rows, JSON, CSV, crops."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import cv2
import numpy as np

from kdlnet.errors import ConfigError, KdlnetError, unknown
from kdlnet.images.read import ImageArray
from kdlnet.inference.prediction import Prediction
from kdlnet.report.images import save_image
from kdlnet.utils.files import write_atomic, write_json, write_yaml
from kdlnet.utils.output import new_folder

KINDS = ("images", "txt", "json", "csv", "crops")
_COLUMNS = ("name", "index", "timestamp", "class", "label", "score", "x1", "y1", "x2", "y2")


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds of files to write, each once; ``none`` alone is none. Raises ConfigError."""
    if tuple(kinds) == ("none",):
        return ()
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(unknown("kind of file", kind, KINDS, "Or none"))
    return tuple(dict.fromkeys(kinds))


class PredictionWriter:
    """Writes predictions into a folder, made at the first of them. A context.

    ``images/STEM.jpg`` is the drawn image, ``labels/STEM.txt`` its YOLO rows with the score last,
    ``crops/CLASS/STEM-N.png`` box N in native depth. ``predictions.csv`` and, for sources that
    come frame by frame (``lines``), ``predictions.jsonl`` grow with each image;
    ``predictions.json`` is written at the end, also after an error. Raises KdlnetError for what
    cannot be written.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        default: Path,
        out: Path | None = None,
        overwrite: bool = False,
        lines: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.folder: Path | None = None
        self._kinds = check_kinds(kinds)
        self._place = (default, out, overwrite)
        self._lines = lines
        self._settings = settings or {}
        self._written: list[dict[str, Any]] = []
        self._stems: set[str] = set()
        self._files = ExitStack()
        self._append: dict[str, Callable[[str], None]] = {}

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()
        if self.folder is not None and "json" in self._kinds and not self._lines:
            document = {**self._settings, "predictions": self._written}
            write_json(self.folder / "predictions.json", document)

    def write(self, prediction: Prediction) -> None:
        """All files of one image; it must hold its pixels or name its file."""
        if not self._kinds:
            return
        folder = self.folder or self._start()
        stem = self._free(prediction.stem)
        if "images" in self._kinds:
            save_image(folder / "images" / f"{stem}.jpg", prediction.draw())
        if "txt" in self._kinds:
            write_atomic(folder / "labels" / f"{stem}.txt", yolo_rows(prediction).encode())
        if "crops" in self._kinds:
            _write_crops(folder / "crops", stem, prediction)
        if "csv" in self._kinds:
            self._append["csv"](csv_rows(prediction))
        if "json" in self._kinds:
            values = prediction.to_dict()
            if self._lines:
                self._append["jsonl"](json.dumps(values, ensure_ascii=False) + "\n")
            else:
                self._written.append(values)

    def _start(self) -> Path:
        self.folder = new_folder(*self._place)
        write_yaml(self.folder / "config.yaml", self._settings)
        if "csv" in self._kinds:
            self._open("csv")(",".join(_COLUMNS) + "\n")
        if "json" in self._kinds and self._lines:
            self._open("jsonl")
        return self.folder

    def _open(self, suffix: str) -> Callable[[str], None]:
        assert self.folder is not None
        path = self.folder / f"predictions.{suffix}"
        try:
            file = self._files.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        except OSError as error:
            raise _cannot_write(path, error) from None
        self._append[suffix] = lambda text: _append(file, path, text)
        return self._append[suffix]

    def _free(self, stem: str) -> str:
        """``stem``, counted up where a.png and a.jpg, or A.png and a.png, would share a file."""
        free, number = stem, 1
        while free.casefold() in self._stems:
            number += 1
            free = f"{stem}-{number}"
        self._stems.add(free.casefold())
        return free


def yolo_rows(prediction: Prediction) -> str:
    """Rows ``class cx cy w h score``, all but the class as shares with eight decimals."""
    height, width = prediction.size
    x1, y1, x2, y2 = (prediction.boxes / [width, height, width, height]).T
    columns = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, prediction.scores)
    return "".join(
        f"{label} " + " ".join(f"{number:.8f}" for number in numbers) + "\n"
        for label, numbers in zip(
            prediction.labels.tolist(), np.column_stack(columns).tolist(), strict=True
        )
    )


def csv_rows(prediction: Prediction) -> str:
    """One line a box; an image without boxes has none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    values = prediction.to_dict()
    for box in values["boxes"]:
        moment = "" if values["timestamp"] is None else values["timestamp"]
        head = (values["name"], values["index"], moment)
        writer.writerow((*head, box["class"], box["label"], box["score"], *box["box"]))
    return text.getvalue()


def crop(image: ImageArray, box: Sequence[float]) -> ImageArray:
    """The pixels (h, w, C) that ``box``, xyxy in pixels of ``image``, touches: at least one."""
    height, width = image.shape[:2]
    x1, y1 = min(int(box[0]), width - 1), min(int(box[1]), height - 1)
    x2, y2 = max(int(np.ceil(box[2])), x1 + 1), max(int(np.ceil(box[3])), y1 + 1)
    return image[y1 : min(y2, height), x1 : min(x2, width)]


def _write_crops(folder: Path, stem: str, prediction: Prediction) -> None:
    if not len(prediction):
        return
    image = prediction.pixels()
    for n, (box, label) in enumerate(
        zip(prediction.boxes.tolist(), prediction.labels, strict=True), start=1
    ):
        name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", prediction.names[label]).strip(". ") or "_"
        pixels = np.ascontiguousarray(crop(image, box))
        if pixels.shape[2] == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".png", pixels)
        if not done:
            raise KdlnetError(f"cannot write the crop {n} of {prediction.name!r} as PNG")
        write_atomic(folder / name / f"{stem}-{n}.png", data.tobytes())


def _append(file: TextIO, path: Path, text: str) -> None:
    """Flushed at once: a kill leaves whole lines of all images before it."""
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> KdlnetError:
    return KdlnetError(
        f"cannot write {str(path)!r}: {error.strerror or error}; "
        "free some space there or choose another folder with --out"
    )
