"""Two weights on the same images."""

from __future__ import annotations

import gc
import json
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.labels import write_rows
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Message
from kdlnet.inference import sides as sides_module
from kdlnet.inference.folds import Part
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.verbs.compare import compare
from kdlnet.verbs.val import validate

from ..support.weights_file import make_file


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Weights, others, and a dataset whose true boxes are what the first say of it."""
    folder = tmp_path_factory.mktemp("judged")
    good, other = make_file(folder / "good.pt"), folder / "other.pt"
    weights = load_weights(good)
    for layer in weights.detector.head.box_bins.parameters():
        layer.data += 20 * torch.randn(layer.shape, generator=torch.Generator().manual_seed(1))
    weights.thresholds = {"score": 2.0}  # no box counts: every part is OK
    save_weights(other, weights)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    detector = Predictor.load(good)
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        (prediction,) = detector.predict(folder / "images" / f"{number}.png")
        keep = slice(0, 3 if number % 4 else 0)
        boxes = prediction.boxes[keep] / 64
        write_rows(folder / "labels" / f"{number}.txt", boxes, prediction.labels[keep])
    file = folder / "data.yaml"
    file.write_text("train: images\nval: images\nnames: [square, disc]\n")
    return good, other, file


@pytest.mark.usefixtures("real_plots")
def test_figures_are_those_of_val_and_the_loss_is_shown(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    good, other, dataset = judged
    result = compare([good], [other], data=str(dataset), out=tmp_path / "run", rounds=200)
    ap = result.differences["ap"]
    for path, value in ((good, ap.a), (other, ap.b)):
        measured = validate(path, data=str(dataset), out=tmp_path / path.stem, pictures=False)
        assert value == pytest.approx(measured.precision.ap, abs=1e-9)
        if path == good:
            measured_a = measured.precision
    assert ap.a > 0.2 and ap.shown and result.verdict.startswith("A is better: AP -")
    written = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert written["differences"]["ap"]["low"] == ap.low and written["images"] == 12
    assert (tmp_path / "run" / "comparison.png").stat().st_size > 5000
    assert sum(result.flips.counts["defective"].values()) == 9
    assert sum(result.flips.counts["good"].values()) == 3
    pictures = list((tmp_path / "run" / "flips").glob("*.png"))
    assert {flip.b for flip in result.flips.images} == {"OK"}
    assert 0 < len(pictures) == len(result.flips.images) == len(written["flips"]["images"])
    assert written["schema"] == 1 and written["score_shift"][0]["words"]
    labels = [file.read_text() for file in (dataset.parent / "labels").iterdir()]
    rows = [row.split()[0] for text in labels for row in text.splitlines()]
    counts = {name: rows.count(str(label)) for label, name in enumerate(("square", "disc"))}
    assert {name: found.boxes for name, found in result.per_class.items()} == counts
    for name, found in result.per_class.items():
        assert found.figures["ap75"].a == pytest.approx(measured_a.per_class[name].ap75)


def test_one_image_shows_no_winner(judged: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, other, dataset = judged
    (tmp_path / "val.txt").write_text(
        "".join(f"{dataset.parent}/images/{number}.png\n" for number in (0, 1))
    )
    file = tmp_path / "data.yaml"
    file.write_text("train: val.txt\nval: val.txt\nnames: [square, disc]\n")
    result = compare([good], [other], data=str(file), out=tmp_path / "run", rounds=100)
    assert result.verdict.endswith("but it rests on one image or group")
    assert result.verdict.startswith("no gain shown: AP ")
    written = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert written["reason"] == "it rests on one image or group"


def test_defective_is_what_the_rule_of_a_says(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """As in val: a rule that passes over boxes of any size finds every part good."""
    good, other, dataset = judged
    weights, sized = load_weights(good), tmp_path / "sized.pt"
    weights.thresholds = {"score": 0.5, "min_area": 1e6}
    save_weights(sized, weights)
    lines: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message):
            lines.append(event.text)

    result = compare(
        [sized], [other], data=str(dataset), out=tmp_path / "a", rounds=100, on_event=hear
    )
    assert sum(result.flips.counts["defective"].values()) == 0
    (line,) = [line for line in lines if "other sizes of a defect" in line]
    assert "other.pt" in line and "9 images" in line and "sized.pt" in line


def test_the_same_weights_show_no_gain(judged: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, _, dataset = judged
    result = compare(
        [good, good], [good, good], data=str(dataset), out=tmp_path / "run", rounds=100
    )
    assert result.verdict.startswith("no gain shown: AP +0.000")
    assert result.flips.images == ()
    assert result.flips.tests["defective"].p is None  # two pairs
    for shift in result.shifts:
        assert shift.threshold_b == shift.threshold_a
        assert (shift.found_b, shift.false_b) == (shift.found_a, shift.false_a)


def test_each_class_counts_and_is_drawn_from_its_own_threshold(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """As in predict: it draws what each class finds from its own score on; the order of the classes
    in the dataset is another than that in the weights."""
    good, other, dataset = judged
    detector = Predictor.load(good)
    found = [detector.predict(path)[0] for path in (dataset.parent / "images").iterdir()]
    scores = [np.concatenate([p.scores[p.labels == label] for p in found]) for label in (0, 1)]
    low, high = (float(np.median(of_class)) for of_class in scores)
    assert low < scores[1].min() < high
    weights, own = load_weights(good), tmp_path / "own.pt"
    weights.thresholds = {"classes": {"square": {"score": low}, "disc": {"score": high}}}
    save_weights(own, weights)
    (tmp_path / "images").symlink_to(dataset.parent / "images")
    (tmp_path / "labels").mkdir()
    for file in (dataset.parent / "labels").iterdir():
        swapped = [f"{1 - int(row[0])}{row[1:]}\n" for row in file.read_text().splitlines()]
        (tmp_path / "labels" / file.name).write_text("".join(swapped))
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [disc, square]\n")
    result = compare([own], [other], data=str(tmp_path / "data.yaml"), out=tmp_path / "run")
    drawn = flips_of(tmp_path / "run" / "report.html")
    detector = Predictor.load(own)
    predicted = [len(detector.predict(image)[0].boxes) for image in tmp_path.glob("images/*.png")]
    assert sum(text.startswith("A: ") for text in drawn) == sum(predicted) > 0
    (shift,) = result.shifts
    assert shift.found_a + shift.false_a == sum(predicted)
    assert shift.threshold_a == low
    same = compare([own], [own], data=str(tmp_path / "data.yaml"), out=tmp_path / "same")
    (shift,) = same.shifts
    assert (shift.threshold_b, shift.found_b, shift.false_b) == (low, shift.found_a, shift.false_a)
    assert (shift.carried, shift.carried_false) == (shift.found_a, shift.false_a)


def flips_of(page: Path) -> list[str]:
    """What is said of each box on the parts that change."""
    (data,) = re.findall(r'id="set">(.*?)</script>', page.read_text(), re.S)
    return [box["text"] for flip in json.loads(data)["flips"] for box in flip["boxes"]]


def test_good_parts_alone_are_compared_by_what_is_rejected(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a, b, dataset = judged
    (tmp_path / "images").symlink_to(dataset.parent / "images")
    (tmp_path / "data.yaml").write_text(dataset.read_text())
    (tmp_path / "labels").mkdir()
    for number in range(12):
        (tmp_path / "labels" / f"{number}.txt").touch()
    result = compare([a], [b], data=str(tmp_path / "data.yaml"), out=tmp_path / "run", rounds=100)
    words = "no AP, no true box; good parts rejected by A alone 12, by B alone 0, McNemar p 0.0"
    assert result.verdict.startswith(words) and result.differences == {}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "B rejects fewer good parts" in page and "No defect is labelled" in page
    assert not (tmp_path / "run" / "comparison.png").exists()
    json.loads((tmp_path / "run" / "comparison.json").read_text(), parse_constant=pytest.fail)


def test_groups_and_what_cannot_be_compared(
    judged: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    good, other, dataset = judged
    result = compare(
        [good], [other], data=str(dataset), group_by=r"^(\d)", out=tmp_path / "run", rounds=100
    )
    assert (result.images, result.groups) == (12, 10)  # 10.png and 11.png go with 1.png
    with pytest.raises(WeightsError, match="2 weights on one side and 1"):
        compare([good, good], [other], data=str(dataset))
    with pytest.raises(ConfigError, match="99 rounds: give 100 or more"):
        compare([good], [other], data=str(dataset), rounds=99)
    with pytest.raises(DataError, match="finds no group"):
        compare([good], [other], data=str(dataset), group_by="(x)")
    stranger = load_weights(good)
    stranger.names = ("square", "ring")
    save_weights(tmp_path / "stranger.pt", stranger)
    with pytest.raises(WeightsError, match="weights of the same classes"):
        compare([good], [tmp_path / "stranger.pt"], data=str(dataset))


def test_pixels_of_one_side_are_gone_before_those_of_the_next_come(
    judged: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, other, dataset = judged
    sides: list[weakref.ref[DetectionDataset]] = []
    real = sides_module.open_part

    def opened(*given: Any, **more: Any) -> Part:
        gc.collect()
        assert not any(side() for side in sides)
        part = real(*given, **more)
        sides.append(weakref.ref(part.dataset))
        return part

    monkeypatch.setattr(sides_module, "open_part", opened)
    compare([good], [other], data=str(dataset), out=tmp_path / "run", rounds=100)
    assert len(sides) == 2
