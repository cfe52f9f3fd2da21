# ruff: noqa: TID251
"""The pages name commands, options and settings that there are; their blocks can be pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from kdlnet.config import TrainConfig
from kdlnet_cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "weights" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "cli.md")  # made from the help
ROOT_COMMAND = typer.main.get_command(app)
BLOCK = re.compile(r"^```[ \w]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def parsed(line: str, whole: bool) -> None:
    """Fail unless ``line``, what follows ``kdlnet``, is a command with options that there are.

    If it is ``whole`` its arguments and values must do, too; nothing is run.
    """
    command, words = ROOT_COMMAND, shlex.split(line, comments=True)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    if whole:
        command.make_context("kdlnet", words)
    options = {name for found in command.params for name in found.opts + found.secondary_opts}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= options | {"--install-completion"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_settings_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for found in re.findall(r"^(?:kdlnet|torchrun .* -m kdlnet_cli) (.*)", line):
                parsed(found, whole=True)
    for code in re.findall(r"`([^`]+)`", BLOCK.sub("", text)):
        for found in re.findall(r"^kdlnet ((?:data )?[a-z-].*)", " ".join(code.split())):
            parsed(found, whole=False)
    for key in re.findall(r"--set ([\w.]+)=", text):
        section = TrainConfig
        *above, last = key.split(".")
        for name in above:
            section = section.model_fields[name].annotation
        assert last in section.model_fields, key
