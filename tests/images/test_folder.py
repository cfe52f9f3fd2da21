"""What is found below a folder, and that results are none of it."""

from __future__ import annotations

from pathlib import Path

from kdlnet.images.folder import glob_root, images_below, outside_results, results_lines
from kdlnet.utils.manifest import MARK


def make(folder: Path) -> None:
    for name in ("a.png", "b/c.JPG", "b/.hidden.png", "b/notes.txt", "runs/x/images/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "runs" / "x" / MARK).touch()


def test_results_among_the_images_are_left_out_and_told(tmp_path: Path) -> None:
    make(tmp_path)
    results: list[Path] = []
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path, results)]
    assert found == ["a.png", "b/c.JPG"]
    assert results == [tmp_path / "runs" / "x"]
    (line,) = results_lines([*results, *results])
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
