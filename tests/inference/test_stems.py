"""Stems of files: none is another's, and all that is missing changes none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdlnet.images.items import Item, file_item
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.stems import Stems

NAMES = ["a.bmp", "a.png", "a-2.png", "A.jpg", "b/a.png", "a-2.jpg", "a-2-1.png", "a.tif"]
ITEMS = [file_item(Path(name), Path()) for name in NAMES]


def made(index: int, stem: str, timestamp: float | None = None) -> Prediction:
    empty = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    return Prediction("a", (1, 1), *empty, ("a",), index=index, stem=stem, timestamp=timestamp)


def stems(items: Sequence[Item], indices: Iterable[int]) -> dict[int, str]:
    given = Stems(items)
    return {n: given.named(made(n, items[n].stem)).stem for n in indices}


def test_all_differ_on_any_file_system_and_so_do_their_crops() -> None:
    found = stems(ITEMS, range(len(ITEMS)))
    assert [found[n] for n in range(4)] == ["a", "a-2", "a-2-2", "A-3"]
    assert len({stem.casefold() for stem in found.values()}) == len(ITEMS)
    crops = {f"{stem}-{n}".casefold() for stem in found.values() for n in range(1, 40)}
    assert len(crops) == 39 * len(ITEMS)


def test_no_file_has_the_name_of_a_folder() -> None:
    names = ["q.png", "r.png", "s.png", "t.png", "q.JPG/a.png", "r.txt/b/a.png", "s-12.png/a.png"]
    found = stems([file_item(Path(name), Path()) for name in names], range(7))
    assert list(found.values()) == ["q-2", "r-2", "s-2", "t", "q.JPG/a", "r.txt/b/a", "s-12.png/a"]
    names = ["u.jpg", "u-1.jpg", "u-1.png/a.jpg", "v.jpg", "v.png/a.jpg"]  # crop 1 of u, frame v
    found = stems([file_item(Path(name), Path()) for name in names], range(5))
    assert list(found.values()) == ["u-2", "u-1-2", "u-1.png/a", "v-2", "v.png/a"]
    film = Stems([file_item(Path(name), Path()) for name in ("q.png", "q.jpg.mp4")])
    assert film.named(made(0, "q")).stem == "q-2"


def test_the_longest_name_has_room_for_what_follows() -> None:
    """And two that differ only behind the cut stay apart."""
    names = [f"b/{'ü' * 120}{n}.png" for n in range(2)] + ["x" * 230 + ".png"]
    found = stems([file_item(Path(name), Path()) for name in names], range(3))
    assert list(found.values()) == ["b/" + "ü" * 115, "b/" + "ü" * 115 + "-2", "x" * 230]
    assert all(len(f"{Path(stem).name}-300.png".encode()) <= 255 for stem in found.values())


@pytest.mark.parametrize("indices", [range(0, 8, 3), range(2, 8, 3), (1, 5, 7), (7,)])
def test_what_does_not_come_changes_no_name(indices: Iterable[int]) -> None:
    whole = stems(ITEMS, range(len(ITEMS)))
    assert stems(ITEMS, indices) == {n: whole[n] for n in indices}


def test_frames_of_videos_are_named_as_they_come() -> None:
    given = Stems([file_item(Path(name), Path()) for name in ("a.mp4", "a.avi")])
    frames = [made(index, f"a/{index:06d}", 0.1) for index in (0, 1, 0, 1)]
    named = [given.named(frame).stem for frame in frames]
    assert named == ["a/000000", "a/000001", "a/000000-2", "a/000001-2"]
    live = Stems(())
    assert live.named(replace(frames[1], index=7)).stem == "a/000001"


def test_a_long_name_that_is_no_utf_8_keeps_its_characters() -> None:
    name = "\udcff" * 250
    assert Stems(()).named(made(0, name, 0.1)).stem == name[:230]
    assert Stems(()).named(made(0, "a/" + "\u00fc" * 200, 0.1)).stem == "a/" + "\u00fc" * 115
