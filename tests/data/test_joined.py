"""Several datasets as one: whose classes an image is labelled for, and what follows from it."""

from __future__ import annotations

import ntpath
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data import joined
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset, load_split
from kdlnet.data.joined import described, find_datasets, join, renumber
from kdlnet.errors import DataError
from kdlnet.losses.assigner import TaskAlignedAssigner
from kdlnet.losses.detection import DetectionLoss
from kdlnet.ops.points import make_points
from kdlnet.training.augment import Augmenter
from kdlnet.training.sampling import Partners, Sampler
from kdlnet.types import Preprocess, RawPredictions, Targets

CONTRACT = Preprocess((64, 64), channels=1)


def _make(folder: Path, names: str, grey: int, count: int = 4, label: int = 0) -> str:
    """Images of one grey level, each with one box of the class ``label``; the last is good."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for n in range(count):
        cv2.imwrite(str(folder / "images" / f"{n}.png"), np.full((64, 64), grey, np.uint8))
        if n < count - 1:
            (folder / "labels" / f"{n}.txt").write_text(f"{label} 0.5 0.5 0.25 0.25\n")
    file = folder / "data.yaml"
    file.write_text(f"train: images\nval: images\nnames: [{names}]\n")
    return str(file)


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """A dark set with scratch and pit, a bright one with stain and pit, its boxes pits."""
    dark = _make(tmp_path / "dark", "scratch, pit", 50)
    return dark, _make(tmp_path / "bright", "stain, pit", 200, label=1)


def test_classes_are_joined_by_name_and_images_know_those_of_their_set(
    two: tuple[str, str],
) -> None:
    info = find_datasets(two)
    assert info.name == "dark+bright" and info.names == ("scratch", "pit", "stain")
    lines = described(info)
    assert "3 classes of dark (2), bright (2)" in lines[0] and lines[1].endswith(": pit")
    split = load_split(info, "train")
    assert [path.parent.parent.name for path in split.paths] == ["dark"] * 4 + ["bright"] * 4
    assert [each.labels.tolist() for each in split.labels] == [[0]] * 3 + [[]] + [[1]] * 3 + [[]]
    known = [None if each.looked_for is None else each.looked_for.tolist() for each in split.labels]
    assert known == [[True, True, False]] * 4 + [[False, True, True]] * 4


def test_classes_that_look_alike_are_told(tmp_path: Path) -> None:
    """One o with dots, as one character and as two: both sets would learn half of their defects."""
    sets = [
        _make(tmp_path / str(n), f"{name}, pit", 50) for n, name in enumerate(["\xd6l", "o\u0308l"])
    ]
    (line,) = [line for line in described(find_datasets(sets)) if "stay two classes" in line]
    assert line.startswith(r"'\xd6l' and 'o\u0308l' differ in case or Unicode form alone")


def test_datasets_on_two_drives_are_joined(
    two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Windows, where no folder is around both."""
    dark, bright = map(find_dataset, two)
    assert join([dark, bright]).root == dark.root.parent
    monkeypatch.setattr(joined.os.path, "commonpath", ntpath.commonpath)
    parts = [replace(dark, root=Path("C:/dark")), replace(bright, root=Path("D:/bright"))]
    info = join(parts)
    assert info.root == Path("C:/dark") and info.names == ("scratch", "pit", "stain")


def test_one_dataset_is_itself(two: tuple[str, str]) -> None:
    info = find_datasets(two[0])
    assert info.parts == () and described(info) == [] and len(info.sources) == 1
    assert find_datasets([two[0]]) == info
    assert load_split(info, "train").labels[0].looked_for is None


def test_sets_of_the_same_classes_look_for_all(tmp_path: Path) -> None:
    parts = [_make(tmp_path / name, "a, b", 9) for name in ("one", "other")]
    dataset = DetectionDataset(load_split(find_datasets(parts), "train"), CONTRACT)
    assert dataset.looked_for is None and len(dataset) == 8


def test_a_set_or_an_image_named_twice_is_refused(two: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'dark' is named twice"):
        find_datasets([two[0], two[0]])
    other = tmp_path / "dark" / "other.yaml"
    other.write_text("train: images\nval: images\nnames: [dent]\n")
    with pytest.raises(DataError, match=r"0\.png' is in the datasets 'dark' and 'other'"):
        load_split(find_datasets([two[0], str(other)]), "train")


def test_an_image_that_two_sets_have_in_other_splits_is_refused(two: tuple[str, str]) -> None:
    """What one set trains on another would measure on."""
    val = Path(two[0]).parent / "images" / "0.png"
    Path(two[1]).write_text(f"train: images\nval: {val}\nnames: [stain, pit]\n")
    for split in ("train", "val"):
        with pytest.raises(DataError, match=r"0\.png' is in the datasets 'dark' and 'bright'"):
            load_split(find_datasets(two), split)


@pytest.mark.parametrize("copy", [os.link, shutil.copyfile])
def test_a_copy_in_an_earlier_split_of_another_set_is_told(
    tmp_path: Path, copy: Callable[[Path, Path], object]
) -> None:
    """Of one size are all these images; the bytes of one alone are those of a training image."""
    one, other = (_make(tmp_path / name, "a, b", 9) for name in ("one", "other"))
    for n, name in enumerate(("one", "other")):
        images = tmp_path / name / "images"
        for k, file in enumerate(sorted(images.iterdir())):
            cv2.imwrite(str(file.with_suffix(".bmp")), np.full((64, 64), 8 * n + k, np.uint8))
            file.unlink()
        (images / "val").mkdir()
        cv2.imwrite(str(images / "val" / "v.bmp"), np.full((64, 64), 100 + n, np.uint8))
        yaml = tmp_path / name / "data.yaml"
        yaml.write_text("train: images/*.bmp\nval: images/val\nnames: [a, b]\n")
    info = find_datasets([one, other])
    assert load_split(info, "val").warnings == []
    twin = tmp_path / "one/images/2.bmp"
    copy(twin, tmp_path / "other/images/val/w.bmp")
    copy(twin, tmp_path / "other/images/same.bmp")  # in train of both: no leak
    (line,) = load_split(info, "val").warnings
    assert line.startswith("1 of 3 images are there in train of another dataset, too, first ")
    assert "other/images/val/w.bmp" in line and str(twin) in line and "flatter" in line
    assert load_split(info, "train").warnings == []


def test_a_split_that_one_set_lacks_is_that_of_the_others_and_said(two: tuple[str, str]) -> None:
    file = Path(two[1])
    file.write_text(file.read_text().replace("val: images\n", ""))
    info = find_datasets(two)
    assert described(info)[-1] == "bright has no val: that of the others is used"
    split = load_split(info, "val")
    assert {path.parent.parent.name for path in split.paths} == {"dark"}
    assert split.labels[0].looked_for is not None
    assert split.labels[0].looked_for.tolist() == [True, True, False]
    assert len(load_split(info, "train").paths) == 8
    with pytest.raises(DataError, match="unknown split 'test'"):
        load_split(info, "test")


def test_a_set_with_fewer_classes_than_the_reader_looks_for_its_own(two: tuple[str, str]) -> None:
    split = load_split(find_datasets(two[0]), "train")
    seen = renumber(split, ("scratch", "pit"), ("pit", "crack", "scratch"))
    assert seen.labels[0].labels.tolist() == [2]
    assert seen.labels[0].looked_for is not None
    assert seen.labels[0].looked_for.tolist() == [True, False, True]
    again = renumber(seen, ("pit", "crack", "scratch"), ("scratch", "x", "crack", "pit"))
    assert again.labels[0].looked_for is not None
    assert again.labels[0].looked_for.tolist() == [True, False, False, True]


def test_only_images_of_one_set_are_mixed(two: tuple[str, str]) -> None:
    """A mosaic, a pasted defect or a blend from the other set would show grey levels of both."""
    dataset = DetectionDataset(load_split(find_datasets(two), "train"), CONTRACT)
    mixing = Augmenter(dataset, 0, mosaic=1.0, mixup=1.0, copy_paste=1.0)
    batch = mixing(0, np.arange(8), True, "cpu")
    assert batch.looked_for is not None
    assert batch.looked_for.tolist() == [[True, True, False]] * 4 + [[False, True, True]] * 4
    dark, bright = 50 / 255, 200 / 255
    for image, wrong in zip(batch.images, [bright] * 4 + [dark] * 4, strict=True):
        assert not torch.isclose(image, torch.tensor(wrong), atol=0.01).any()
    assert {0, 1} == set(batch.targets.labels.tolist())
    labels = batch.targets.labels[batch.targets.image_index < 4]
    assert labels.tolist() == [0] * len(labels) and len(labels) > 4


def test_partners_are_of_the_same_kind_and_may_not_exist() -> None:
    kinds = np.array([0, 0, 1, 1, 2])
    partners = Partners(Sampler(np.ones(5)), kinds, np.array([True, False, True, True, False]))
    assert partners.exist_for(np.arange(5)).tolist() == [True, True, True, True, False]
    found = partners.pick(np.array([0.1, 0.9, 0.4, 0.6]), np.array([1, 0, 2, 3]))
    assert found.tolist() == [0, 0, 2, 3]


@pytest.mark.parametrize("classification", ["varifocal", "quality"])
def test_an_image_is_no_negative_for_classes_it_is_not_labelled_for(classification: str) -> None:
    points, strides = make_points([(4, 4)], [8])
    logits = torch.zeros(2, 16, 3, requires_grad=True)
    raw = RawPredictions(logits, torch.zeros(2, 16, 4, 8), points, strides)
    targets = Targets(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([1]), torch.tensor([0]))
    loss = DetectionLoss(TaskAlignedAssigner(), classification)
    known = torch.tensor([[True, True, False], [False, True, True]])
    found = loss(raw, targets, known)
    found.loss.backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum(1) > 0
    assert touched.tolist() == known.tolist()
    everything = loss(replace(raw, logits=logits.detach()), targets, torch.ones_like(known))
    assert everything.parts["class"] == loss(raw, targets).parts["class"]
    assert everything.parts["class"] > found.parts["class"]
