"""What is found below a folder, and that results are none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlnet.errors import DataError
from kdlnet.images.folder import (
    Closed,
    LeftOut,
    glob_root,
    images_below,
    outside_results,
    results_lines,
)
from kdlnet.images.folder import matches as matching
from kdlnet.images.watch import FolderWatch
from kdlnet.utils.manifest import MARK

from ..support.closed import closed


def make(folder: Path) -> None:
    for name in ("a.png", "b/c.JPG", "b/.hidden.png", "b/notes.txt", "runs/x/images/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "runs" / "x" / MARK).touch()


def test_results_among_the_images_are_left_out_and_told(tmp_path: Path) -> None:
    make(tmp_path)
    left = LeftOut()
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path, left)]
    assert found == ["a.png", "b/c.JPG"]
    assert left.results == [tmp_path / "runs" / "x"]
    (line,) = results_lines([*left.results, *left.results])
    assert line.startswith("left out a folder of results")
    assert results_lines([]) == []


def test_a_folder_in_the_results_that_is_named_itself_is_read(tmp_path: Path) -> None:
    """The demo keeps its dataset in the folder of its results."""
    make(tmp_path)
    assert len(list(images_below(tmp_path / "runs" / "x" / "images"))) == 1
    assert len(list(images_below(tmp_path / "runs" / "x"))) == 1


def test_matches_of_a_pattern(tmp_path: Path) -> None:
    make(tmp_path)
    results: list[Path] = []
    matches = sorted(tmp_path.glob("**/*.png"))
    kept = list(outside_results(matches, tmp_path, results))
    assert [path.name for path in kept] == ["a.png", ".hidden.png"]
    assert results == [tmp_path / "runs" / "x"]
    below = tmp_path / "runs" / "x"
    assert len(list(outside_results(below.glob("**/*.png"), below, results))) == 1


def test_the_fixed_part_of_a_pattern() -> None:
    assert glob_root("a/b/*.png") == Path("a/b")
    assert glob_root("a/b*/c.png") == Path("a")
    assert glob_root("*.png") == Path()


@pytest.mark.parametrize("midway", [False, True])
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, midway: bool) -> None:
    """A part of its images is as bad as none: nobody would miss the others."""
    make(tmp_path)
    with closed(tmp_path / "b", midway=midway):
        with pytest.raises(DataError, match=r"/b' cannot be read \((Permission|Input).*: allow"):
            list(images_below(tmp_path))
        found: Closed = {}
        images = list(images_below(tmp_path, closed=found))
    assert images == [tmp_path / "a.png"] and list(found) == [tmp_path / "b"]


def test_a_link_to_itself_is_no_folder_that_nobody_knows(tmp_path: Path) -> None:
    """As ``ln -s images images`` makes it inside of images."""
    for name in ("loop", "loop.png"):
        (tmp_path / name).symlink_to(tmp_path / name)
    assert list(images_below(tmp_path)) == [tmp_path / "loop.png"]
    watch = FolderWatch(tmp_path, 0)
    assert watch.look() == {} and watch.closed == {}


def test_what_is_gone_or_belongs_to_the_file_system_is_no_closed_folder(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "none")
    with closed(tmp_path / "lost+found"):
        assert len(list(images_below(tmp_path))) == 2
        assert len(matching(str(tmp_path / "*/*.JPG"))) == 1
    assert list(images_below(tmp_path / "none")) == []


@pytest.mark.parametrize("pattern", ["*/*.JPG", "**/*.JPG", "b*/c.JPG", "b/*", "*/*/*/a.png"])
def test_a_pattern_names_folders_that_it_cannot_look_into(tmp_path: Path, pattern: str) -> None:
    make(tmp_path)
    with closed(tmp_path / "b"):
        with pytest.raises(DataError, match=r"/b' cannot be read"):
            matching(str(tmp_path / pattern))
        found: Closed = {}
        matching(str(tmp_path / pattern), found)
        assert list(found) == [tmp_path / "b"]
        assert matching(str(tmp_path / "*.png")) == [tmp_path / "a.png"]


def test_patterns_match_as_pathlib_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    for pattern in ("*.png", "**/*.png", "b/c.*", "./*/*", "*", "../*/a.png", "**"):
        assert matching(pattern) == sorted(Path().glob(pattern))
        assert matching(f"{tmp_path}/{pattern}") == sorted(tmp_path.glob(pattern))
