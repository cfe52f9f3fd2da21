"""Paths as they are compared and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlnet.utils.paths import absolute


def test_a_path_has_one_spelling_and_keeps_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "parts").symlink_to("store")
    monkeypatch.chdir(tmp_path)
    for spelling in ("parts", "./parts", "store/../parts", f"{tmp_path}//parts/"):
        assert absolute(Path(spelling)) == tmp_path / "parts"
