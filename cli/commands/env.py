"""``kdlnet env``: what a bug report needs to say about the machine."""

from __future__ import annotations

from typing import Any

from ..console import Console
from ..options import Json, Quiet


def env(as_json: Json = False, quiet: Quiet = False) -> None:
    """Show versions, devices and threads."""
    with Console(as_json=as_json, quiet=quiet) as console:
        from kdlnet.verbs.env import environment

        facts = environment()
        del facts["command"]
        console.table(
            ("part", "<found"),
            [(name.replace("_", " "), _text(value)) for name, value in facts.items()],
        )
        console.document(facts)


def _text(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
