from __future__ import annotations

import os
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import load_splits
from kdlnet.data.folders import image_folders
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.images.folder import LeftOut

from ..support.closed import closed


def touch(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".png", np.zeros((2, 2), np.uint8))[1].tobytes())


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def dataset(tmp_path):
    touch(tmp_path / "set/images/train/b.png", tmp_path / "set/images/train/deep/a.PNG")
    touch(tmp_path / "set/images/val/c.jpg", tmp_path / "set/images/train/.hidden.png")
    write(tmp_path / "set/images/train/notes.md", "not an image")
    write(tmp_path / "set/data.yaml", "train: images/train\nval: images/val\nnames: [x, y]\n")
    return tmp_path / "set"


def names_of(images):
    return [image.name for image in images]


def test_folder_and_file_name_the_same_dataset(dataset, monkeypatch):
    monkeypatch.chdir(dataset.parent)
    for name in ("set", "set/data.yaml", str(dataset), str(dataset / "data.yaml")):
        info = find_dataset(name)
        assert info.names == ("x", "y")
        assert info.root == dataset
        assert info.splits == {"train": ("images/train",), "val": ("images/val",)}
        images = list_images(info, "train")
        assert names_of(images) == ["b.png", "a.PNG"]
        assert all(image.is_absolute() for image in images)


def test_names_as_map_extra_keys_and_channels(dataset):
    text = "train: images/train\nnc: 2\nnames: {1: two, 0: one}\nchannels: 1\ndownload: x\n"
    info = find_dataset(str(write(dataset / "data.yaml", text)))
    assert info.names == ("one", "two")
    assert info.channels == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: a\nnames: [x]\nnc: 3\n", r"data\.yaml: nc is 3 but names lists 1"),
        ("train: a\n", "key names is missing: add it"),
        ("train: a\nnames: []\n", "key names.*at least one"),
        ("train: a\nnames: [x, x]\n", "'x' appears twice"),
        ("train: a\nnames: [x, ' ']\n", "class 1 has no name"),
        ("train: a\nnames: {0: x, 2: y}\n", "0 to 1 without gaps"),
        ("train: a\nnames: {0.2: x, 1.7: y}\n", "must be the numbers 0, 1"),
        ("train: a\nnames: {a: x}\n", "numbers"),
        ("train: a\nnames: [x, ]\nkpt_shape: [3, 4]\n", "key kpt_shape.*2 or 3"),
        ("train: a\nnames:\n- x\n-\n", "quotes"),
        ("train: a\nnames: 5\n", "key names"),
        ("train: {a: 1}\nnames: [x]\n", "key train: give a path or a list of them"),
        ("train: 2024\nnames: [x]\n", "key train: give a path.*quotes, not 2024"),
        ("train: [a, 2024]\nnames: [x]\n", r"key train: give a path.*not \['a', 2024\]"),
        ("path: 2024\ntrain: a\nnames: [x]\n", "key path.*quotes"),
        ("train: a\nnames: [x]\nchannels: 4\n", "key channels = 4"),
        ("names: [x]\n", "no split"),
        ("- a\n", "must hold keys"),
        ("train: [\n", "not YAML"),
        ("train: a\nnames: [x]\ntrain: b\n", "key 'train' is there twice.* in line 3, column 1"),
        ("train: a\nnames: {0: x, 1: y, 1: z}\n", "key '1' is there twice.* in line 2"),
        ("train: a\nnames: {0: x, 0x0: y}\n", "key '0x0' is there twice, also as '0'.* line 2"),
        ("train: a\nnames: {1: x, 0: y, false: z}\n", "key 'false' .* also as '0'.* in line 2"),
        ("train: a\n\tval: b\n", "not YAML.* found character.* in line 2, column 1"),
        ("", "must hold keys"),
    ],
)
def test_faulty_file_names_the_key_in_one_line(tmp_path, text, words):
    file = write(tmp_path / "data.yaml", text)
    with pytest.raises(DataError, match=words) as caught:
        find_dataset(str(file))
    assert "data.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_merged_keys_may_be_given_anew(tmp_path):
    text = "common: &common {names: [x], val: v}\nmore: &more {names: [y], val: w}\n" + "".join(
        f"{name}:\n  <<: *more\n  <<: *common\n  names: [{name}]\n  train: t\n" for name in "ab"
    )
    catalog = write(tmp_path / "sets.yaml", text)
    assert find_dataset("b", catalog=catalog).names == ("b",)
    assert find_dataset("b", catalog=catalog).splits == {"train": ("t",), "val": ("v",)}


@pytest.mark.parametrize("layout", ["[{}]", "{{0: {}}}", "\n- {}"])
@pytest.mark.parametrize("name", ["010", "1.10", "yes", "No", "on", "2026-01-31", "null", "1e3"])
def test_class_names_keep_their_spelling(tmp_path, layout, name):
    """YAML takes them for 8, 1.1, truth values, a date and so on."""
    file = write(tmp_path / "data.yaml", f"train: a\nnames: {layout.format(name)}\nnc: 1\n")
    assert find_dataset(str(file)).names == (name,)
    catalog = write(tmp_path / "sets.yaml", f"set:\n  names: [{name}, 007]\n  train: a\n")
    assert find_dataset("set", catalog=catalog).names == (name, "007")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("names: [ok]\ntrain: a\n".encode("utf-16"), "is saved as UTF-16: save it as UTF-8"),
        ("names: [ok]\ntrain: a\n".encode("utf-16-le"), "looks like UTF-16"),
        ("train: a\nnames: [裂纹]\n".encode("gbk"), r"not UTF-8 \(byte 0xc1 in line 2\)"),
        ("train: a\nnames: [Riß]\n".encode("latin-1"), "not UTF-8 .*save it as UTF-8"),
    ],
)
def test_another_encoding_is_refused_by_name(tmp_path, data, words):
    """The same bytes are other letters in another one: nothing is guessed."""
    file = tmp_path / "data.yaml"
    file.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        find_dataset(str(file))
    assert "data.yaml" in str(caught.value)


def test_unknown_name_offers_the_closest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="did you mean 'neu-det'"):
        find_dataset("neu-dett")
    with pytest.raises(DataError, match="does not exist"):
        find_dataset("no/such/data.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no data\.yaml"):
        find_dataset(str(tmp_path / "empty"))
    for name, fault in (("a.zip", "'a.zip' is packed: unpack it"), ("b.json", "is no YAML file")):
        (tmp_path / name).write_bytes(b"it is there")
        for spelling in (name, str(tmp_path / name)):
            with pytest.raises(DataError, match=fault):
                find_dataset(spelling)


def test_shipped_catalog_is_sound(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, classes in {
        "neu-det": 6,
        "magnetic-tile": 5,
        "pku-market-pcb": 6,
        "synth": 4,
    }.items():
        info = find_dataset(name)
        assert len(info.names) == classes
        assert {"train", "val"} <= set(info.splits)
        assert info.prepare.startswith("kdlnet data ") and "\n" not in info.prepare
        assert info.terms and info.citation and info.url


def test_missing_images_of_a_name_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    info = find_dataset("neu-det", tmp_path / "elsewhere")
    with pytest.raises(DataError, match="kdlnet data prepare neu-det --from NEU-DET") as caught:
        list_images(info, "train")
    assert str(tmp_path / "elsewhere/neu-det") in str(caught.value)
    assert "--data-root" in str(caught.value) and "\n" not in str(caught.value)


def test_a_data_root_or_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(DataError, match=r"--data-root .*nowhere.* is not a folder"):
        find_dataset("neu-det", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no data\.yaml"):
        find_dataset(str(tmp_path / "empty"))


def test_images_are_found_below_root_variable_or_working_directory(tmp_path, monkeypatch):
    catalog = "steel:\n  path: steel\n  train: images\n  names: [x]\n"
    for place in ("given", "variable", "here"):
        touch(tmp_path / place / f"steel/images/{place}.png")
    monkeypatch.chdir(tmp_path / "here")
    write(tmp_path / "here/datasets.yaml", catalog)
    assert names_of(list_images(find_dataset("steel"), "train")) == ["here.png"]
    monkeypatch.setenv("KDLNET_DATA", str(tmp_path / "variable"))
    assert names_of(list_images(find_dataset("steel"), "train")) == ["variable.png"]
    found = find_dataset("steel", tmp_path / "given")
    assert names_of(list_images(found, "train")) == ["given.png"]
    # The shipped names stay known beside one's own catalog.
    assert find_dataset("neu-det").names[0] == "crazing"


def test_written_data_yaml_wins_over_the_catalog_entry(dataset, monkeypatch):
    # Label files were written with its class order.
    monkeypatch.chdir(dataset.parent)
    write(dataset.parent / "datasets.yaml", "set:\n  train: images/train\n  names: [y, x]\n")
    info = find_dataset("set")
    assert info.names == ("x", "y")
    assert info.source.name == "datasets.yaml"


def test_catalog_can_be_given(tmp_path):
    file = write(tmp_path / "mine.yaml", "a:\n  train: images\n  names: [x]\n  nc: 2\n")
    with pytest.raises(DataError, match=r"mine\.yaml: dataset 'a'.*nc is 2"):
        find_dataset("a", catalog=file)


def test_list_files_globs_and_several_entries(dataset):
    write(dataset / "lists/a.txt", "./extra.png\nimages/train/b.png\n\n")
    touch(dataset / "lists/extra.png")
    write(dataset / "lists/absolute.txt", f"{dataset}/images/val/c.jpg\nimages/train/b.png\n")
    text = "train: [lists/a.txt, lists/absolute.txt]\nval: 'images/**/*.png'\nnames: [x]\n"
    write(dataset / "data.yaml", text)
    info = find_dataset(str(dataset))
    assert names_of(list_images(info, "train")) == ["b.png", "c.jpg", "extra.png"]
    assert "b.png" in names_of(list_images(info, "val"))
    write(dataset / "data.yaml", "train: [images/val/c.jpg]\nnames: [x]\n")
    assert names_of(list_images(find_dataset(str(dataset)), "train")) == ["c.jpg"]


def test_listed_images_that_are_missing_are_counted(dataset):
    write(dataset / "train.txt", "images/train/b.png\nimages/train/gone.png\nother/gone.png\n")
    write(dataset / "data.yaml", "train: train.txt\nnames: [x]\n")
    with pytest.raises(DataError, match=r"2 of 3 images.*gone\.png"):
        list_images(find_dataset(str(dataset)), "train")
    write(dataset / "train.txt", "images\\train\\b.png\n")
    with pytest.raises(DataError, match=r"correct the list with / in place of \\ or"):
        list_images(find_dataset(str(dataset)), "train")


def test_folders_are_no_images_in_a_list_or_behind_a_pattern(dataset):
    write(dataset / "train.txt", "images/train/b.png\nimages/val\n")
    file = write(dataset / "data.yaml", "train: train.txt\nnames: [x]\n")
    with pytest.raises(
        DataError, match=r"train\.txt' lists the folder '.*images.val': a list names"
    ):
        list_images(find_dataset(str(dataset)), "train")
    write(file, "train: [images/val, 'image*/train']\nnames: [x]\n")
    fix = re.escape(f"'image*/train/**/*' in {file}")
    with pytest.raises(
        DataError, match=rf"'image\*/train' .* matches folders and no image: .* {fix}"
    ):
        list_images(find_dataset(str(dataset)), "train")
    write(file, "train: ['image*/train/**/*']\nval: images/train\nnames: [x]\n")
    info = find_dataset(str(dataset))
    assert set(list_images(info, "train")) >= set(list_images(info, "val"))


def test_long_lists_are_checked_fast(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number}.png").touch()
    write(tmp_path / "train.txt", "".join(f"images/{number}.png\n" for number in range(1000)))
    write(tmp_path / "data.yaml", "train: train.txt\nnames: [x]\n")
    info = find_dataset(str(tmp_path))
    start = time.process_time()
    assert len(list_images(info, "train")) == 1000
    assert time.process_time() - start < 0.3


def test_wrong_splits_and_entries(dataset):
    info = find_dataset(str(dataset))
    with pytest.raises(DataError, match=r"unknown split.*'tran'.*did you mean 'train'"):
        list_images(info, "tran")
    with pytest.raises(DataError, match=r"'test'\. Known: .*data\.yaml, or let kdlnet data split"):
        list_images(info, "test")
    write(dataset / "data.yaml", "train: nowhere\nval: empty\nnames: [x]\n")
    (dataset / "empty").mkdir()
    info = find_dataset(str(dataset))
    with pytest.raises(DataError, match=r"nowhere.*does not exist"):
        list_images(info, "train")
    with pytest.raises(DataError, match="no images"):
        list_images(info, "val")
    if os.sep == "/":
        write(dataset / "data.yaml", "train: parts\\train\nnames: [x]\n")
        with pytest.raises(DataError, match=r"parts\\train'.*with / in place of \\ in "):
            list_images(find_dataset(str(dataset)), "train")


@pytest.mark.skipif(os.sep != "/", reason="there C: is a drive")
@pytest.mark.parametrize("path", ["C:\\Users\\me\\ds", "d:/ds", "\\\\server\\share\\ds"])
def test_a_path_of_another_machine_is_told_as_such(dataset, path):
    splits = "train: images/train\nnames: [x]\n"
    file = write(dataset / "data.yaml", f"path: {path}\n{splits}")
    words = f"'{path}/images/train' of dataset 'set' is a path of another machine: remove the line"
    with pytest.raises(DataError, match=re.escape(words)):
        list_images(find_dataset(str(dataset)), "train")
    write(file, splits)  # as it says
    assert len(list_images(find_dataset(str(dataset)), "train")) == 2
    write(file, f"train: {path}\nnames: [x]\n")
    words = f"'{path}' of dataset 'set' is a path of another machine: correct it in {file}"
    with pytest.raises(DataError, match=re.escape(words)):
        list_images(find_dataset(str(dataset)), "train")
    write(file, "train: train.txt\nnames: [x]\n")
    write(dataset / "train.txt", f"{path}/a.png\n")
    with pytest.raises(DataError, match="correct the list, which has paths of another machine, or"):
        list_images(find_dataset(str(dataset)), "train")


@pytest.mark.parametrize("name", ["lot[1]", "lot*", "l?t"])
def test_a_folder_with_marks_of_a_pattern_in_its_name_is_not_another_one(tmp_path, name):
    touch(tmp_path / "lot1/images/other.png", tmp_path / name / "images/own.png")
    for entry in ("images/*.png", "images/**/*.png"):
        file = write(tmp_path / name / "data.yaml", f"train: {entry}\nnames: [x]\n")
        info = find_dataset(str(file))
        assert names_of(list_images(info, "train")) == ["own.png"]
    assert list(image_folders(info)) == [tmp_path / name / "images"]


@pytest.mark.skipif(os.sep != "/", reason="there // is another drive's")
def test_a_pattern_with_another_root_is_told_where_it_matches_nothing(dataset):
    write(dataset / "data.yaml", "train: //nas/lot/*.png\nnames: [x]\n")
    with pytest.raises(DataError, match=r"no images in //nas/lot/\*\.png"):
        list_images(find_dataset(str(dataset)), "train")


def test_export_of_labelling_services_is_found(dataset):
    write(dataset / "data.yaml", "train: ../images/train\nnames: [x]\n")
    assert len(list_images(find_dataset(str(dataset)), "train")) == 2


def test_symbolic_links_stay_beside_their_labels(dataset, tmp_path):
    touch(tmp_path / "store/original.png")
    (dataset / "images/val/link.png").symlink_to(tmp_path / "store/original.png")
    (dataset / "images/val/loop").symlink_to(dataset / "images/val")
    images = list_images(find_dataset(str(dataset)), "val")
    assert images == [dataset / "images/val/c.jpg", dataset / "images/val/link.png"]


def test_label_path(tmp_path):
    cases = {
        "set/images/a.jpg": "set/labels/a.txt",
        "images/x/images/train/a.b.JPG": "images/x/labels/train/a.b.txt",
        "my images/ä 1.png": "my images/ä 1.txt",
        "images.png": "images.txt",
        "set/Images/a.png": "set/Images/a.txt",
    }
    for image, label in cases.items():
        assert label_path(tmp_path / image) == tmp_path / label


@pytest.mark.parametrize("entry", ["images/train", "images/train/**/*.*"])
def test_results_among_the_images_are_left_out(dataset, entry):
    results = dataset / "images/train/runs/predict/x"
    touch(results / "images/b.png")
    write(results / ".kdlnet", "")
    write(dataset / "data.yaml", f"train: {entry}\nval: images/val\nnames: [x, y]\n")
    info = find_dataset(str(dataset))
    left = LeftOut()
    images = [image for image in list_images(info, "train", left) if image.name[0] != "."]
    assert names_of(images) == ["b.png", "a.PNG"]
    assert left.results == [results]
    assert sorted(image_folders(info)) == [dataset / "images/train", dataset / "images/val"]


def test_folders_that_a_glob_leaves_are_told(dataset):
    """Unless a split has what is in them."""
    touch(dataset / "images/c.png", dataset / "images/more/d.png", dataset / "images/more/e/f.png")
    write(dataset / "images/notes/read.txt", "of no image")

    def left(entries: str, split: str = "train") -> list[Path]:
        write(dataset / "data.yaml", f"train: {entries}\nval: images/val\nnames: [x, y]\n")
        found = LeftOut()
        list_images(find_dataset(str(dataset)), split, found)
        assert len(found.lines()) == bool(found.folders)
        return [folder.relative_to(dataset / "images") for folder in found.folders]

    assert left("images/*") == [Path("more"), Path("train")]  # val is a split
    assert left("[images/*, images/train, images/more/*.png]") == [Path("more")]
    assert left("[images/*, images/*]", "val") == left("images/*.png") == left("images/**/*") == []
    assert left("[images/*, images/train, images/more]") == []
    write(dataset / "data.yaml", "train: images/*\nval: images/val\nnames: [x, y]\n")
    (split,) = load_splits(find_dataset(str(dataset)), ["train"])
    first = str(dataset / "images/more")
    line = f"left out 2 folders with images that a glob matches, first {first!r}: name them"
    assert any(warning.startswith(line) for warning in split.warnings)


@pytest.mark.parametrize("entry", ["images/train", "images/train/**/*.*"])
def test_a_folder_that_cannot_be_listed_makes_no_smaller_split(dataset, entry):
    write(dataset / "data.yaml", f"train: {entry}\nval: images/val\nnames: [x, y]\n")
    info = find_dataset(str(dataset))
    with closed(dataset / "images/train/deep"):
        with pytest.raises(DataError, match=r"train/deep' cannot be read .Permission denied"):
            list_images(info, "train")
        assert list_images(info, "val")


@pytest.mark.parametrize(
    ("file", "content", "tool"),
    [
        ("a.xml", "<annotation><object/></annotation>", "voc"),
        ("a.json", '{"shapes": [{"label": "pit"}]}', "labelme"),
        ("all.csv", "filename,class,xmin,ymin,xmax,ymax\na.png,pit,1,2,3,4\n", "csv"),
        ("classes.txt", "pit\n", "yolo"),
    ],
)
def test_a_folder_of_another_tool_is_told_how_to_become_a_dataset(
    tmp_path: Path, file: str, content: str, tool: str
) -> None:
    folder = tmp_path / "my parts"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"")
    (folder / "sub" / file).write_text(content)
    wanted = rf"no data\.yaml: convert its labels first: .*data convert {tool} .*my parts-yolo'$"
    with pytest.raises(DataError, match=wanted):
        find_dataset(str(folder))


def test_a_folder_without_labels_is_told_what_is_lacking(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "empty.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="give a folder with one"):
        find_dataset(str(tmp_path))
