"""A share of very many images: which they are, and the book that says what was found in them."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import yaml

from kdlnet.errors import ConfigError, DataError
from kdlnet.images.items import Item
from kdlnet.images.sources import Source, require_images
from kdlnet.images.stamp import stamp_of
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.released import released_or_file
from kdlnet.inference.skipped import Skipped
from kdlnet.utils.files import open_to_grow, sha256_of, told, write_yaml
from kdlnet.utils.lock import alone_in
from kdlnet.utils.manifest import record

BOOK = "predictions.jsonl"
SETTINGS = "config.yaml"
STAMP = "stamp"
"""Key of a line in the book: bytes of the image's file and its time of change in nanoseconds."""
MAY_DIFFER = frozenset({"kdlnet", "weights", "source", "device", "shard"})
"""Settings that shards of one source need not share: the same file may lie elsewhere."""

SHARD_KEYS = ("save", "shard", "shards", "images", "images_digest", "weights_digest")
"""Settings of a shard that those of one run lack."""

_GROUP = 256  # lines
_SECONDS = 2.0
_ADVICE = "free some space there, then give the same command again"


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number``, from 1, ``of`` so many: every image whose index is number - 1 modulo of."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """From ``2/8``. Raises ConfigError."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise ConfigError(f"shard {text!r}: give I/N with I from 1 to N, such as 2/8")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def title(self) -> str:
        """The name of its folder."""
        return f"shard-{self.number}-of-{self.of}"

    def indices(self, total: int) -> range:
        """Those of its images among ``total``."""
        return range(self.number - 1, total, self.of)


class ShardBook:
    """A line of JSON for each image of a shard, as they are found; see :func:`kept`.

    Lines are only added, each in one write: a killed process leaves whole ones, and at most a torn
    last one that counts for nothing. Every few of them are forced to the disk, so that a power
    cut costs no more than these.
    """

    def __init__(self, folder: Path, shard: Shard) -> None:
        self.folder = folder
        self.shard = shard
        self.file = folder / BOOK
        self._lines, self._synced = 0, time.monotonic()
        self._open = open_to_grow(self.file)

    def found(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """What earlier calls found in ``items``.

        Raises DataError where the file of one was changed since: another part would get its answer.
        """
        for _, values in whole_lines(self.file):
            if "index" not in values:
                continue
            path = items[values["index"]].path
            now = None if path is None else stamp_of(path)
            if now is not None and values.get(STAMP, list(astuple(now))) != list(astuple(now)):
                raise DataError(
                    f"{str(path)!r} is not the file that {str(self.folder)!r} has an answer to "
                    "(its size or time of change is another): choose another --out"
                )
            yield values

    def add(self, prediction: Prediction) -> None:
        """The line of one image, with the stamp of its file.

        Raises KdlnetError where it cannot be written.
        """
        stamp = {} if prediction.stamp is None else {STAMP: astuple(prediction.stamp)}
        self._write({**prediction.to_dict(), **stamp})

    def end(self, images: int, skipped: Sequence[Skipped]) -> None:
        """The line that says that every image was found or, for the reason told, ``skipped``."""
        lines = [one.to_dict() for one in skipped]
        self._write({"end": True, "images": images, "skipped": lines})
        self.sync()

    def sync(self) -> None:
        """Forces to the disk what was added."""
        self._lines, self._synced = 0, time.monotonic()
        with told(self.file, _ADVICE):
            self._open.flush()
            os.fsync(self._open.fileno())

    def close(self) -> None:
        with told(self.file, _ADVICE):
            self._open.close()
        record(self.file)

    def _write(self, values: Mapping[str, Any]) -> None:
        with told(self.file, _ADVICE):
            self._open.write((json.dumps(values) + "\n").encode())
            self._open.flush()
        self._lines += 1
        if self._lines >= _GROUP or time.monotonic() - self._synced > _SECONDS:
            self.sync()


@contextmanager
def kept(folder: Path, shard: Shard, settings: dict[str, Any]) -> Iterator[ShardBook]:
    """The book of ``shard`` in ``folder``, begun with ``settings`` or gone on with, and held.

    Raises DataError where it was begun with others or lies beside those of another division,
    KdlnetError where another process writes it.
    """
    _refuse_others(folder, shard)
    with alone_in(folder):
        file = folder / SETTINGS
        before = read_settings(folder)
        if before is None:
            write_yaml(file, settings)
        else:
            require_same(before, yaml.safe_load(yaml.safe_dump(settings)), folder)
        book = ShardBook(folder, shard)
        try:
            yield book
        finally:
            book.close()


def _refuse_others(folder: Path, shard: Shard) -> None:
    for other in sorted(folder.parent.glob("shard-*-of-*")):
        if not other.name.endswith(f"-of-{shard.of}"):
            raise DataError(
                f"{str(folder.parent)!r} holds {other.name}, one of another number of parts than "
                f"{shard.of}: give that number, or choose another --out"
            )


def read_settings(folder: Path) -> dict[str, Any] | None:
    """Those that a shard was begun with, None where there are none."""
    try:
        values = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    except (FileNotFoundError, yaml.YAMLError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def require_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises DataError that names the first setting of ``folder`` that differs ``now``."""
    for key in {**before, **now}:
        if key not in MAY_DIFFER and before.get(key) != now.get(key):
            what = {"images_digest": "list of images", "weights_digest": "weights file"}.get(
                key, f"{key} {before.get(key)!r}, not {now.get(key)!r}"
            )
            raise DataError(
                f"{str(folder)!r} was begun with another {what}: give what it was begun with, or "
                "choose another --out"
            )


def whole_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The values of each line of a book, and where in the file it begins."""
    start = 0
    with file.open("rb") as book:
        for line in book:
            values = _values(line)
            if values is not None:
                yield start, values
            start += len(line)


def _values(line: bytes) -> dict[str, Any] | None:
    """None for what a kill left of a line."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and line.endswith(b"\n") else None


def shard_settings(
    shard: Shard, source: Source, weights: Path, kinds: Sequence[str]
) -> dict[str, Any]:
    """What the shards of one source share, to be told from those of another, and which it is.

    Raises DataError for a source that does not consist of images.
    """
    require_images(source)
    return {
        "save": list(kinds),
        "shard": str(shard),
        "shards": shard.of,
        "images": len(source.items),
        "images_digest": list_digest(source),
        "weights_digest": sha256_of(released_or_file(weights)),
    }


def list_digest(source: Source) -> str:
    """What tells one list of images from another, wherever they lie."""
    digest = blake2b(digest_size=16)
    for item in source.items:
        digest.update(f"{item.stem}{Path(item.name).suffix}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
