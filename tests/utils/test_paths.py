"""Paths as they are compared and shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kdlnet.utils.paths import absolute, typed


def test_a_path_has_one_spelling_and_keeps_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "parts").symlink_to("store")
    monkeypatch.chdir(tmp_path)
    for spelling in ("parts", "./parts", "store/../parts", f"{tmp_path}//parts/"):
        assert absolute(Path(spelling)) == tmp_path / "parts"


@pytest.mark.parametrize(
    ("system", "expected"),
    [("linux", r"'C:\lot 7' D:plain 'C:\b'"), ("win32", r'"C:\lot 7" D:plain C:\b')],
)
def test_arguments_are_quoted_as_the_shell_of_the_system_reads_them(
    system: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert typed(r"C:\lot 7", "D:plain", r"C:\b") == expected
