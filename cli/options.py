"""Options that several verbs share: one definition each, so that a name means one thing.

An option that is not given is ``None``; the default is the engine's or the config's and is only
told in the help.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import UsageProblem

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_time(text: str) -> float:
    """Seconds from ``90m``, ``2h``, ``45s`` or ``1h30m``. Raises typer.BadParameter."""
    found = _TIME.fullmatch(text.strip().lower())
    amounts = found.groups() if found else ()
    seconds = sum(
        float(amount) * unit
        for amount, unit in zip(amounts, _UNITS.values(), strict=False)
        if amount is not None
    )
    if seconds <= 0:
        raise typer.BadParameter(
            f"{text!r}: write a time above zero with its unit, for example 90m, 2h, 45s or 1h30m"
        )
    return seconds


def one_weights(argument: Path | None, option: Path | None) -> Path:
    """The weights file that was named. Raises UsageProblem for none or for two that differ."""
    if argument is not None and option is not None and argument != option:
        raise UsageProblem(
            f"two weights files: {str(argument)!r} as argument and {str(option)!r} as --weights; "
            "give one"
        )
    weights = argument if argument is not None else option
    if weights is None:
        raise UsageProblem(
            "no weights file: give --weights, for example runs/train/neu-det/weights/best.pt "
            "or the name of released ones"
        )
    return weights


def at_least_one(value: int | None) -> int | None:
    """Checks a count. Raises typer.BadParameter."""
    if value is not None and value < 1:
        raise typer.BadParameter(f"{value}: give 1 or more")
    return value


def above_zero(value: float | None) -> float | None:
    """Checks an amount. Raises typer.BadParameter."""
    if value is not None and not (math.isfinite(value) and value > 0):  # nan is not <= 0 either
        raise typer.BadParameter(f"{value:g}: give a finite number, more than 0")
    return value


def not_negative(value: int | None) -> int | None:
    """Checks a seed. Raises typer.BadParameter."""
    if value is not None and value < 0:
        raise typer.BadParameter(f"{value}: give 0 or more")
    return value


def refuse_beside(name: str, options: Mapping[str, object]) -> None:
    """Raises UsageProblem for the first of ``options`` that is given."""
    for other, value in options.items():
        if value:
            raise UsageProblem(f"{name} and {other} exclude each other: leave one out")


def given(**values: Any) -> dict[str, Any]:
    """The values that were given. What is left out keeps the default of the function called."""
    return {name: value for name, value in values.items() if value is not None}


def joined(lists: list[str] | None) -> str | None:
    """``a,b`` and ``c``, given one after the other, as ``a,b,c``."""
    return None if lists is None else ",".join(lists)


def names_in(flag: str, lists: list[str] | None) -> list[str] | None:
    """``["a,b", '"c, d"']`` name by name, one with a comma in quotes as in CSV.

    Raises UsageProblem for an empty name and for quotes that do not end.
    """
    if lists is None:
        return None
    try:
        rows = list(csv.reader(lists, skipinitialspace=True, strict=True))
    except csv.Error:
        rows = []
    names = [name.strip() for row in rows for name in row]
    if len(rows) != len(lists) or not all(rows) or not all(names):
        raise UsageProblem(
            f"{flag} {joined(lists)!r}: write names with commas between, scratch,pit; one that has "
            "a comma in double quotes"
        )
    return names


def option(*names: str, help: str, **more: Any) -> Any:
    """A Typer option whose help text tells the default in brackets, as the engine has it."""
    return typer.Option(*names, help=help, show_default=False, **more)


def time_option(what: str) -> Any:
    """``--time``; ``what`` says whose wall time it is."""
    return option("--time", metavar="TIME", parser=parse_time, help=f"{what}: 90m, 2h, 1h30m.")


WeightsArgument = Annotated[
    Path | None,
    typer.Argument(metavar="WEIGHTS", help="Weights, or released ones by name."),
]
RunnableArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="WEIGHTS",
        help="Weights, an exported file (.pt, .onnx, .xml), or released weights by name.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None, option("--weights", metavar="FILE", help="The same, as an option.")
]
Data = Annotated[
    list[str] | None,
    option("--data", metavar="NAME", help="Name in datasets.yaml, a data.yaml or its folder."),
]
DataNames = Annotated[
    list[str] | None,
    option(
        "--data",
        metavar="NAME",
        help="Name, data.yaml or its folder. Repeatable.",
    ),
]


DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Name in datasets.yaml, a data.yaml or its folder.",
        show_default=False,
    ),
]
DataRoot = Annotated[
    Path | None,
    option("--data-root", metavar="DIR", help="Folder of the images [$KDLNET_DATA or here]."),
]
Model = Annotated[
    str | None,
    option(
        "--model",
        metavar="NAME",
        help="See 'kdlnet models' [that of --init, else lightnet-n on a CPU].",
    ),
]
Epochs = Annotated[
    int | None,
    option(
        "--epochs",
        metavar="N",
        callback=at_least_one,
        help="Passes over the data [suits it].",
    ),
]
Init = Annotated[
    Path | None,
    option(
        "--init",
        metavar="FILE|none",
        help="Weights to start from; none: from scratch [the model's released start, if any].",
    ),
]
Resume = Annotated[
    Path | None,
    option("--resume", metavar="RUN", help="Go on with a run: its folder or last.pt."),
]
Final = Annotated[
    Path | None,
    option(
        "--final",
        metavar="RUN",
        help="RUN once more, on train and val: the last training.",
    ),
]
Cache = Annotated[
    str | None, option("--cache", metavar="KIND", help="Decoded images: ram, disk or none [ram].")
]
Split = Annotated[str | None, option("--split", metavar="NAME", help="train, val or test [val].")]
LotBy = Annotated[
    str | None,
    option("--lot-by", metavar="REGEX", help="Verdicts by lot: the one group, in file names."),
]
Device = Annotated[
    str | None, option("--device", metavar="NAME", help="auto, cpu or cuda:N [auto].")
]
RunnableDevice = Annotated[
    str | None,
    option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda:N, tensorrt, gpu, npu [auto].",
    ),
]
Batch = Annotated[
    int | None, option("--batch", metavar="N", callback=at_least_one, help="Images a step [16].")
]
TrainBatch = Annotated[
    int | None,
    option("--batch", metavar="N", callback=at_least_one, help="Images a step [suits data]."),
]
Seed = Annotated[
    int | None,
    option("--seed", metavar="N", callback=not_negative, help="Seed of all randomness [0]."),
]
Devices = Annotated[
    int | None,
    option(
        "--devices",
        metavar="N",
        callback=at_least_one,
        help="N GPUs, or N processes on a CPU, share the work [1].",
    ),
]
Out = Annotated[
    Path | None, option("--out", metavar="DIR", help="Folder for the results; taken: DIR-2.")
]
Overwrite = Annotated[bool, option("--overwrite", help="Replace results that are there.")]
Strict = Annotated[bool, option("--strict", help="Bad labels and images fail the run.")]
Time = Annotated[float | None, time_option("Wall time to spend")]
ConfigFile = Annotated[
    Path | None, option("--config", metavar="FILE", help="Settings as YAML; flags win over it.")
]
Assignments = Annotated[
    list[str] | None,
    option("--set", metavar="KEY=VALUE", help="One setting, over all else. Repeatable."),
]
Json = Annotated[bool, option("--json", help="One JSON document on stdout, the rest on stderr.")]
Quiet = Annotated[bool, option("--quiet", "-q", help="Plain lines, no progress bars.")]
