"""Training: a detector from labelled images."""

from __future__ import annotations

from kdlnet.config import TrainConfig
from kdlnet.errors import ConfigError
from kdlnet.events import Listener, ignore
from kdlnet.training.final import repeated
from kdlnet.training.places import run_splits
from kdlnet.training.run import TrainResult, plain_run, resumed_plain_run
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.suited import suited
from kdlnet.utils.device import find_device
from kdlnet.utils.given import AnyPath, as_path, checked
from kdlnet.utils.ranks import is_writer, together

__all__ = ["RunFolder", "TrainResult", "train"]


@checked
def train(
    config: TrainConfig,
    *,
    out: AnyPath | None = None,
    overwrite: bool = False,
    resume: AnyPath | None = None,
    init: AnyPath | None = None,
    final: AnyPath | None = None,
    on_event: Listener = ignore,
) -> TrainResult:
    """Trains a detector and leaves a run folder with weights/best.pt and weights/last.pt.

    What ``config`` was not given is chosen from the dataset, see docs/defaults.md.
    ``resume`` is a run folder or its last.pt: the run goes on there with its own config, its
    dataset and its device, if ``config`` names them, as that says: they may be others now. ``init``
    are weights to start from. ``final`` is a run whose settings ``config`` has: it is repeated on
    train and val together, its thresholds are kept, and the new run begins where it began, unless
    ``init`` says otherwise, see :func:`~kdlnet.training.final.repeated`. Several processes that
    torchrun started train one model: the batch is divided among them, and the first one alone
    writes and tells. Raises ConfigError, DataError or WeightsError before the first step, PeerLost
    where one of them ends too soon.
    """
    out, resume, init, final = as_path(out), as_path(resume), as_path(init), as_path(final)
    with together(find_device(config.device)):
        on_event = on_event if is_writer() else ignore
        if resume is not None:
            return resumed_plain_run(resume, config, on_event)
        thresholds = None
        if final is not None:
            if config.distill.taught:
                raise ConfigError(f"{str(final)!r} has a teacher: use kdlnet distill --final")
            config, init, thresholds = repeated(final, config, init, on_event)
        found = run_splits(config)
        config = suited(config, found, init, on_event)
        return plain_run(
            config,
            init=init,
            out=out,
            overwrite=overwrite,
            on_event=on_event,
            found=found,
            thresholds=thresholds,
            repeats=final,
        )
