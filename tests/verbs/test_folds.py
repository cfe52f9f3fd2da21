"""A cross-validation judged as one set: each image by the training that never saw it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data.labels import write_rows
from kdlnet.data.learned import Learned
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Message
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.weights import copy_weights, load_weights, save_weights
from kdlnet.types import Preprocess
from kdlnet.verbs.calibrate import Goal, calibrate
from kdlnet.verbs.compare import compare
from kdlnet.verbs.split import split_dataset
from kdlnet.verbs.val import validate

from ..support.closed import closed
from ..support.weights_file import NAMES, make_file, save_busy


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images in set/ with what weights.pt finds there; every third has its boxes moved."""
    folder = tmp_path_factory.mktemp("folds")
    for kind in ("images", "labels"):
        (folder / "set" / kind).mkdir(parents=True)
    detector = Predictor.load(make_file(folder / "weights.pt"))
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
        image = folder / "set" / "images" / f"{number}.png"
        cv2.imwrite(str(image), pixels)
        (seen,) = detector.predict(image)
        boxes = (seen.boxes[:2] / 64 + (0.3 if number % 3 == 0 else 0)).clip(0, 1)
        write_rows(folder / "set" / "labels" / f"{number}.txt", boxes, seen.labels[:2])
    text = f"train: images\nval: images\nnames: [{', '.join(NAMES)}]\n"
    (folder / "set" / "data.yaml").write_text(text)
    return folder


@pytest.fixture
def folds(labelled: Path, tmp_path: Path) -> Path:
    """The images in three folds, and a training of each in runs/."""
    shutil.copytree(labelled, tmp_path, dirs_exist_ok=True)
    split_dataset(str(tmp_path / "set" / "data.yaml"), tmp_path / "folds", folds=3)
    for number in (1, 2, 3):
        weights = tmp_path / "runs" / f"fold-{number}" / "weights"
        weights.mkdir(parents=True)
        shutil.copy(tmp_path / "weights.pt", weights / "best.pt")
    return tmp_path / "folds"


def _pooled(folds: Path, out: str = "val", **more: Any) -> Any:
    place = {"out": folds.parent / out, "device": "cpu", "pictures": False} | more
    return validate(folds.parent / "runs", data=str(folds), folds=True, **place)


def _whole(folds: Path, **more: Any) -> Any:
    """One of the trainings on all images, not divided."""
    file = folds.parent / "runs" / "fold-1" / "weights" / "best.pt"
    place = {"out": folds.parent / "whole", "device": "cpu", "pictures": False} | more
    return validate(file, data=str(folds.parent / "set"), **place)


def test_figures_are_of_all_parts_together(folds: Path) -> None:
    pooled = _pooled(folds)
    whole = _whole(folds)
    assert (pooled.precision.images, pooled.precision.truths) == (11, 22)
    assert 0.1 < pooled.precision.ap < 0.9
    assert pooled.precision.ap == pytest.approx(whole.precision.ap, abs=1e-6)
    assert [fold.images for fold in pooled.folds] == [4, 4, 3]
    written = json.loads((folds.parent / "val" / "metrics.json").read_text())
    assert [fold["ap"] for fold in written["folds"]] == [fold.ap for fold in pooled.folds]
    alone = validate(
        folds.parent / "runs" / "fold-2" / "weights" / "best.pt",
        data=str(folds / "fold-2"),
        out=folds.parent / "alone",
        device="cpu",
        pictures=False,
    )
    assert alone.precision.ap == pooled.folds[1].ap and alone.folds == []


def test_drift_is_of_all_parts_together(folds: Path) -> None:
    pooled, whole = _pooled(folds, drift=True), _whole(folds, drift=True)
    assert len(pooled.drift) == len(whole.drift) > 3
    for part, one in zip(pooled.drift, whole.drift, strict=True):
        assert part.ap == pytest.approx(one.ap, abs=1e-6) and part.flips == one.flips


def test_what_is_missing_is_named_with_its_command(folds: Path) -> None:
    with closed(folds / "fold-3"), pytest.raises(DataError, match="fold-3' cannot be read"):
        _pooled(folds)
    shutil.rmtree(folds.parent / "runs" / "fold-2")
    with pytest.raises(WeightsError, match=r"fold-2.*does not exist: kdlnet train --data"):
        _pooled(folds)
    with pytest.raises(DataError, match="no folders fold-1, fold-2: make them with"):
        validate(folds.parent / "runs", data=str(folds.parent / "set"), folds=True)


def test_an_image_in_two_folds_is_refused(folds: Path) -> None:
    shutil.copy(folds / "fold-1" / "val.txt", folds / "fold-3" / "val.txt")
    with pytest.raises(DataError, match="is in 2 folds"):
        _pooled(folds)


def test_a_link_beside_its_image_is_in_one_fold(folds: Path) -> None:
    images = folds.parent / "set" / "images"
    (images / "again.png").symlink_to(images / "0.png")
    (folds.parent / "set" / "labels" / "again.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    weights, data = folds.parent / "runs" / "fold-1" / "weights" / "best.pt", folds.parent / "set"
    whole = validate(weights, data=str(data), out=folds.parent / "whole", pictures=False)
    assert whole.precision.images == 12


def test_folds_with_scores_of_their_own_are_judged_by_the_mean(folds: Path) -> None:
    """As trainings leave them: each the best on its own part."""
    for number, score in ((1, 0.2), (2, 0.3), (3, 0.7)):
        _change(folds, number, thresholds={"score": score})
    told: list[object] = []
    pooled = _pooled(folds, on_event=told.append)
    assert pooled.verdicts.rule == {"score": pytest.approx(0.4)}
    (line,) = [one.text for one in told if isinstance(one, Message) and "mean" in one.text]
    assert "0.2 to 0.7" in line and "0.4" in line
    page = (folds.parent / "val" / "report.html").read_text()
    assert "The setting was chosen on these very parts" in page
    assert '"chosen":[[0,1],[0,1],[0,1]]' in page
    assert "mean of the folds’ thresholds, which were chosen on fold-1, val and fold-2" in page
    assert any("several thresholds" in one.text for one in told if isinstance(one, Message))
    _change(folds, 3, thresholds={"score": 0.7, "min_count": 2})
    with pytest.raises(WeightsError, match=r"fold-3.*by class, size or count"):
        _pooled(folds, "again")


def test_a_fold_that_was_calibrated_on_its_own_part_is_known(folds: Path) -> None:
    for number in (1, 2, 3):
        file = folds.parent / "runs" / f"fold-{number}" / "weights" / "best.pt"
        data, goal = str(folds / f"fold-{number}"), Goal("f1")
        calibrate(file, goal, data=data, out=file.with_name("chosen.pt"), device="cpu")
        shutil.move(file.with_name("chosen.pt"), file)
    _pooled(folds)
    page = (folds.parent / "val" / "report.html").read_text()
    assert "The setting was chosen on these very parts" in page
    mean = "It is the mean of the folds’ thresholds, which were chosen on "
    assert f"{mean}fold-1, val and fold-2, val and fold-3, val." in page


def test_files_of_other_classes_are_not_pooled(folds: Path) -> None:
    names = (NAMES[0], "something else")
    _change(folds, 3, names=names)
    text = (folds / "fold-3" / "data.yaml").read_text().replace(NAMES[1], names[1])
    (folds / "fold-3" / "data.yaml").write_text(text)
    with pytest.raises(WeightsError, match="differ in their classes"):
        _pooled(folds)


def _change(folds: Path, number: int, **values: Any) -> None:
    file = folds.parent / "runs" / f"fold-{number}" / "weights" / "best.pt"
    save_weights(file, replace(load_weights(file), **values))


def test_images_of_its_own_fold_that_a_training_learned_are_counted(folds: Path) -> None:
    runs = folds.parent / "runs"
    images = sorted((folds.parent / "set" / "images").iterdir())
    for number in (1, 2, 3):
        file = runs / f"fold-{number}" / "weights" / "best.pt"
        assert _pooled(folds, overwrite=True).learned is None
        copy_weights(file, file, learned=Learned.of(images).to_header())
    assert _pooled(folds, overwrite=True).learned == 11


def _compared(folds: Path, a: str = "runs", b: str = "others", **more: Any) -> Any:
    place = {"out": folds.parent / "compare", "device": "cpu", "rounds": 100} | more
    return compare(
        [folds.parent / a], [folds.parent / b], data=str(folds), folds=True, overwrite=True, **place
    )


@pytest.fixture
def others(folds: Path) -> Path:
    """Another cross-validation of the same folds: classes in the other order, worse boxes."""
    file = save_busy(folds.parent / "other.pt", Preprocess((64, 64)), names=NAMES[::-1])
    weights = load_weights(file)
    for layer in weights.detector.head.box_bins.parameters():
        layer.data += 2 * torch.randn(layer.shape, generator=torch.Generator().manual_seed(1))
    for number in (1, 2, 3):
        place = folds.parent / "others" / f"fold-{number}" / "weights"
        place.mkdir(parents=True)
        save_weights(place / "best.pt", weights)
    return folds


def test_two_cross_validations_are_compared_over_all_parts(others: Path) -> None:
    result = _compared(others)
    for side, run in (("a", "runs"), ("b", "others")):
        alone = validate(
            others.parent / run,
            data=str(others),
            folds=True,
            out=others.parent / side,
            device="cpu",
        )
        whole = result.differences["ap"]
        assert getattr(whole, side) == pytest.approx(alone.precision.ap, abs=1e-9)
        for name, found in result.per_class.items():  # the others count classes the other way
            known = alone.precision.per_class[name].ap
            assert getattr(found.figures["ap"], side) == pytest.approx(known, abs=1e-9)
        at = "ab".index(side)
        assert [fold.ap[at] for fold in result.folds] == [fold.ap for fold in alone.folds]
        assert [fold.ap50[at] for fold in result.folds] == [fold.ap50 for fold in alone.folds]
    assert 0 < result.differences["ap"].a != result.differences["ap"].b > 0
    assert (result.images, result.data) == (11, "folds")
    assert [fold.images for fold in result.folds] == [4, 4, 3]
    written = json.loads((others.parent / "compare" / "comparison.json").read_text())
    assert written["folds"][0]["ap"] == dict(zip("ab", result.folds[0].ap, strict=True))
    assert {Path(flip.image).parent.name for flip in result.flips.images} <= {"images"}
    page = (others.parent / "compare" / "report.html").read_text()
    assert "in 3 folds" in page and "fold-2" in page


def test_several_seeds_of_folds_are_averaged(others: Path) -> None:
    runs, other = others.parent / "runs", others.parent / "others"
    one, two = _compared(others), _compared(others, "others", "runs")
    both = compare(
        [runs, other], [other, runs], data=str(others), folds=True, rounds=100, device="cpu",
        out=others.parent / "both",
    )  # fmt: skip
    assert both.differences["ap"].difference == pytest.approx(0, abs=1e-12)
    assert one.differences["ap"].difference == -two.differences["ap"].difference != 0
    for at, fold in enumerate(both.folds):
        mean = sum(one.folds[at].ap) / 2
        assert fold.ap == (pytest.approx(mean), pytest.approx(mean))


def test_images_are_grouped_as_the_folds_were_made(others: Path) -> None:
    data, told = others.parent / "set", list[object]()
    shutil.rmtree(others)
    split_dataset(str(data / "data.yaml"), others, folds=3, group_by=r"^(\d)")
    result = _compared(others, on_event=told.append)
    assert (result.images, result.groups) == (11, 10)  # 10.png goes with 1.png
    assert r"groups as data split made them: '^(\d)'" in _texts(told)
    assert _pooled(others).analysis.intervals.groups == 10
    assert _compared(others, group_by=r"^(\d+)").groups == 11


def test_a_split_by_groups_is_judged_by_groups(folds: Path) -> None:
    """Tiles of one part stand and fall together: by images alone their interval is too short."""
    home, told = folds.parent, list[object]()
    table = home / "groups.csv"
    table.write_text("image,group\n" + "".join(f"{n}.png,{n // 2}\n" for n in range(11)))
    shares = {"train": 0.5, "val": 0.5}
    split_dataset(str(home / "set"), home / "pairs", shares=shares, group_by=str(table))
    held = [Path(line) for line in (home / "pairs" / "val.txt").read_text().split()]
    pairs = {int(image.stem) // 2 for image in held}
    place = {"device": "cpu", "pictures": False, "out": home / "val", "on_event": told.append}
    result = validate(home / "weights.pt", data=str(home / "pairs"), **place)
    assert result.analysis.intervals.groups == len(pairs) < len(held)
    assert "groups as data split made them" in _texts(told)
    assert f"{len(held)} images of val are {len(pairs)} groups" in _texts(told)
    told.clear()
    shutil.copytree(home / "set", home / "others")
    both = [str(home / "pairs"), str(home / "others")]
    validate(home / "weights.pt", data=both, **place, overwrite=True)
    assert "divided pairs by groups, which are not known of several" in _texts(told)


def test_the_rule_knows_images_that_came_after_the_table(folds: Path) -> None:
    home = folds.parent
    shares = {"train": 0.5, "val": 0.5}
    split_dataset(str(home / "set"), home / "tens", shares=shares, group_by=r"^(\d)")
    val = home / "tens" / "val.txt"
    new = home / "set" / "images" / "19.png"
    shutil.copy(home / "set" / "images" / "1.png", new)
    shutil.copy(home / "set" / "labels" / "1.txt", home / "set" / "labels" / "19.txt")
    val.write_text(f"{home / 'set' / 'images' / '1.png'}\n{new}\n")
    place = {"device": "cpu", "pictures": False, "out": home / "val"}
    result = validate(home / "weights.pt", data=str(home / "tens"), **place)
    assert result.analysis.intervals.groups == 1


def test_a_rule_of_the_folds_that_no_longer_holds_is_told(others: Path) -> None:
    data, told, table = others.parent / "set", list[object](), others.parent / "groups.csv"
    rows = "".join(f"{number}.png,{number % 6}\n" for number in range(11))
    table.write_text(f"image,group\n{rows}")
    shutil.rmtree(others)
    split_dataset(str(data / "data.yaml"), others, folds=3, group_by=str(table))
    assert _pooled(others).analysis.intervals.groups == 6
    table.unlink()  # the division has its own
    assert _pooled(others, "still").analysis.intervals.groups == 6
    (others / "groups.csv").unlink()
    assert _pooled(others, "again", on_event=told.append).analysis.intervals.groups == 11
    assert "no longer holds" in _texts(told) and "each image stands for itself" in _texts(told)


def _texts(told: list[object]) -> str:
    return "\n".join(event.text for event in told if isinstance(event, Message))


def test_what_cannot_be_compared_over_folds(others: Path) -> None:
    with pytest.raises(ConfigError, match="folds of several datasets"):
        compare([others], [others], data=[str(others)], folds=True)
    with pytest.raises(DataError, match="never saw"):
        _compared(others, split="train")
    with pytest.raises(DataError, match="never saw"):
        _pooled(others, split="train")
    shutil.rmtree(others.parent / "others" / "fold-3")
    with pytest.raises(WeightsError, match=r"others.fold-3.*does not exist"):
        _compared(others)


def test_a_rule_that_tells_no_groups_apart_is_told(others: Path) -> None:
    told: list[object] = []
    assert _compared(others, group_by="(png)", on_event=told.append).groups == 1
    assert "puts all images into the group 'png'" in _texts(told)
