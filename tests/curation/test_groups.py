"""What belongs together, by name and by table."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.curation.groups import find_groups as find
from kdlnet.curation.groups import name_below
from kdlnet.errors import DataError
from kdlnet.events import Progress


def find_groups(rule, names):
    """Groups of files that need not be there: rules and tables never open them."""
    return find(rule, names, [Path(name) for name in names])


NAMES = ["images/a/05_pit_1.png", "images/a/05_pit_2.png", "images/b/11_pit_1.png"]


def test_without_a_rule_each_image_is_alone():
    assert find_groups(None, NAMES) == NAMES


def test_a_rule_sees_the_file_name():
    assert find_groups(r"^(\d+)_", NAMES) == ["05", "05", "11"]
    assert find_groups(r"_(\d)\.", NAMES) == ["1", "2", "1"]


def test_a_rule_with_a_slash_sees_the_path():
    assert find_groups(r"images/(.+)/", NAMES) == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (r"(\d", "is not a regular expression"),
        (r"\d+", "has 0 groups"),
        (r"(\d)(\d)", "has 2 groups"),
        (r"^(05)_", "in 1 of 3 names, first 'images/b/11_pit_1.png'"),
        (r"^(x?)", "in 3 of 3 names"),  # an empty group names nothing
    ],
)
def test_faulty_rules(rule, words):
    with pytest.raises(DataError, match=words):
        find_groups(rule, NAMES)


def table(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "groups.csv"
    file.write_text(text, encoding=encoding)
    return str(file)


def test_a_table_names_paths_or_files(tmp_path):
    text = "note, group ,image\nx, lot 1,images/a/05_pit_1.png\n,lot 2,05_pit_2.png\n"
    text += ',"lot, 3",11_pit_1.png\n,lot 4,unknown.png\n'
    assert find_groups(table(tmp_path, text, "utf-8-sig"), NAMES) == ["lot 1", "lot 2", "lot, 3"]


def test_a_bare_name_of_two_images_is_none_of_them(tmp_path):
    file = table(tmp_path, "image,group\na.png,one\ny/a.png,two\n")
    with pytest.raises(DataError, match=r"no group for 1 of 2 images, first 'x/a.png'"):
        find_groups(file, ["x/a.png", "y/a.png"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "starts with nothing: its first line must be image,group"),
        ("file;group\n", "starts with file;group"),
        ("image,group\na.png,1\na.png,2\n", "line 3: image 'a.png' is in the groups '1' and '2'"),
        ("image,group\n05_pit_1.png\n", "no group for 3 of 3"),
    ],
)
def test_faulty_tables(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        find_groups(table(tmp_path, text), NAMES)


def test_unreadable_tables(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        find_groups(str(tmp_path / "nowhere.csv"), NAMES)
    with pytest.raises(DataError, match=r"groups\.csv' is saved as UTF-16: save it as UTF-8"):
        find_groups(table(tmp_path, "image,group\nü,1\n", "utf-16"), NAMES)
    (tmp_path / "groups.csv").write_bytes(b"image,group\n\x81,1\n")
    with pytest.raises(DataError, match="is no text in UTF-8 or Windows-1252"):
        find_groups(str(tmp_path / "groups.csv"), NAMES)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("mark", [";", ","])
def test_a_table_as_excel_saves_it(tmp_path, mark, encoding):
    rows = [("image", "group"), ("Gehäuse 1.png", "Los 1; früh"), ("b.png", "Los 2, spät")]
    text = "\r\n".join(f'"{image}"{mark}"{group}"' for image, group in rows)
    found = find_groups(table(tmp_path, text, encoding), ["b.png", "Gehäuse 1.png"])
    assert found == ["Los 2, spät", "Los 1; früh"]


def test_a_table_names_images_absolutely(tmp_path):
    file = table(tmp_path, "image,group\n/far/a.png,1\n/far/b.png,2\n")
    names, paths = ["../far/a.png", "../far/b.png"], [Path("/far/a.png"), Path("/far/b.png")]
    assert find(file, names, paths) == ["1", "2"]


def test_names_are_the_same_everywhere():
    assert name_below(Path("/set/images/a.png"), Path("/set")) == "images/a.png"
    assert name_below(Path("/other/a.png"), Path("/set")) == "../other/a.png"


def test_duplicates_stay_together(tmp_path, monkeypatch):
    """Two textures, one of them saved again brighter, the other once; copies need no features."""
    generator = np.random.default_rng(0)
    one, two = (
        cv2.GaussianBlur(generator.integers(0, 256, (160, 160), dtype=np.uint8), (0, 0), 2)
        for _ in range(2)
    )
    pictures = {"a.png": one, "b.png": two, "c.png": np.clip(one * 1.2, 0, 255).astype(np.uint8)}
    for name, image in pictures.items():
        (tmp_path / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    told = []
    groups = find(
        "duplicates",
        list(pictures),
        [tmp_path / name for name in pictures],
        told.append,
    )
    assert groups == ["a.png", "b.png", "a.png"]
    assert told[-1] == Progress("compare images", 3, 3)
    shutil.copy(tmp_path / "a.png", tmp_path / "d.png")
    paths = [*(tmp_path / name for name in pictures), tmp_path / "d.png"]
    names = [path.name for path in paths]
    assert find("duplicates", names, paths) == ["a.png", "b.png", "a.png", "a.png"]
    monkeypatch.delattr("kdlnet.curation.duplicates.fingerprint")
    assert find("copies", names, paths) == ["a.png", "b.png", "c.png", "a.png"]
