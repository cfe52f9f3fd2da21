"""Several trainings in one folder, each in its own: what is finished is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from kdlnet.config import TrainConfig, stored_config
from kdlnet.data.folders import image_folders
from kdlnet.errors import ConfigError
from kdlnet.events import Listener, Message
from kdlnet.inference.released import from_anywhere
from kdlnet.inference.weights import load_weights
from kdlnet.models.zoo import model_strides
from kdlnet.training.places import (
    at_place_of,
    find_data,
    run_place,
    with_absolute_data,
    with_data_found_again,
)
from kdlnet.training.run import TrainResult, plain_run, resumed_plain_run
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.taught import distill_loss, resumed_taught_run, taught_run
from kdlnet.utils.parse import first_fault
from kdlnet.utils.ranks import require_alone

_TEACHER_SEED = 1000
"""Added to the seed of the run for a teacher made on the way: it must not start as its student."""

_ONE = (
    "several devices share the work of one training, not of a series: train its parts one by one, "
    "kdlnet train for a teacher or a baseline, kdlnet distill --teacher for a student"
)

_AbsolutePath = Annotated[Path, AfterValidator(from_anywhere)]  # a run goes on from any folder


class Series(BaseModel):
    """What the trainings of a folder are, beside the settings in its config.yaml.

    ``teacher_model`` is the structure of a teacher that is trained first, the student's if None.
    ``init`` are the weights every training starts from, if any. ``seeds`` are those of a comparison
    with baselines (``distill --baseline``), else none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teachers: tuple[_AbsolutePath, ...] = ()
    teacher_model: str | None = None
    init: _AbsolutePath | None = None
    generations: int = 1
    seeds: tuple[int, ...] = ()
    split: str = "val"
    group_by: str | None = None


def saved_series(folder: Path) -> tuple[TrainConfig, Series] | None:
    """The settings and the series of ``folder``; None where it is no series' folder."""
    place = RunFolder(folder)
    if not place.series.is_file():
        return None
    try:
        series = Series.model_validate_json(place.series.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{str(place.series)!r} was changed: {first_fault(error)}") from None
    return stored_config(place.config), series


def resumed_series(folder: Path, asked: TrainConfig) -> tuple[TrainConfig, Series] | None:
    """As :func:`saved_series`, with the dataset and the device that ``asked`` names, if it does.

    Each training of the series sees to it that the images there are the same.
    """
    found = saved_series(folder)
    if found is not None:
        require_alone(_ONE)
    if found is None:
        return None
    return with_data_found_again(at_place_of(asked, found[0])), found[1]


@contextmanager
def at_work_in(folder: RunFolder, config: TrainConfig) -> Iterator[None]:
    """Keeps other processes from the series of ``folder`` and notes its settings if they are new.

    Raises KdlnetError where another process is at work, before anything is written.
    """
    with folder.held():
        if stored_config(folder.config) != config:
            folder.settle(config.to_dict())
        yield


def begin_series(
    series: Series, kind: str, config: TrainConfig, out: Path | None, overwrite: bool
) -> tuple[TrainConfig, RunFolder]:
    """The folder of a new series of ``kind``, and the settings its trainings share.

    Nothing is made when weights that the series needs cannot be read: WeightsError.
    """
    require_alone(_ONE)
    if config.data.with_val:
        raise ConfigError(
            "data.with_val measures nothing and belongs to one training, not to a series: train "
            "the teacher first, then name it with --teacher"
        )
    needed = [*series.teachers, *([] if series.init is None else [series.init])]
    for weights in needed:
        load_weights(weights, start=weights == series.init)
    default, sources, images = run_place(config, kind)
    reads, wholes = [*sources, *needed], image_folders(find_data(config))
    folder = RunFolder.new(default, out, overwrite, reads=reads, images=images, folders=wholes)
    config = with_absolute_data(config)
    folder.begin_series(config.to_dict(), series.model_dump(mode="json"))
    return config, folder


def run_series(
    config: TrainConfig, series: Series, folder: RunFolder, on_event: Listener
) -> TrainResult:
    """The teacher, if none is given, and each student under the one before; the last student."""
    with at_work_in(folder, config):
        return _in_turn(config, series, folder, on_event)


def _in_turn(
    config: TrainConfig, series: Series, folder: RunFolder, on_event: Listener
) -> TrainResult:
    teachers: Sequence[Path] = series.teachers
    if not teachers:
        if not folder.teacher.begun:
            on_event(Message("no --teacher given: training one first"))
        teachers = [teacher_of_series(config, series, folder.teacher, on_event)]
    for number in range(1, series.generations + 1):
        if series.generations > 1:
            on_event(Message(f"generation {number} of {series.generations}"))
        settings = config.changed(seed=config.seed + number - 1)
        place = folder.student(number, series.generations)
        result = student_of_series(settings, teachers, series, place, on_event)
        teachers = [result.best]
    return result


def teacher_of_series(
    config: TrainConfig, series: Series, folder: RunFolder, on_event: Listener
) -> Path:
    """The best weights of a plain training with the settings of ``config`` and another seed."""
    settings = config.changed(seed=config.seed + _TEACHER_SEED)
    if series.teacher_model is not None:
        settings = settings.changed(model={"name": series.teacher_model})
    return plain_of_series(settings, series, folder, on_event).best


def plain_of_series(
    config: TrainConfig, series: Series, folder: RunFolder, on_event: Listener
) -> TrainResult:
    """One training of a series without a teacher."""
    return _run_once(
        folder,
        lambda: plain_run(
            config, init=series.init, out=folder.path, overwrite=True, on_event=on_event
        ),
        lambda: resumed_plain_run(folder.path, config, on_event),
    )


def student_of_series(
    config: TrainConfig,
    teachers: Sequence[Path],
    series: Series,
    folder: RunFolder,
    on_event: Listener,
) -> TrainResult:
    """One training of a series under ``teachers``."""
    return _run_once(
        folder,
        lambda: taught_run(
            config, teachers, init=series.init, out=folder.path, overwrite=True, on_event=on_event
        ),
        lambda: resumed_taught_run(folder.path, config, on_event, teachers),
    )


def _run_once(
    folder: RunFolder, start: Callable[[], TrainResult], go_on: Callable[[], TrainResult]
) -> TrainResult:
    """One training: begun, or gone on with where it was cut, which ends at once if it was over."""
    return go_on() if folder.begun else start()


def check_series(series: Series, config: TrainConfig) -> None:
    """Raises ConfigError for what would come out only after the teacher has been trained."""
    if config.compile and config.distill.balance is not None:
        raise ConfigError("distill.balance measures gradients inside the model: set compile=false")
    if config.distill.own_average and (series.teachers or series.generations > 1):
        raise ConfigError(
            "distill.own_average: the student is its own teacher, so there is no --teacher and no "
            "--generations: leave them out, or set it to false"
        )
    _check_teacher_model(series, config)


def _check_teacher_model(series: Series, config: TrainConfig) -> None:
    wanted, student = series.teacher_model, config.model.name
    if wanted is None:
        return
    clash = None
    teaches, taught = model_strides(wanted), model_strides(student)
    if series.teachers:
        clash = f"with the trained teacher {series.teachers[0].name!r}: leave one out"
    elif config.distill.own_average:
        clash = "with distill.own_average, where the student is its own teacher: leave one out"
    elif series.init is not None and wanted != student:
        clash = "with --init, which every training of the command begins at: leave one out, or "
        clash += f"train the teacher first (kdlnet train --model {wanted}) and give it as --teacher"
    elif distill_loss(config).uses_features and wanted != student:
        clash = f"over {student!r}: terms on features (pkd, cwd, cross) need the same structure"
    elif teaches != taught:
        clash = f"has strides {teaches}, the student {student!r} {taught}: choose one with the same"
    if clash:
        raise ConfigError(f"--teacher-model {wanted!r} {clash}")
