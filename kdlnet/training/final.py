"""The last training, once everything is decided: a run once more, on train and val together.

Nothing is left to measure it on but test: its settings, its planned length and its threshold are
those of the run that was measured on val.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig, load_config
from kdlnet.errors import ConfigError, WeightsError
from kdlnet.events import Listener, Message
from kdlnet.inference.released import released_or_file
from kdlnet.inference.weights import load_weights
from kdlnet.training.checkpoints import UNKNOWN
from kdlnet.training.run_folder import RunFolder
from kdlnet.utils.paths import shown


def repeated(
    run: Path, config: TrainConfig, init: Path | None, on_event: Listener
) -> tuple[TrainConfig, Path | None, dict[str, Any]]:
    """Settings, start and thresholds of a training that repeats ``run`` with its own ``config``.

    ``run`` is the folder of a run, or weights in it that carry the thresholds, such as
    ``best-calibrated.pt``. It begins with ``init``, or as ``config.model.start`` says where that is
    another than the run's, else as ``run`` did. Raises ConfigError for a folder that is no run or
    holds several, WeightsError where it does not tell what it began with.
    """
    folder = RunFolder.around(run)
    if folder.series.is_file():
        students = sorted(folder.path.glob("**/student*/weights/last.pt"))
        one = f", such as {str(students[0].parents[1])!r}" if students else ""
        raise ConfigError(f"{str(run)!r} holds several trainings: give the folder of one{one}")
    if not folder.begun:
        raise ConfigError(
            f"{str(run)!r} holds no weights/last.pt: give the folder of a run of kdlnet train or "
            "distill"
        )
    file = run if run.is_file() else _best(folder)
    weights = load_weights(file)
    if weights.thresholds:
        text = f"thresholds are those of {shown(file)}; they were chosen with other weights"
        on_event(Message(text))
    if weights.arguments.normality:
        text = (
            f"{shown(file)} knows what good parts look like, and a training does not take that "
            "over: its thresholds are of other scores. Name weights that were calibrated without it"
        )
        on_event(Message(text, "warning"))
    if init is None and config.model.start == load_config(folder.config).model.start:
        init = _began_with(folder)
    return config.changed(data={"with_val": True}), init, weights.thresholds


def _best(folder: RunFolder) -> Path:
    """best.pt, or last.pt where a kill came between the two: nothing is written into that run."""
    return folder.last if folder.lacks_best(load_weights(folder.last)) else folder.best


def _began_with(folder: RunFolder) -> Path | None:
    init = load_weights(folder.last).training.get("init", UNKNOWN)
    if init == UNKNOWN:
        raise WeightsError(
            f"{str(folder.last)!r} does not tell which weights the run began with: give them with "
            "--init FILE; the released start is lightnet-n-start or lightnet-start"
        )
    if init is not None and not released_or_file(Path(init)).exists():
        raise WeightsError(
            f"{init!r}, which the run began with, does not exist: bring it back, give it with "
            "--init FILE, or begin from scratch with --init none"
        )
    return None if init is None else Path(init)
