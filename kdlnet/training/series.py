"""Several trainings in one folder, each in its own: what is finished is not done again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from kdlnet.config import TrainConfig, load_config
from kdlnet.errors import ConfigError
from kdlnet.training.parts import at_place_of, with_data_found_again
from kdlnet.training.run_folder import RunFolder
from kdlnet.utils.parse import first_fault

if TYPE_CHECKING:
    from kdlnet.training.trainer import TrainResult

_AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]  # a run goes on from any folder


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

    def save(self, folder: Path, config: TrainConfig) -> None:
        """Writes what :func:`saved_series` reads."""
        RunFolder(folder).begin_series(config.to_dict(), self.model_dump(mode="json"))


def saved_series(folder: Path) -> tuple[TrainConfig, Series] | None:
    """The settings and the series of ``folder``; None where it is no series' folder."""
    file = RunFolder(folder).series
    if not file.is_file():
        return None
    try:
        series = Series.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{str(file)!r} was changed: {first_fault(error)}") from None
    return load_config(RunFolder(folder).config), series


def resumed_series(folder: Path, asked: TrainConfig) -> tuple[TrainConfig, Series] | None:
    """As :func:`saved_series`, the dataset where ``asked``, if it names one, says that it is now.

    Each training of the series sees to it that the images there are the same.
    """
    found = saved_series(folder)
    if found is None or not asked.data.name:
        return found
    config, series = with_data_found_again(at_place_of(asked, found[0])), found[1]
    if config != found[0]:
        series.save(folder, config)
    return config, series


def stage(
    folder: Path, start: Callable[[], TrainResult], go_on: Callable[[], TrainResult]
) -> TrainResult:
    """One training of a series: begun, or gone on with where ``folder`` holds its last.pt."""
    return go_on() if RunFolder(folder).begun else start()
