"""Which images weights have learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdlnet.data.digest import images_digest
from kdlnet.data.learned import Learned
from kdlnet.errors import DataError


def _files(folder: Path, *contents: str) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{number}.png" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(content)
    return files


def test_files_count_by_their_content_alone(tmp_path: Path) -> None:
    learned = Learned.of(_files(tmp_path / "a", "one", "two", "three"))
    assert learned.count(_files(tmp_path / "b", "three", "four", "one", "one")) == 3
    assert learned.count(_files(tmp_path / "c", "four")) == 0
    assert learned.count([]) == 0


def test_without_fingerprints_nothing_is_known(tmp_path: Path) -> None:
    files = _files(tmp_path / "a", "one", "two")
    assert Learned().count(files) is None
    assert Learned().count([]) is None
    old = Learned.of_header([images_digest(files)])
    assert (old.count(files), old.count(files[:1])) == (2, None)
    both = old | Learned.of(files[:1])
    assert (both.count(files), both.count(files[1:])) == (2, 0)


def test_a_header_holds_all_of_them_in_11_bytes_each(tmp_path: Path) -> None:
    files = _files(tmp_path / "a", *map(str, range(300)))
    learned = Learned.of(files) | Learned.of_header(["0" * 32])
    header = json.loads(json.dumps(learned.to_header()))
    assert Learned.of_header(header) == learned
    assert len(learned.images) == 300 and len(header["images"]) == 3200
    assert Learned.of_header(Learned().to_header()) == Learned.of_header(None) == Learned()


@pytest.mark.parametrize("value", [{"images": "AAAA"}, {"images": "?"}, {"images": 3}, "text", 3])
def test_what_is_no_header_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Learned.of_header(value)


def test_an_image_that_went_away_is_named(tmp_path: Path) -> None:
    """It was read a moment before, and its loss is no defect of the program."""
    files = _files(tmp_path / "a", "one", "two")
    learned = Learned.of(files)
    files[1].unlink()
    for look in (Learned.of, learned.count, images_digest):
        with pytest.raises(DataError, match=r"image '.*1\.png' does not exist"):
            look(files)
