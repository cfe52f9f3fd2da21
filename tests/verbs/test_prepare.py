from __future__ import annotations

import json

import pytest

from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, DataError
from kdlnet.verbs.check import check_dataset
from kdlnet.verbs.prepare import prepare

from ..support.layouts import save_image, save_mask, save_xml
from .test_convert import lists, tree

CATALOG = """
boards:
  path: prepared
  train: train.txt
  names: [short, spur]
  citation: Someone (2020)
  layout: {format: voc, folders: [images, Annotations], images: images}
  expected: {images: 12, boxes: 13}
  group: '(?:^|/)(\\d+)_[^/]*$'
  shares: {train: 0.5, val: 0.25, test: 0.25}
tiles:
  train: train.txt
  names: [short, spur]
  layout: {format: voc, folders: [images, Annotations], images: images}
masked:
  train: train.txt
  names: [MT_Crack]
  layout: {format: masks, folders: [MT_Crack, MT_Free], good: [MT_Free]}
made:
  train: train.txt
  names: [short]
  prepare: kdlnet data synth made
"""


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """Four boards of three images in two folders, and what else the authors put beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDLNET_DATA", raising=False)
    (tmp_path / "datasets.yaml").write_text(CATALOG)
    source = tmp_path / "down/PCB"
    for board in range(4):
        for number in range(3):
            kind = "Short" if number < 2 else "Spur"
            name = f"{kind}/0{board}_{kind.lower()}_{number}"
            save_image(source / f"images/{name}.jpg", value=10 * board)
            save_xml(source / f"Annotations/{name}.xml", [(kind.lower(), 1, 1, 9, 9)])
    save_image(source / "PCB_USED/01.JPG")  # a board without defects, not annotated
    save_image(source / "rotation/Short_rotation/01_short_01.jpg")
    return source


def boards_of(out, split):
    info = find_dataset(str(out / "data.yaml"))
    return {image.name[:2] for image in list_images(info, split)}


def test_layout_is_converted_counted_and_split_by_its_rule(boards, tmp_path):
    before = tree(boards)
    report = prepare("boards", boards)
    assert report.folder == tmp_path / "prepared"
    counts = {split: found.images for split, found in report.splits.items()}
    assert counts == {"train": 6, "val": 3, "test": 3}
    groups = [boards_of(report.folder, split) for split in counts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 4
    assert report.left_out == {}  # neither the other boards nor the rotated copies
    assert report.warnings == ("boxes: expected 13, found 12; is the copy complete?",)
    assert tree(boards) == before
    written = json.loads((report.folder / "report.json").read_text())
    assert written["dataset"] == "boards" and written["citation"] == "Someone (2020)"
    assert find_dataset("boards").root == report.folder


def test_an_image_without_annotation_is_no_good_part_where_the_set_has_none(boards, tmp_path):
    (boards / "Annotations/Short/00_short_0.xml").unlink()
    assert prepare("boards", boards).good == 1
    text = CATALOG.replace("boxes: 13", "boxes: 13, good: 0")
    (tmp_path / "datasets.yaml").write_text(text)
    report = prepare("boards", boards, overwrite=True)
    assert report.good == 0 and report.left_out == {"no annotation": 1}


@pytest.mark.parametrize("place", [".", "..", "images", "Annotations", "../PCB"])
def test_layout_is_found_a_level_above_or_below(boards, tmp_path, place):
    assert prepare("boards", boards / place, tmp_path / "out").images == 12


def test_layout_in_another_case_and_one_that_is_not_there(boards, tmp_path):
    (boards / "images").rename(boards / "IMAGES")
    assert prepare("boards", boards, tmp_path / "out").images == 12
    (boards / "Annotations").rename(boards / "labels")
    with pytest.raises(
        DataError, match=r"not the layout of boards: there is no Annotations; .*images, Annotations"
    ):
        prepare("boards", boards, tmp_path / "new")
    with pytest.raises(DataError, match=r"nowhere' does not exist"):
        prepare("boards", tmp_path / "nowhere", tmp_path / "new")


def test_folders_of_classes_in_another_case(boards, tmp_path):
    source = tmp_path / "tiles"
    for folder in ("mt_crack", "mt_free"):
        image = save_image(source / folder / "Imgs/1.jpg")
        save_mask(image.with_suffix(".png"), *[(5, 5, 25, 15)] * (folder == "mt_crack"))
    splits = lists(tmp_path, train=["MT_Crack/Imgs/1.jpg"], val=["MT_Free/Imgs/1.jpg"])
    report = prepare("masked", source, tmp_path / "out", splits=splits)
    assert report.names == ("MT_Crack",) and report.left_out == {} and report.warnings == ()
    assert {split: found.boxes for split, found in report.splits.items()} == {"train": 1, "val": 0}


def test_two_layouts_side_by_side_are_for_the_user_to_choose(boards, tmp_path):
    for name in ("images", "Annotations"):
        (boards.parent / "half" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds 'PCB', 'half': give one"):
        prepare("boards", boards.parent, tmp_path / "out")
    # The one that is written as published wins over one that is not.
    (boards.parent / "half/images").rename(boards.parent / "half/Images")
    assert prepare("boards", boards.parent, tmp_path / "out").images == 12


def test_seed_decides_and_the_same_one_decides_the_same(boards, tmp_path):
    def parts(seed, name):
        out = prepare("boards", boards, tmp_path / name, seed=seed).folder
        return tuple(frozenset(boards_of(out, split)) for split in ("train", "val", "test"))

    chosen = [parts(seed, f"s{seed}") for seed in range(6)]
    assert parts(3, "again") == chosen[3]
    assert len(set(chosen)) > 1


def test_a_line_that_fits_two_images_but_for_case_is_no_choice(boards, tmp_path):
    for name in ("short", "SHORT"):
        save_image(boards / f"images/Short/09_{name}_0.jpg")
        save_xml(boards / f"Annotations/Short/09_{name}_0.xml", [("short", 1, 1, 9, 9)])
    (tmp_path / "a.txt").write_text("Short/09_Short_0.jpg\n")
    with pytest.raises(DataError, match="09_Short_0"):
        prepare("boards", boards, splits={"train": tmp_path / "a.txt"})


def test_lists_are_kept_and_needed_where_there_is_no_rule(boards, tmp_path):
    with pytest.raises(DataError, match=r"tiles do not tell.*--split train=LIST"):
        prepare("tiles", boards, tmp_path / "out")
    splits = lists(
        tmp_path,
        train=["images/Short/00_short_0.jpg"],
        val=["Short/01_short_0.jpg", "images/Spur/01_spur_2.jpg"],
    )
    report = prepare("tiles", boards, tmp_path / "out", splits=splits)
    assert {split: found.images for split, found in report.splits.items()} == {"train": 1, "val": 2}
    assert report.left_out == {"not in a split": 9}


def test_an_entry_may_have_lists_beside_its_file(boards, tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/a.txt").write_text("images/Short/00_short_0.jpg\nSpur/01_spur_2.jpg\n")
    (tmp_path / "lists/b.txt").write_text("Short/01_short_0.jpg\n")
    own = "  lists: {train: lists/a.txt, val: lists/b.txt}\n"
    text = CATALOG.replace("tiles:\n", "tiles:\n" + own).replace("boards:\n", "boards:\n" + own)
    (tmp_path / "datasets.yaml").write_text(text)
    for name in ("boards", "tiles"):  # with a rule of its own and without
        report = prepare(name, boards, tmp_path / f"{name}-out")
        counts = {split: found.images for split, found in report.splits.items()}
        assert counts == {"train": 2, "val": 1}
        assert report.left_out == {"not in a split": 9}
        with pytest.raises(ConfigError, match=f"--seed 3: lists split {name}"):
            prepare(name, boards, tmp_path / "seeded", seed=3)
    given = lists(tmp_path, test=["Short/00_short_0.jpg"])
    report = prepare("tiles", boards, tmp_path / "given", splits=given)
    assert {split: found.images for split, found in report.splits.items()} == {"test": 1}
    (boards / "images/Short/00_short_0.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images listed in .*a\.txt.*tiles: is the copy c"):
        prepare("tiles", boards, tmp_path / "partial")


@pytest.mark.data
def test_lists_of_magnetic_tile_have_no_group_in_two_splits(real_data, tmp_path):
    report = prepare("magnetic-tile", real_data / "magnetic-tile", tmp_path / "out")
    counts = {split: found.images for split, found in report.splits.items()}
    assert counts == {"train": 765, "val": 135, "test": 141}
    assert report.left_out == {"empty mask": 5, "not in a split": 22}
    found = check_dataset(str(tmp_path / "out"), only=["exact-duplicate", "near-duplicate"])
    leaks = [each for each in found.findings if each.severity == "error" or "near" in each.check]
    assert leaks == []


def test_running_again_is_refused_or_clean(boards, tmp_path):
    prepare("boards", boards)
    before = tree(tmp_path / "prepared")
    with pytest.raises(DataError, match=r"not empty.*--overwrite"):
        prepare("boards", boards, seed=5)
    assert tree(tmp_path / "prepared") == before
    prepare("boards", boards, overwrite=True)
    again = tree(tmp_path / "prepared")
    assert {name: content for name, (content, _) in again.items()} == {
        name: content for name, (content, _) in before.items()
    }


def test_other_sets_and_names_get_one_line(boards, tmp_path):
    with pytest.raises(DataError, match=r"unknown dataset 'bords'; did you mean 'boards'"):
        prepare("bords", boards)
    with pytest.raises(DataError, match="use 'kdlnet data synth made'"):
        prepare("made", boards)
    save_xml(boards / "Annotations/Short/00_short_0.xml", [("hole", 1, 1, 9, 9)])
    with pytest.raises(DataError, match=r"is not boards: it has boxes of class 'hole'"):
        prepare("boards", boards)
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("group: '(a'", "group.*no regular expression"),
        ("group: 'a'", "group.*one group in brackets"),
        ("layout: {format: voc}", "layout.folders"),
        ("layout: {format: voc, folders: [a], image: b}", "layout.image"),
        ("expected: {boxes: 3}", "expected.images"),
        ("shares: {trian: 1}", "shares.trian"),
    ],
)
def test_faulty_entries_name_the_key(tmp_path, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets.yaml").write_text(f"bad:\n  train: a\n  names: [b]\n  {line}\n")
    with pytest.raises(DataError, match=words):
        prepare("bad", tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "lists_name"),
    [
        ("neu-det-fixed", "NEU-DET", "neu-det"),
        ("magnetic-tile-fixed", "magnetic-tile", "magnetic-tile"),
        ("pku-market-pcb-fixed", "PKU-Market-PCB", "pku-market-pcb-by-board"),
    ],
)
def test_shipped_lists_make_the_split_of_the_released_weights(
    real_data, tmp_path, name, folder, lists_name
):
    report = prepare(name, real_data / folder, tmp_path / "own")
    files = {split: f"splits/{lists_name}.{split}.txt" for split in ("train", "val", "test")}
    splits = {split: real_data / file for split, file in files.items()}
    prepare(name, real_data / folder, tmp_path / "given", splits=splits)
    assert list(report.splits) == list(splits)
    for split in splits:
        own, given = (tmp_path / out / f"{split}.txt" for out in ("own", "given"))
        assert own.read_text() == given.read_text()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "lists_name", "images", "boxes", "left_out"),
    [
        # 3335 objects were counted in the XML files with a plain loop, three of them twice.
        ("neu-det", "NEU-DET", "neu-det", 1440, 3332, {}),
        # Five masks of MT_Uneven hold at most 3 pixels: neither good parts nor boxes.
        ("magnetic-tile", "magnetic-tile", "magnetic-tile", 1063, 344, {"empty mask": 5}),
        ("pku-market-pcb", "PKU-Market-PCB", "pku-market-pcb-by-board", 396, 1614, {}),
    ],
)
def test_published_sets(real_data, tmp_path, name, folder, lists_name, images, boxes, left_out):
    files = {split: f"splits/{lists_name}.{split}.txt" for split in ("train", "val", "test")}
    splits = {split: real_data / file for split, file in files.items()}
    report = prepare(name, real_data / folder, tmp_path / "out", splits=splits)
    assert (report.images, report.boxes, report.left_out) == (images, boxes, left_out)
    lost = {file for files in report.left_out_files.values() for file in files}
    info = find_dataset(str(tmp_path / "out"))
    assert info.names == find_dataset(name).names
    for split, file in splits.items():
        listed = [real_data / folder / line for line in file.read_text().split()]
        kept = {image.stat().st_ino for image in listed if str(image) not in lost}
        written = list_images(info, split)
        assert len(written) == len(kept)
        # Links share the inode where the file system allows them.
        if report.links.get("hard link") == images:
            assert {image.stat().st_ino for image in written} == kept
    assert report.warnings[0].startswith("images: expected ")
