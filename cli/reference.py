"""The command reference, docs/cli.md, made from the help of every verb.

python -m kdlnet_cli.reference > docs/cli.md
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator

import typer

from .main import PROGRAM, app, main

_HEAD = f"""# Command line

What `{PROGRAM} VERB --help` prints. Made by `python -m kdlnet_cli.reference > docs/cli.md`; a test
fails when it is out of date.

Exit codes: 0 done; 1 something of yours to mend, in one line; 2 wrong usage; 3 a defect of
{PROGRAM}, with a log file; 4 a proof that failed, or a verdict that `--fail-on` names; 130 Ctrl-C
(0 after `predict --watch`).
"""


def reference() -> str:
    """The whole page as Markdown."""
    pages = [_HEAD]
    for words in verbs(app):
        pages.append(f"## {PROGRAM} {' '.join(words)}\n\n```\n{_help(words)}\n```\n")
    return "\n".join(pages)


def verbs(group: typer.Typer, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, in the order of the help, hidden ones left out."""
    for command in group.registered_commands:
        if command.callback is not None and not command.hidden:
            yield (*before, command.name or command.callback.__name__.replace("_", "-"))
    for nested in group.registered_groups:
        if nested.typer_instance is not None and nested.name:
            yield from verbs(nested.typer_instance, (*before, nested.name))


def _help(words: tuple[str, ...]) -> str:
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        main([*words, "--help"])
    return "\n".join(line.rstrip() for line in screen.getvalue().strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(reference())
