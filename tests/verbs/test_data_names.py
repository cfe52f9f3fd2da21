"""Names that are no UTF-8, very long or break lines go through the data verbs, or are named."""

from __future__ import annotations

import os

import pytest

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import load_split
from kdlnet.data.listing import list_images
from kdlnet.errors import DataError
from kdlnet.verbs.check import check_dataset
from kdlnet.verbs.convert import convert
from kdlnet.verbs.split import split_dataset

from ..support.layouts import save_image

GBK = os.fsdecode("裂纹".encode("gbk"))
NAMES = (GBK, "a" * 251, "cr\rx", "nel\u0085x", "ls\u2028x", " lead", "tab\tx", "esc\x1b[31m")


def labelled(folder, names):
    for number, name in enumerate(names):
        save_image(folder / f"images/{name}.png", 64, 64, value=20 * number + 10)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / f"labels/{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("names: [dent]\ntrain: images\n")
    return folder


def test_split_writes_lists_that_kdlnet_reads(tmp_path):
    parts = labelled(tmp_path / "parts", NAMES)
    split_dataset(str(parts), tmp_path / "new", shares={"train": 0.5, "val": 0.5})
    info = find_dataset(str(tmp_path / "new"))
    listed = [image.stem for split in info.splits for image in list_images(info, split)]
    assert sorted(listed) == sorted(NAMES)
    # The table of groups goes the same way.
    result = check_dataset(str(parts), out=tmp_path / "found", image_size=(64, 64))
    assert len(result.survey.images) == len(NAMES)
    table = tmp_path / "found/groups.csv"
    report = split_dataset(str(parts), tmp_path / "more", folds=2, group_by=str(table))
    assert report.groups == len(NAMES)


def test_a_line_feed_in_a_name_is_named(tmp_path):
    parts = labelled(tmp_path / "parts", ["a", "b", "two\nlines"])
    with pytest.raises(DataError, match=r"two\\nlines.*line break.*rename"):
        split_dataset(str(parts), tmp_path / "new", folds=3)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("to", ["yolo", "coco", "voc"])
def test_convert_gives_names_that_every_file_can_hold(tmp_path, to):
    names = [*NAMES, "two\nlines", "two_lines"]
    parts = labelled(tmp_path / "parts", names)
    report = convert("yolo", parts, tmp_path / "new", to=to)
    assert report.images == len(names)
    again = convert(to, tmp_path / "new", tmp_path / "back")
    assert again.images == report.images and again.boxes == report.boxes == len(names)


def test_a_name_whose_replacement_is_longer_is_cut(tmp_path):
    name = "a" * 200 + os.fsdecode(b"\xc1" * 50)  # three bytes for each of the fifty
    parts = labelled(tmp_path / "parts", [name, "b"])
    convert("yolo", parts, tmp_path / "new")
    (long, short) = list_images(find_dataset(str(tmp_path / "new")), "train")
    assert long.stem == "a" * 200 + "\ufffd" * 17 and short.stem == "b"


def test_pictures_that_are_not_read_are_counted_when_a_split_is_used(tmp_path):
    parts = labelled(tmp_path / "parts", ["a"])
    for name in ("b.jfif", "c.HEIC", "d.heic"):
        (parts / "images" / name).write_bytes(b"x")
    warnings = load_split(find_dataset(str(parts)), "train").warnings
    assert any("not read: 2 .heic, 1 .jfif" in line for line in warnings)
    for name in (str(parts), str(parts / "images")):  # described, and as a plain folder
        result = check_dataset(name, image_size=(64, 64), only=["suffix"])
        assert [finding.value for finding in result.findings] == [{".heic": 2, ".jfif": 1}]


def test_a_yaml_bomb_is_refused_at_once(tmp_path):
    parts = labelled(tmp_path / "parts", ["a"])
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (parts / "data.yaml").write_text("\n".join([*lines, "train: images", "names: *a11"]))
    with pytest.raises(DataError, match=r"data\.yaml"):
        find_dataset(str(parts))
