# ruff: noqa: TID251
"""docs/cli.md is what the help says."""

from __future__ import annotations

from pathlib import Path

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
