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

from kdlnet.data.learned import Learned
from kdlnet.errors import DataError, WeightsError
from kdlnet.events import Message
from kdlnet.inference.weights import copy_weights, load_weights, save_weights
from kdlnet.verbs.split import split_dataset
from kdlnet.verbs.val import validate

from ..support.weights_file import NAMES, make_file


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """Eleven images in three folds, and a training of each in runs/."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "labels").mkdir()
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{number}.png"), pixels)
        row = f"{number % 2} 0.5 0.5 0.5 0.5\n"
        (tmp_path / "set" / "labels" / f"{number}.txt").write_text(row)
    text = f"train: images\nval: images\nnames: [{', '.join(NAMES)}]\n"
    (tmp_path / "set" / "data.yaml").write_text(text)
    split_dataset(str(tmp_path / "set" / "data.yaml"), tmp_path / "folds", folds=3)
    for number in (1, 2, 3):
        weights = tmp_path / "runs" / f"fold-{number}" / "weights"
        weights.mkdir(parents=True)
        make_file(weights / "best.pt")
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
    assert (pooled.precision.images, pooled.precision.truths) == (11, 11)
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
    _change(folds, 3, thresholds={"score": 0.7, "min_count": 2})
    with pytest.raises(WeightsError, match=r"fold-3.*by class, size or count"):
        _pooled(folds, "again")


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
