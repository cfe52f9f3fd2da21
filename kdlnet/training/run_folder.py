"""The folder of a training run, or of a series of them: what lies where is known here alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdlnet.errors import KdlnetError, WeightsError
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.report.training import training_curves
from kdlnet.utils.environment import environment
from kdlnet.utils.files import write_csv, write_json, write_yaml
from kdlnet.utils.lock import alone_in
from kdlnet.utils.output import Place
from kdlnet.utils.ranks import from_writer, is_writer

_LAST = "last.pt"


class RunFolder:
    """Places in the folder ``path``, and writing there.

    One process writes (:func:`~kdlnet.utils.ranks.is_writer`); in the others writing does nothing.
    A series has ``series.json`` beside its config.yaml, and each of its runs a folder of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def new(
        cls,
        default: Path,
        out: Path | None,
        overwrite: bool,
        *,
        reads: Iterable[Path | None],
        images: Iterable[Path],
        folders: Iterable[Path] = (),
    ) -> RunFolder:
        """Made by one process and known to all, see :class:`~kdlnet.utils.output.Place`."""
        place = Place(default, out, overwrite, tuple(reads), tuple(images), tuple(folders))
        return cls(from_writer(place.make))

    @classmethod
    def around(cls, place: Path) -> RunFolder:
        """The folder that ``place`` is, or that has it as its weights folder or a file therein."""
        if place.is_file() or place.suffix == ".pt":
            return cls(place.absolute().parent.parent)
        return cls(place.absolute().parent if (place / _LAST).is_file() else place)

    @property
    def best(self) -> Path:
        return self.path / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        return self.path / "weights" / _LAST

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def results(self) -> Path:
        return self.path / "results.csv"

    @property
    def images(self) -> Path:
        """The list of the images that a pre-training began with."""
        return self.path / "images.json"

    @property
    def series(self) -> Path:
        return self.path / "series.json"

    @property
    def begun(self) -> bool:
        """Whether a run can go on here."""
        return self.last.is_file()

    @property
    def saved_epochs(self) -> int:
        """How many epochs ``last`` holds. Raises WeightsError where it cannot be read."""
        state = load_weights(self.last, start=True).training.get("state", {})
        return int(state.get("epoch", 0))

    def held(self) -> AbstractContextManager[None]:
        """Keeps other processes from writing here too: two resumes of one run would mix."""
        return alone_in(self.path) if is_writer() else nullcontext()

    def begin(self, settings: dict[str, Any], precision: str) -> None:
        """Writes what is known before the first step: settings and environment.

        ``precision`` is that of the products, which may be the processor's choice.
        """
        if is_writer():
            write_yaml(self.config, settings)
            facts = {**environment(), "precision": precision}
            write_json(self.path / "environment.json", facts)

    def settle(self, settings: dict[str, Any]) -> None:
        """Writes the settings of a run that goes on with its dataset in another place."""
        if is_writer():
            write_yaml(self.config, settings)

    def begin_series(self, settings: dict[str, Any], series: dict[str, Any]) -> None:
        """Writes the settings that the runs of a series share, and what they are."""
        if is_writer():
            write_yaml(self.config, settings)
            write_json(self.series, series)

    def save_rows(self, rows: list[dict[str, Any]]) -> None:
        """Writes results.csv, a line an epoch. Raises KdlnetError as :meth:`save`."""
        if is_writer() and rows:
            self._require_there()
            write_csv(self.results, rows)

    def rows(self) -> list[dict[str, str]]:
        """The lines of results.csv. Raises OSError where there is none."""
        with self.results.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def save(self, last: Weights, best: bool) -> None:
        """Writes last.pt, then, if its epoch is the ``best``, best.pt: the same without the state.

        So best.pt is never of an epoch that last.pt does not know. Raises KdlnetError where the
        folder is gone.
        """
        if is_writer():
            self._require_there()
            save_weights(self.last, last)
            if best:
                save_weights(self.best, replace(last, training={}))

    def mend_best(self, last: Weights) -> None:
        """Writes best.pt where a kill kept it from the best epoch, see :meth:`lacks_best`."""
        if is_writer() and self.lacks_best(last):
            save_weights(self.best, replace(last, training={}))

    def lacks_best(self, last: Weights) -> bool:
        """Whether a kill kept best.pt from the best epoch, which ``last``, last.pt, is.

        Only one of an earlier epoch of this run, or none: another file there is a person's. A
        last.pt without a state, such as a copy of best.pt, tells of no kill.
        """
        state = last.training.get("state")
        if state is None:
            return False
        epoch = state["best_epoch"]
        newest = 0 <= epoch == state["epoch"] - 1
        return newest and self._is_behind(state["rows"][:epoch])

    def _is_behind(self, earlier: list[dict[str, Any]]) -> bool:
        if not self.best.exists():
            return True
        try:
            known = load_weights(self.best, start=True).metrics
        except WeightsError:
            return False
        return any(known and known.items() <= row.items() for row in earlier)

    def _require_there(self) -> None:
        """Half of a folder, made anew without its settings, would be of no use to anybody."""
        if not self.config.is_file():
            raise KdlnetError(
                f"{str(self.config)!r} was removed or moved while the run was at work there, and "
                "the run stops: begin it anew, or go on with --resume where its folder is now"
            )

    @property
    def teachers(self) -> Path:
        return self.path / "teachers.json"

    def save_teachers(self, rows: list[dict[str, Any]]) -> None:
        """Writes which teachers the run has and what each reached."""
        if is_writer() and rows:
            write_json(self.teachers, rows)

    def taught_by(self) -> list[dict[str, Any]]:
        """What :meth:`save_teachers` wrote; nothing where it wrote nothing that can be read."""
        rows: list[dict[str, Any]] = []
        with suppress(OSError, ValueError):
            rows += json.loads(self.teachers.read_bytes())
        return rows

    def draw(self) -> None:
        """Draws the curves of results.csv. Raises KdlnetError as :meth:`save`."""
        if is_writer():
            self._require_there()
            training_curves(self.path / "results.png", self.results)

    @property
    def teacher(self) -> RunFolder:
        """The run of a series that is made for its students."""
        return RunFolder(self.path / "teacher")

    def student(self, number: int = 1, of: int = 1) -> RunFolder:
        """The run of a series under a teacher, ``number`` (from 1) of so many."""
        return RunFolder(self.path / ("student" if of == 1 else f"student-{number}"))

    @property
    def baseline(self) -> RunFolder:
        """The run of a series without a teacher and with the budget of both."""
        return RunFolder(self.path / "baseline")

    def round(self, seed: int) -> RunFolder:
        """Where teacher, student and baseline of one seed are."""
        return RunFolder(self.path / f"seed-{seed}")

    @property
    def comparison(self) -> Path:
        """Where a series keeps what students are compared with baselines by."""
        return self.path / "comparison"

    @property
    def gain(self) -> Path:
        """The file that says what the teachers of a series were worth."""
        return self.path / "proof.json"

    @property
    def whole(self) -> RunFolder | None:
        """The series that this run is a part of."""
        around = (RunFolder(folder) for folder in self.path.parents[:2])
        return next((folder for folder in around if folder.series.is_file()), None)
