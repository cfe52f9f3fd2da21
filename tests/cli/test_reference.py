# ruff: noqa: TID251
"""docs/cli.md is what the help says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from kdlnet.verbs.bench import bench
from kdlnet.verbs.calibrate import calibrate
from kdlnet.verbs.compare import compare
from kdlnet.verbs.demo import demo
from kdlnet.verbs.distill import distill
from kdlnet.verbs.export import export
from kdlnet.verbs.fuse import fuse
from kdlnet.verbs.predict import predict_files
from kdlnet.verbs.show import show_dataset
from kdlnet.verbs.split import split_dataset
from kdlnet.verbs.val import validate
from kdlnet_cli.main import app
from kdlnet_cli.reference import reference, verbs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def test_the_page_is_current(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m kdlnet_cli.reference > docs/cli.md"
    )


def test_every_verb_is_on_it() -> None:
    names = [" ".join(words) for words in verbs(app)]
    assert {"train", "distill", "val", "fuse", "data convert", "data synth"} <= set(names)
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"## kdlnet {name}\n" in page for name in names)


@pytest.mark.parametrize(
    ("verb", "engine", "told"),
    [
        ("bench", bench, {"split", "protocol", "device"}),
        ("calibrate", calibrate, {"split", "batch", "device"}),
        ("compare", compare, {"split", "rounds", "seed", "batch", "device"}),
        ("data show", show_dataset, {"limit", "megabytes", "seed"}),
        ("data split", split_dataset, {"seed"}),
        ("demo", demo, {"seed", "device"}),
        ("distill", distill, {"generations"}),
        ("export", export, {"format", "split", "device"}),
        ("fuse", fuse, {"split", "device"}),
        ("predict", predict_files, {"max_detections", "batch", "device"}),
        ("val", validate, {"split", "batch", "device"}),
    ],
)
def test_the_help_tells_the_defaults_of_the_engine(
    verb: str, engine: Callable[..., Any], told: set[str]
) -> None:
    """The command passes on what is given, so that the number in brackets is only text."""
    command: Any = get_command(app)
    for word in verb.split():
        command = command.commands[word]
    helps = {option.name: getattr(option, "help", None) or "" for option in command.params}
    defaults = {
        name: one.default
        for name, one in inspect.signature(engine).parameters.items()
        if isinstance(one.default, str | int | float) and not isinstance(one.default, bool)
    }
    named = defaults.keys() & helps.keys()
    assert named == told
    for name in named:
        value = defaults[name]
        text = value if isinstance(value, str) else f"{value:g}"
        assert f"[{text}]" in helps[name], (name, helps[name])


def test_the_help_speaks_of_no_argument_that_the_verb_lacks() -> None:
    parts = PAGE.read_text(encoding="utf-8").split("\n## kdlnet ")[1:]
    for part in parts:
        usage = part.partition("Usage: ")[2].partition("\n\n")[0]
        assert "in SOURCE" not in part or "SOURCE" in usage, usage
