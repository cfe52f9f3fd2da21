"""Which images a pre-training began with, so that it goes on with these and no others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.images.window import Window
from kdlnet.utils.files import write_atomic

_State = tuple[int, int]
_GONE: _State = (-1, -1)


@dataclass(frozen=True)
class KeptImages:
    """``paths`` in the order of the views, ``states`` of their files (bytes, time of the last
    change in nanoseconds), and the ``window`` that all views are cut through."""

    paths: list[Path]
    states: list[_State]
    window: Window

    @classmethod
    def of(cls, paths: Sequence[Path], window: Window) -> KeptImages:
        """The files as they are now, their paths made absolute."""
        return cls([path.absolute() for path in paths], [*map(_state, paths)], window)

    @classmethod
    def read(cls, file: Path) -> KeptImages | None:
        """What :meth:`write` left, None where there is no such file, as in runs of old versions.

        Raises DataError for a damaged one.
        """
        if not file.is_file():
            return None
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            low, high = values["window"]
            rows = [(Path(path), (size, changed)) for path, size, changed in values["images"]]
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{str(file)!r}, the images that the run began with, is damaged: bring it back, or "
                "start a new run"
            ) from None
        return cls([path for path, _ in rows], [state for _, state in rows], (low, high))

    def write(self, file: Path) -> None:
        """Some 100 bytes an image."""
        rows = [(str(path), *state) for path, state in zip(self.paths, self.states, strict=True)]
        write_atomic(file, json.dumps({"window": self.window, "images": rows}).encode())

    def require(self, start: int) -> None:
        """Raises DataError where an image from number ``start`` on is gone or another one."""
        for path, state in zip(self.paths[start:], self.states[start:], strict=True):
            found = _state(path)
            if found != state:
                what = "is gone" if found == _GONE else "was changed"
                raise DataError(
                    f"{str(path)!r} {what} since the run began, and the teacher must still see it: "
                    "bring it back as it was (size and time of the file count), or "
                    "start a new run"
                )


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError:
        return _GONE
    return found.st_size, found.st_mtime_ns
