"""``kdlnet predict --watch``: answers as images come, until it is told to stop."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from kdlnet.utils.paths import shown

from .console import Console, plain
from .errors import UsageProblem
from .options import given
from .stops import STOPS

if TYPE_CHECKING:
    from kdlnet.verbs.watch import Entry

_KINDS = ("images", "json")


def answer_folder(
    folder: Path,
    weights: Path,
    kinds: list[str] | None,
    settle: float | None,
    options: dict[str, Any],
    out: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Answers the images of ``folder``; with ``as_json`` a JSON line each on stdout."""
    for kind in kinds or ():
        if kind not in _KINDS:
            raise UsageProblem(f"--save {kind} with --watch: give {' or '.join(_KINDS)}")
    documents = sys.stdout
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.watch import Predictor, watch_folder

        from .progress import EventPrinter

        def tell(entry: Entry) -> None:
            if as_json:
                print(json.dumps(plain(entry.to_dict())), file=documents, flush=True)
            if not quiet:
                console.say(str(entry))

        with EventPrinter(console) as printer, _until_told_to_stop() as stop:
            predictor = Predictor.load(weights, **options)
            result = watch_folder(
                predictor,
                weights,
                folder,
                pictures="images" in (kinds or ()),
                stop=stop,
                on_event=printer,
                on_answer=tell,
                **given(out=out, settle=settle),
            )
        console.say(f"answers are in {shown(result.folder)}")


@contextlib.contextmanager
def _until_told_to_stop() -> Iterator[Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second ends at once."""
    stop = Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def hear(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, hear) for number in STOPS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
