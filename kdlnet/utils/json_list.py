"""A JSON document that ends in a long list, written item by item; as ``json.dumps`` would."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdlnet.utils.files import write_all

_BEFORE, _BETWEEN, _AFTER = "\n    ", ",\n    ", "\n  ]\n}"


def json_with_list(values: Mapping[str, Any], key: str, items: Iterable[Any]) -> Iterator[str]:
    """Pieces of the text of ``{**values, key: items}``, one item in memory at a time."""
    whole = _empty(values, key)
    yield whole.removesuffix("]\n}")
    lead = _BEFORE
    for item in items:
        yield lead + _indented(item)
        lead = _BETWEEN
    yield "]\n}" if lead == _BEFORE else _AFTER


class JsonList:
    """A file that holds ``{**values, key: [...]}`` and is complete after every :meth:`add`.

    Raises OSError; what was there before a failed ``add`` stays valid.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], key: str) -> None:
        self._file = path.open("xb", buffering=0)
        text = _empty(values, key) + "\n"
        self._write(text)
        self._end, self._tail, self._lead = len(text) - len("]\n}\n"), "]\n}\n", _BEFORE

    def __enter__(self) -> JsonList:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, item: Any) -> None:
        """Appends ``item``; what closes the document is written anew behind it."""
        text = self._lead + _indented(item)
        self._file.seek(self._end)
        try:
            self._write(text + _AFTER + "\n")
        except OSError:
            self._file.seek(self._end)
            self._file.truncate()
            self._write(self._tail)
            raise
        self._end, self._tail, self._lead = self._end + len(text), _AFTER + "\n", _BETWEEN

    def _write(self, text: str) -> None:
        write_all(self._file, text.encode("ascii"))


def _empty(values: Mapping[str, Any], key: str) -> str:
    return json.dumps({**values, key: []}, indent=2)


def _indented(item: Any) -> str:
    # Line breaks inside of texts are escaped: these are all of the layout.
    return json.dumps(item, indent=2).replace("\n", _BEFORE)
