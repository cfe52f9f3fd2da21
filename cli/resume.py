"""What ``--resume`` means beside other flags: the run goes on with its own settings.

The flags of the first command may be repeated. A flag that says something else is refused, since
the engine would not heed it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdlnet.utils.paths import shown, typed

from .errors import UsageProblem


def check_same(resume: Path, own: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise UsageProblem when a setting of ``asked`` differs from the run's ``own``."""
    mine, yours = _flat(own), _flat(asked)
    differing = [
        f"{key} is {mine.get(key)!r} in the run and {value!r} now"
        for key, value in yours.items()
        if value is not None and not same(mine.get(key), value)
    ]
    if differing:
        raise UsageProblem(
            f"--resume {resume} goes on with the settings of the run, but {'; '.join(differing)}. "
            "Leave these flags out, or start a new run with --init"
        )


def resume_line(folder: Path, verb: str | None = None) -> str:
    """What to tell after Ctrl-C: how to go on, or that there is nothing to go on from.

    Without a ``verb`` the run is a training or a distillation, as its settings say.
    """
    from kdlnet.config import load_config
    from kdlnet.errors import KdlnetError
    from kdlnet.utils.words import counted
    from kdlnet.verbs.train import RunFolder

    run = RunFolder(folder)
    if run.begun:
        try:
            taught = verb is None and (run.whole or load_config(run.config).distill.taught)
        except (KdlnetError, OSError):
            taught = False
        verb = verb or ("distill" if taught else "train")
        command = f"kdlnet {verb} --resume {typed(shown((run.whole or run).path))}"
        try:
            held = f"is intact and holds {counted(run.saved_epochs, 'epoch')}"
        except (KdlnetError, OSError):
            held = "cannot be read"  # which --resume will say more of
        return f"{shown(run.last)} {held}; go on with: {command}"
    return f"there is nothing to resume in {shown(folder)} yet"


def same(own: Any, asked: Any) -> bool:
    """Equal values; for paths, which a run keeps absolute, the same place."""
    if isinstance(own, str) and isinstance(asked, str):
        return own == asked or Path(own) == Path(asked).absolute()
    if isinstance(own, list) and isinstance(asked, list) and len(own) == len(asked):
        return all(map(same, own, asked))
    return bool(own == asked)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
