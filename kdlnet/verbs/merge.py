"""``kdlnet predict --merge``: the results of all shards as those of one run."""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.shards import (
    BOOK,
    SETTINGS,
    SHARD_KEYS,
    STAMP,
    Shard,
    read_settings,
    require_same,
    whole_lines,
)
from kdlnet.inference.skipped import UNREADABLE, Skipped
from kdlnet.inference.tables import TABLES, Rows
from kdlnet.inference.tally import PredictResult, Tally
from kdlnet.utils.files import written_together, yaml_bytes
from kdlnet.utils.json_list import json_with_list
from kdlnet.utils.lock import alone_in
from kdlnet.utils.manifest import MARK

__all__ = ["merge_shards"]


@dataclass(frozen=True, eq=False)
class _Book:
    """The book ``file`` of a shard: ``rows`` (N, 2) are an image's index and where its line is."""

    file: Path
    rows: NDArray[np.int64]
    skipped: Sequence[dict[str, Any]]


def merge_shards(folder: Path, *, on_event: Listener = ignore) -> PredictResult:
    """Writes into ``folder`` what one run over all images would have: documents and tables.

    Of the kinds that the shards were asked to save, predictions.json, predictions.csv and
    verdicts.csv. Pictures, label files and crops stay in the folders of the shards. Raises
    DataError where a shard is missing or not done, or was made from other images or weights.
    """
    settings, parts = _shards(folder, on_event)
    shown = {key: value for key, value in settings.items() if key not in SHARD_KEYS}
    tally = Tally(None, on_event)
    with alone_in(folder):
        books = [_book(part) for part in parts]
        unread = sorted((one for book in books for one in book.skipped), key=_index)
        every = heapq.merge(_in_order(books, settings["images"]), unread, key=_index)
        found = _counted(every, tally)
        _write(folder, settings["save"], shown, found)
    for one in unread:
        tally.hear(Skipped(one["why"], one["name"], one["index"]))
    return tally.result(folder, settings["classes"] or settings["names"])


def _shards(folder: Path, on_event: Listener) -> tuple[dict[str, Any], list[Path]]:
    """What all shards in ``folder`` have in common, and their folders by number."""
    found = {path: read_settings(path) for path in sorted(folder.glob("shard-*-of-*"))}
    told = {path: values for path, values in found.items() if values and "shards" in values}
    if not told or not (folder / MARK).exists():
        raise DataError(
            f"{str(folder)!r} holds no shards: name the --out of kdlnet predict --shard I/N"
        )
    settings = next(iter(told.values()))
    for path, values in told.items():
        require_same(values, settings, path)
    if len(places := {str(values["source"]): path.name for path, values in told.items()}) > 1:
        (one, first), (other, second), *_ = places.items()
        text = (
            f"{first} is of {one!r} and {second} of {other!r}: make sure that these hold the same "
            "images, since lots that number alike cannot be told apart here"
        )
        on_event(Message(text, "warning"))
    titles = [Shard(n + 1, settings["shards"]).title for n in range(settings["shards"])]
    missing = [title for title in titles if folder / title not in told]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(titles)} shards are not in {str(folder)!r}, first "
            f"{missing[0]}: run it with --shard, then merge again"
        )
    return settings, [folder / title for title in titles]


def _book(folder: Path) -> _Book:
    """Where the lines of a shard are that is done. Raises DataError for one that is not."""
    rows: list[tuple[int, int]] = []
    skipped: list[dict[str, Any]] | None = None
    for start, values in whole_lines(folder / BOOK):
        skipped = values["skipped"] if "end" in values else None
        if skipped and not isinstance(skipped[0], dict):
            skipped = None  # of a version that did not name their places
        if "index" in values:
            rows.append((values["index"], start))
    if skipped is None:
        raise DataError(
            f"{str(folder)!r} is not done ({len(rows)} images are): run it with --shard to its "
            "end, then merge again"
        )
    return _Book(folder / BOOK, np.array(rows, np.int64).reshape(-1, 2), skipped)


def _in_order(books: Sequence[_Book], images: int) -> Iterator[dict[str, Any]]:
    """The lines of all ``books`` by the index of their image, which is there once.

    Raises DataError where they do not hold all ``images``.
    """
    rows = np.concatenate([book.rows for book in books])
    owners = np.repeat(np.arange(len(books)), [len(book.rows) for book in books])
    order = np.argsort(rows[:, 0], kind="stable")
    once = len(np.unique(rows[:, 0])) == len(rows)
    if not once or len(rows) + sum(len(book.skipped) for book in books) != images:
        raise DataError(
            f"the shards hold {len(rows)} lines of images, not one for each of {images}: their "
            "files were changed; run the shards again into another --out"
        )
    with ExitStack() as held:
        files = [held.enter_context(book.file.open("rb")) for book in books]
        for place in order:
            file = files[owners[place]]
            file.seek(int(rows[place, 1]))
            values = json.loads(file.readline())
            values.pop(STAMP, None)
            yield values


def _write(
    folder: Path,
    kinds: Sequence[str],
    settings: Mapping[str, Any],
    found: Iterable[dict[str, Any]],
) -> None:
    """Takes ``found`` one by one into the files of ``kinds``, which appear when all is written.

    The ``settings`` come last: a folder that has them has all of its files.
    """
    tables = TABLES if "csv" in kinds else {}
    documents = ["predictions.json"] if "json" in kinds else []
    names = (SETTINGS, *tables, *documents)
    with written_together(folder / name for name in names) as (last, *files):
        last.write(yaml_bytes(settings))
        for file, (columns, rows) in zip(files, tables.values(), strict=False):
            file.write((",".join(columns) + "\n").encode())
            found = _copied(found, file, rows)
        if documents:
            for piece in json_with_list(settings, "predictions", found):
                files[-1].write(piece.encode())
            files[-1].write(b"\n")
        else:
            deque(found, maxlen=0)


def _copied(
    found: Iterable[dict[str, Any]], file: BinaryIO, rows: Rows
) -> Iterator[dict[str, Any]]:
    """``found``, whose ``rows`` go into ``file`` on the way."""
    for values in found:
        file.write(rows(values).encode("utf-8", "surrogateescape"))
        yield values


def _counted(found: Iterable[dict[str, Any]], tally: Tally) -> Iterator[dict[str, Any]]:
    for values in found:
        if values["verdict"] != UNREADABLE:
            tally.recall(values)
        yield values


def _index(values: Mapping[str, Any]) -> int:
    index: int = values["index"]
    return index
