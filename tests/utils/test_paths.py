"""Paths as they are compared and shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kdlnet.utils.paths import absolute, typed, unpack_first


def test_a_path_has_one_spelling_and_keeps_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "parts").symlink_to("store")
    monkeypatch.chdir(tmp_path)
    for spelling in ("parts", "./parts", "store/../parts", f"{tmp_path}//parts/"):
        assert absolute(Path(spelling)) == tmp_path / "parts"


@pytest.mark.parametrize(
    "name",
    "a.zip a.tar a.tgz a.tar.gz a.txz a.tar.xz a.tbz2 a.tar.bz2 a.tar.zst a.7z a.RAR".split(),  # noqa: SIM905
)
def test_an_archive_is_told_by_its_name_and_a_folder_is_none(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    assert unpack_first(file) == "", "nothing is there"
    file.touch()
    assert unpack_first(file) == f"{name!r} is packed: unpack it, and give its folder"
    file.unlink()
    file.mkdir()
    (file / name).touch()
    assert unpack_first(file) == ""


@pytest.mark.parametrize(
    ("system", "expected"),
    [("linux", r"'C:\lot 7' D:plain 'C:\b'"), ("win32", r'"C:\lot 7" D:plain C:\b')],
)
def test_arguments_are_quoted_as_the_shell_of_the_system_reads_them(
    system: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert typed(r"C:\lot 7", "D:plain", r"C:\b") == expected
