"""What ``train`` and ``distill`` share: their flags, settings, and how a run is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kdlnet.utils.paths import shown, typed

from .console import Console, figure
from .errors import UsageProblem
from .resume import check_same, resume_line, same

if TYPE_CHECKING:
    from pydantic import BaseModel

    from kdlnet.config import DataConfig, TrainConfig
    from kdlnet.verbs.pretrain import PretrainConfig
    from kdlnet.verbs.train import TrainResult

    from .progress import EventPrinter

SCRATCH = Path("none")
"""What ``--init`` says where no weights are to be started from."""

LONGER = "to train longer, begin a new run with more --epochs or --time"

Settings = TypeVar("Settings", bound="BaseModel")


def config_flags(
    *,
    model: str | None,
    data: list[str] | None,
    data_root: Path | None,
    cache: str | None,
    strict: bool,
    tile: str | None,
    overlap: float | None,
    roi: str | None,
    init: Path | None,
    **top_level: Any,
) -> dict[str, Any]:
    """The flags by their dotted keys in the config; ``None`` for those that were not given."""
    return {
        "model.name": model,
        "model.start": start_of(init),
        "data.name": data or None,
        "data.root": str(data_root) if data_root else None,
        "data.cache": cache,
        "data.strict": strict or None,
        "tile.size": tile,
        "tile.overlap": overlap,
        "data.roi": roi,
        **top_level,
    }


def start_of(init: Path | None) -> str | None:
    """What ``--init`` says of the released start: not to use it, or nothing."""
    return "none" if init == SCRATCH else None


def weights_of(init: Path | None) -> Path | None:
    """The file that ``--init`` names, if it names one."""
    return None if init == SCRATCH else init


def weights_for(console: Console, init: Path | None, resume: Path | None) -> Path | None:
    """The file that ``--init`` names, if it names one and the run does not go on."""
    found = weights_of(init)
    if found is None or resume is None:
        return found
    console.warn("--init is not used: the run that goes on has its weights already")
    return None


def new_settings(
    config: Path | None,
    flags: dict[str, Any],
    assignments: list[str] | None,
    base: dict[str, Any] | None = None,
) -> TrainConfig:
    """The settings of a new run over ``base``. Raises UsageProblem without a dataset."""
    from kdlnet.config import load_config

    settings = load_config(config, flags, assignments, base)
    if not settings.data.name:
        raise UsageProblem("no dataset: give --data, a name in datasets.yaml or a data.yaml")
    return settings


def resumed_settings(
    resume: Path,
    config: Path | None,
    flags: dict[str, Any],
    assignments: list[str] | None,
    out: Path | None,
    overwrite: bool,
) -> TrainConfig:
    """The settings of the run that goes on. Raises UsageProblem for flags that say otherwise.

    But the dataset and the device are what the flags say: they may have been moved.
    """
    from kdlnet.config import BEFORE, TrainConfig

    place = dict.fromkeys(("data.name", "data.root", "device"))
    flags_of_run = flags | place
    own = resumed(TrainConfig, resume, config, flags_of_run, assignments, out, overwrite, BEFORE)
    device = flags["device"] or own.device
    return own.model_copy(update={"data": _place(own, flags), "device": device})


def final_settings(
    final: Path,
    others: Mapping[str, object],
    flags: dict[str, Any],
    assignments: list[str] | None,
) -> TrainConfig:
    """The settings of the run ``final``, changed by flags.

    Raises UsageProblem where that is no run, and for one of the flags ``others`` that was given:
    they say something else of what to train.
    """
    from kdlnet.config import BEFORE
    from kdlnet.verbs.train import RunFolder

    own = RunFolder.around(final).config
    if clash := next((flag for flag, value in others.items() if value), None):
        raise UsageProblem(f"--final repeats the run {final}: leave {clash} out")
    if not own.is_file():
        raise UsageProblem(f"--final {final}: no run of kdlnet train or distill is there")
    return new_settings(own, flags, assignments, BEFORE)


def _place(own: TrainConfig, flags: dict[str, Any]) -> DataConfig:
    """The section ``data`` of a run that goes on, with the dataset's place from the flags."""
    from kdlnet.config import DataConfig

    names, root = flags["data.name"], flags["data.root"]
    if names is None or same(list(own.data.names), names):
        names, root = own.data.names, root or own.data.root
    return DataConfig(**own.data.model_dump() | {"name": tuple(names), "root": root})


def resumed(
    kind: type[Settings],
    resume: Path,
    config: Path | None,
    flags: dict[str, Any],
    assignments: list[str] | None,
    out: Path | None,
    overwrite: bool,
    base: dict[str, Any] | None = None,
) -> Settings:
    """Settings of ``kind`` of the run that goes on, as above; ``base`` is what it leaves out."""
    from kdlnet.settings import load_settings
    from kdlnet.verbs.train import RunFolder

    folder = RunFolder.around(resume)
    if overwrite:
        raise UsageProblem("--overwrite and --resume exclude each other: leave one out")
    if out is not None and out.resolve() != folder.path.resolve():
        raise UsageProblem(f"--resume goes on in {folder.path}: leave --out {out} out")
    if not folder.config.is_file():  # the engine says what is wrong with the folder
        return load_settings(kind)
    own = load_settings(kind, folder.config, base=base)
    asked = load_settings(kind, config, flags, assignments, own.model_dump(mode="json"))
    check_same(resume, own.model_dump(mode="json"), asked.model_dump(mode="json"))
    return own


def run(
    console: Console,
    engine: Callable[..., TrainResult],
    settings: TrainConfig,
    **options: Any,
) -> None:
    """Runs ``engine`` and shows what it came to."""
    with progress(console, settings) as printer:
        result = engine(settings, on_event=printer, **options)
    if not printer.trained:
        console.say(f"{LONGER}; --init {typed(shown(result.best))} goes on from its weights")
    _show(console, result)


@contextmanager
def progress(
    console: Console, settings: TrainConfig | PretrainConfig, verb: str | None = None
) -> Iterator[EventPrinter]:
    """Events on the screen; after Ctrl-C it tells how to resume."""
    from .progress import EventPrinter

    with EventPrinter(console, epochs_known=settings.time is None) as printer:
        try:
            yield printer
        except KeyboardInterrupt as stop:
            if printer.folder is not None:
                stop.add_note(resume_line(printer.folder, verb))
            raise


def _show(console: Console, result: TrainResult) -> None:
    ap, ap50 = result.metrics.get("ap"), result.metrics.get("ap50")
    reached = "not measured" if ap is None else f"AP {figure(ap)}, AP50 {figure(ap50)}"
    console.say(f"best    {shown(result.best)}: {reached}", "bold")
    console.document(result.to_dict())
