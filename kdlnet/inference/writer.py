"""Predictions into files: pictures, YOLO rows, JSON, CSV, crops, suggestions for LabelMe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kdlnet.data.other_tools import CHECKED, CLASSES, SUGGESTED
from kdlnet.errors import ConfigError, KdlnetError, unknown
from kdlnet.images.read import ImageArray
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.shards import ShardBook
from kdlnet.inference.skipped import Skipped
from kdlnet.inference.tables import TABLES
from kdlnet.report.images import save_image
from kdlnet.report.labelme import labelme_shape, write_labelme
from kdlnet.utils.files import append_whole, told, write_atomic, write_yaml
from kdlnet.utils.json_list import JsonList
from kdlnet.utils.manifest import record
from kdlnet.utils.output import Place

KINDS = ("images", "txt", "json", "csv", "crops", "labelme")
_NAMED = frozenset({"images", "txt", "crops", "labelme"})  # a file or more per image
_LONGEST_NAME = 120  # bytes; file systems take 255
_Grow = Callable[[Mapping[str, Any]], None]


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds of files to write, each once; ``none`` alone is none. Raises ConfigError."""
    if tuple(kinds) == ("none",):
        return ()
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(unknown("kind of file", kind, KINDS, "Or none alone"))
    return tuple(dict.fromkeys(kinds))


class PredictionWriter:
    """Writes predictions into a folder, made at the first of them. A context.

    ``images/STEM.jpg`` is the drawn image, ``labels/STEM.txt`` its YOLO rows with the score last,
    ``crops/CLASS/STEM-N.png`` box N in native depth, ``labelme/STEM.json`` what LabelMe opens: each
    box as a suggestion and a tick that takes over all of them, beside the ``classes`` that were
    looked for, and ``labelme/STEM.png`` the image itself where it is no file. No two images may
    have the stem in common, see :class:`~kdlnet.inference.stems.Stems`. ``predictions.csv`` (a line
    a box), ``verdicts.csv`` (a line an image) and, for sources that come frame by frame
    (``lines``), ``predictions.jsonl`` grow with each image; so does ``predictions.json``, a
    complete document at any time. An image that could not be read has a line, too. With the
    ``book`` of a shard it alone grows, in its own folder: what it holds becomes documents and
    tables when the shards are merged. Raises KdlnetError for what cannot be written.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        place: Place,
        lines: bool = False,
        settings: dict[str, Any] | None = None,
        book: ShardBook | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.folder: Path | None = None
        self.written = 0  # images with all their files
        self._kinds = check_kinds(kinds)
        self._place = place
        self._lines = lines
        self._settings = settings or {}
        self._classes = classes
        self.names_files = not _NAMED.isdisjoint(self._kinds)
        self._files = ExitStack()
        self._growing: list[_Grow] = []
        self._book = book
        if book is not None:
            self.folder = book.folder

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write(self, prediction: Prediction) -> None:
        """All files of one image; it must hold its pixels or name its file."""
        self.begin(prediction)()
        self.end(prediction)

    def begin(self, prediction: Prediction) -> Callable[[], None]:
        """To be called in turn; what is returned writes the image's own files, in any thread."""
        folder = self.start()
        if folder is None or not self.names_files:
            return lambda: None
        return partial(self._write_files, folder, prediction)

    def end(self, prediction: Prediction) -> None:
        """Adds the image, in turn and once its own files are there, to the files that grow."""
        if self._book is not None:
            self._book.add(prediction)
        elif self._growing:
            self._grow(prediction.to_dict())
        if self.folder is not None and not (self.folder / "config.yaml").exists():
            self.written = 0
            raise KdlnetError(
                f"{str(self.folder)!r} was removed or emptied while results went into it: "
                "start again"
            )
        self.written += 1

    def skip(self, unread: Skipped) -> None:
        """Adds an image that could not be read to the files that grow, in turn.

        The book of a shard names it at its end, since the next call may read it.
        """
        if self._book is None:
            self._grow(unread.to_dict())

    def _grow(self, values: Mapping[str, Any]) -> None:
        for grow in self._growing:
            grow(values)

    def _write_files(self, folder: Path, prediction: Prediction) -> None:
        stem = prediction.stem
        if "images" in self._kinds:
            save_image(folder / "images" / f"{stem}.jpg", prediction.draw())
        if "txt" in self._kinds:
            write_atomic(folder / "labels" / f"{stem}.txt", yolo_rows(prediction).encode())
        if "crops" in self._kinds:
            _write_crops(folder / "crops", prediction)
        if "labelme" in self._kinds:
            _suggest(folder / "labelme", prediction, self._classes)

    def start(self) -> Path | None:
        """The folder, made where files are asked for; else None."""
        if self.folder is None and self._kinds:
            self.folder = self._begun()
        return self.folder

    def _begun(self) -> Path:
        folder = self._place.make()
        write_yaml(folder / "config.yaml", self._settings)
        if "csv" in self._kinds:
            self._growing += [self._csv(folder / name) for name in TABLES]
        if "json" in self._kinds:
            name, grow = ("jsonl", self._jsonl) if self._lines else ("json", self._json)
            self._growing.append(grow(folder / f"predictions.{name}"))
        return folder

    def _csv(self, path: Path) -> _Grow:
        columns, rows = TABLES[path.name]
        append = self._text(path)
        append(",".join(columns) + "\n")
        return lambda values: append(rows(values))

    def _jsonl(self, path: Path) -> _Grow:
        append = self._text(path)
        return lambda values: append(json.dumps(values, ensure_ascii=False) + "\n")

    def _json(self, path: Path) -> _Grow:
        with told(path):
            document = JsonList(path, self._settings, "predictions")
        self._keep(path, document)

        def grow(values: Mapping[str, Any]) -> None:
            with told(path):
                document.add(values)

        return grow

    def _text(self, path: Path) -> Callable[[str], None]:
        with told(path):
            file = path.open("wb", buffering=0)
        self._keep(path, file)

        def append(text: str) -> None:
            """At once: a kill or a full disk leaves whole lines of all images before it."""
            with told(path):
                append_whole(file, text.encode("utf-8", "surrogateescape"))

        return append

    def _keep(self, path: Path, file: AbstractContextManager[object]) -> None:
        """Closes ``file`` at the end; from then on a change of it is a person's."""
        record(path, grows=True)
        self._files.callback(_record, path)
        self._files.enter_context(file)


def _record(path: Path) -> None:
    with told(path):
        record(path)


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


def crop(image: ImageArray, box: Sequence[float]) -> ImageArray:
    """The pixels (h, w, C) that ``box``, xyxy in pixels of ``image``, touches: at least one."""
    height, width = image.shape[:2]
    x1, y1 = min(int(box[0]), width - 1), min(int(box[1]), height - 1)
    x2, y2 = max(int(np.ceil(box[2])), x1 + 1), max(int(np.ceil(box[3])), y1 + 1)
    return image[y1 : min(y2, height), x1 : min(x2, width)]


def _write_crops(folder: Path, prediction: Prediction) -> None:
    if not len(prediction):
        return
    image = prediction.pixels()
    for n, (box, label) in enumerate(
        zip(prediction.boxes.tolist(), prediction.labels, strict=True), start=1
    ):
        name = _folder_name(prediction.names[label])
        save_image(folder / name / f"{prediction.stem}-{n}.png", crop(image, box))


def _suggest(folder: Path, prediction: Prediction, classes: Sequence[str]) -> None:
    image = prediction.path
    if image is None:
        image = folder / f"{prediction.stem}.png"
        save_image(image, prediction.pixels())
    boxes = prediction.boxes.round(3).tolist()
    columns = (prediction.labels.tolist(), boxes, prediction.scores.tolist())
    shapes = [
        labelme_shape(f"{SUGGESTED}{prediction.names[label]}", box, f"score {score:.3f}")
        for label, box, score in zip(*columns, strict=True)
    ]
    file = folder / f"{prediction.stem}.json"
    write_labelme(file, image, prediction.size, shapes, {CHECKED: False})
    if not (listed := folder / CLASSES).exists():
        write_atomic(listed, "".join(f"{name}\n" for name in classes).encode())


def _folder_name(name: str) -> str:
    """A class as a folder, on any system."""
    plain = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name)
    return plain.encode()[:_LONGEST_NAME].decode(errors="ignore").strip(". ") or "_"
