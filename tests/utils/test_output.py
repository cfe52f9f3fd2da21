"""Folders of results: what they may replace, and where they never lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlnet.errors import KdlnetError
from kdlnet.utils.output import MARK, new_folder


def test_a_taken_folder_counts_up_and_an_own_one_can_be_replaced(tmp_path: Path) -> None:
    first = new_folder(tmp_path / "run")
    (first / "old.txt").write_text("x")
    assert new_folder(tmp_path / "run") == tmp_path / "run-2"
    assert new_folder(tmp_path / "run", overwrite=True) == first
    assert [path.name for path in first.iterdir()] == [MARK]


def test_a_folder_with_a_config_of_someone_else_is_no_run(tmp_path: Path) -> None:
    """A project with its config.yaml and its dataset is left as it is."""
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "config.yaml").write_text("mine: 1\n")
    with pytest.raises(KdlnetError, match="was not made by kdlnet"):
        new_folder(tmp_path / "x", project, overwrite=True)
    assert (project / "config.yaml").read_text() == "mine: 1\n"


@pytest.mark.parametrize("kind", ["reads", "images"])
def test_what_is_read_is_never_deleted(tmp_path: Path, kind: str) -> None:
    folder = new_folder(tmp_path / "run")
    (folder / "deep").mkdir()
    kept = folder / "deep" / "kept.bin"
    kept.write_bytes(b"1")
    with pytest.raises(KdlnetError, match="would delete"):
        new_folder(tmp_path / "x", folder, overwrite=True, **{kind: [kept]})
    assert kept.read_bytes() == b"1"


def test_results_never_lie_among_the_images(tmp_path: Path) -> None:
    image = tmp_path / "set" / "images" / "a.png"
    image.parent.mkdir(parents=True)
    for inside in (image.parent, image.parent / "run"):
        with pytest.raises(KdlnetError, match="nothing is ever written"):
            new_folder(tmp_path / "x", inside, images=[image])
    assert new_folder(tmp_path / "set" / "runs", images=[image]).is_dir()
