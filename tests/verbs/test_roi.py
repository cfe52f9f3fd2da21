"""A region of interest through the verbs: all is as if the files had been cropped."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from kdlnet.config import TrainConfig, build_config
from kdlnet.data.survey import survey_of
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Message, ignore
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.skipped import Skipped
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.training.parts import prepare_run
from kdlnet.training.places import run_splits
from kdlnet.types import Preprocess, Tiling
from kdlnet.verbs.baseline import measure_gain
from kdlnet.verbs.bench import Workload, bench
from kdlnet.verbs.compare import compare
from kdlnet.verbs.distill import distill, teacher_defaults
from kdlnet.verbs.export import export
from kdlnet.verbs.train import train
from kdlnet.verbs.val import validate
from kdlnet.verbs.watch import watch_folder

from ..support.scenes import ROI, make_scenes
from ..support.squares import make_dataset
from ..support.weights_file import save_busy

X, Y = ROI[:2]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("crops") / "set").parent


@pytest.fixture(scope="module")
def scenes(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(crops, tmp_path_factory.mktemp("scenes") / "set").parent


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that find many boxes in the region."""
    path = tmp_path_factory.mktemp("weights") / "busy.pt"
    return save_busy(path, Preprocess((64, 64), 1, roi=ROI))


@pytest.fixture(scope="module")
def whole(busy: Path) -> Path:
    """The same, of whole images."""
    weights = load_weights(busy)
    weights.preprocess = replace(weights.preprocess, roi=None)
    save_weights(busy.with_name("whole.pt"), weights)
    return busy.with_name("whole.pt")


def settings(data: Path, roi: object = None, **values: Any) -> TrainConfig:
    named = {"data": {"name": str(data), "roi": roi}, "device": "cpu"}
    return build_config({"epochs": 1, "image_size": 64, "batch": 8, **named, **values})


@pytest.mark.parametrize("tile", [None, 48])
def test_a_training_is_that_on_crops_to_the_bit(
    crops: Path, scenes: Path, tmp_path: Path, tile: int | None
) -> None:
    """Sizes, the length and the rest that suits the data are chosen by the region, too."""
    told: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    more: dict[str, Any] = {"augment": {"copy_paste": 1.0}, "epochs": 2}
    more |= {} if tile is None else {"tile": {"size": tile}}
    one = train(settings(crops, **more), out=tmp_path / "a", on_event=hear)
    chosen = [line for line in told if line.startswith("chosen")]
    told.clear()
    seen = settings(scenes, "32,32,96,96", **more)
    two = train(seen, out=tmp_path / "b", on_event=hear)
    assert [line for line in told if line.startswith("chosen")] == chosen
    assert any("12 of 21 boxes have their middle outside of the region" in line for line in told)
    cropped, looked = load_weights(one.best), load_weights(two.best)
    assert looked.preprocess == replace(cropped.preprocess, roi=ROI)
    states = cropped.detector.state_dict(), looked.detector.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert teacher_defaults(two.best)["data"] == {"roi": list(ROI)}
    assert teacher_defaults(one.best)["data"] == {}


@pytest.mark.parametrize("tile", [None, (48, 48)])
def test_val_and_predict_answer_as_for_crops(
    busy: Path, whole: Path, crops: Path, scenes: Path, tmp_path: Path, tile: Any
) -> None:
    options: dict[str, Any] = {"tile": tile, "device": "cpu"}
    values = {"pictures": False, "drift": True, **options}
    here = validate(busy, data=str(scenes), out=tmp_path / "a", **values).to_dict()
    there = validate(whole, data=str(crops), out=tmp_path / "b", **values).to_dict()
    for key in ("ap", "ap50", "per_class", "verdicts", "confusion", "images", "drift"):
        assert here[key] == there[key], key
    assert here["preprocess"]["roi"] == list(ROI)
    one = Predictor.load(busy, **options).predict(scenes / "images/val")
    two = Predictor.load(busy, roi="off", **options).predict(crops / "images/val")
    three = Predictor.load(whole, roi=ROI, **options).predict(scenes / "images/val")
    assert sum(map(len, one)) > 20
    for first, second, third in zip(one, two, three, strict=True):
        np.testing.assert_allclose(first.boxes, second.boxes + np.array([X, Y, X, Y]), atol=1e-9)
        np.testing.assert_array_equal(first.scores, second.scores)
        np.testing.assert_array_equal(first.boxes, third.boxes)
        assert first.size == (128, 128) and first.verdict == second.verdict


def test_corrected_labels_lose_none_outside(busy: Path, scenes: Path, tmp_path: Path) -> None:
    """One box reaches over the border of the region, all others of it lie inside or outside."""
    whole = tmp_path / "whole"
    shutil.copytree(scenes, whole)
    label = whole / "labels/val/1.txt"
    label.write_text("1 0.0625 0.0625 0.0625 0.0625\n0 0.3 0.5 0.2 0.25\n1 0.9 0.9 0.125 0.125\n")
    blind = load_weights(busy)
    for layer in blind.detector.head.class_logits:
        layer.bias.data.fill_(-1e4)
    save_weights(tmp_path / "blind.pt", blind)
    validate(
        tmp_path / "blind.pt", data=str(whole), out=tmp_path / "val", pictures=False, device="cpu"
    )
    shapes = json.loads((tmp_path / "val/suspicious/1.json").read_text())["shapes"]
    known = [shape for shape in shapes if not shape["label"].startswith("?")]
    assert [shape["label"] for shape in known] == ["square", "disc", "disc"]
    want = [[25.6, 48, 51.2, 80], [4, 4, 12, 12], [107.2, 107.2, 123.2, 123.2]]
    np.testing.assert_allclose([np.ravel(shape["points"]) for shape in known], want, atol=1e-6)


def test_what_suits_the_data_is_chosen_by_the_region(crops: Path, scenes: Path) -> None:
    found = [
        survey_of(*run_splits(settings(data, roi)), roi)
        for data, roi in ((crops, None), (scenes, ROI))
    ]
    one, two = found
    assert one is not None and two is not None
    assert one.sizes.tolist() == two.sizes.tolist() == [[64, 64]] * 12
    for here, there in zip(one.placed, two.placed, strict=True):
        np.testing.assert_array_equal(here, there)
    assert (one.small, one.smallest, one.boxes) == (two.small, two.smallest, two.boxes)


def test_the_window_of_deep_images_is_that_of_the_region(scenes: Path, tmp_path: Path) -> None:
    """What is around it is white; 12 bits lie in it."""
    for image in sorted(scenes.rglob("*.png")):
        deep = np.full((128, 128), 65535, np.uint16)
        deep[32:96, 32:96] = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)[32:96, 32:96] * 16.0
        place = tmp_path / image.relative_to(scenes)
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), deep)
    shutil.copytree(scenes / "labels", tmp_path / "labels")
    shutil.copy(scenes / "data.yaml", tmp_path)
    windows = [
        prepare_run(settings(tmp_path, roi), None, None, ignore).train.preprocess.window
        for roi in (None, ROI)
    ]
    assert windows == [(0, 65535), (0, 4095)]


def test_folds_of_other_regions_are_not_pooled(
    busy: Path, whole: Path, scenes: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for number, weights in ((1, busy), (2, whole)):
        fold = tmp_path / f"folds/fold-{number}"
        shutil.copytree(scenes, fold)
        (runs / f"fold-{number}/weights").mkdir(parents=True)
        shutil.copy(weights, runs / f"fold-{number}/weights/best.pt")
    options: dict[str, Any] = {"folds": True, "device": "cpu", "out": tmp_path / "out"}
    with pytest.raises(WeightsError, match=r"look at other regions of their images.*--roi"):
        validate(runs, data=str(tmp_path / "folds"), **options)


def test_its_frame_is_drawn(busy: Path, scenes: Path) -> None:
    image = np.full((500, 500), 90, np.uint8)
    seen = Predictor.load(busy, device="cpu", roi=(100, 150, 400, 450), score_threshold=0.999)
    (found,) = seen.predict([image])
    assert not len(found)  # nothing but the frame is drawn
    changed = np.argwhere((found.draw() != 90).any(axis=2))
    assert changed.min(axis=0).tolist() == [147, 97] and changed.max(axis=0).tolist() == [452, 402]


def test_an_image_without_all_of_it_is_skipped_by_name(
    busy: Path, scenes: Path, crops: Path
) -> None:
    told: list[object] = []
    files = [scenes / "images/val/1.png", crops / "images/val/1.png", scenes / "images/val/2.png"]
    for tile in (None, (48, 48)):
        told.clear()
        seen = Predictor.load(busy, device="cpu", tile=tile)
        found = seen.predict(list(map(str, files)), on_event=told.append)
        assert [each.name for each in found] == [str(files[0]), str(files[2])]
        (skipped,) = [event for event in told if isinstance(event, Skipped)]
        assert skipped.name == str(files[1]) and skipped.index == 1
        assert "has 64 x 64 pixels and not all of the region" in skipped.reason
    with pytest.raises(DataError, match="not all of the region"):
        seen.predict(list(map(str, files)), strict=True)


def test_a_watched_image_without_all_of_it_is_unreadable(
    busy: Path, scenes: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdlnet.inference.desk._PATIENCE", 0.0)
    line, stop = tmp_path / "line", threading.Event()
    line.mkdir()
    for name, folder in (("a.png", scenes), ("b.png", crops)):
        (line / name).write_bytes((folder / "images/val/1.png").read_bytes())
    answers: dict[str, str] = {}

    def hear(entry: Any) -> None:
        answers[entry.name] = entry.verdict
        if len(answers) == 2:
            stop.set()

    out = tmp_path / "out"
    predictor = Predictor.load(busy, device="cpu")
    watch_folder(predictor, busy, line, out=out, settle=0.1, stop=stop, on_answer=hear)
    assert answers["b.png"] == "UNREADABLE" and answers["a.png"] in ("OK", "NG")
    why = json.loads((out / "verdicts/b.png.json").read_text())["why"]
    assert "b.png' has 64 x 64 pixels and not all of the region" in why


def test_exported_files_look_at_it_and_old_readers_refuse_them(
    busy: Path, scenes: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    file = tmp_path / "a.onnx"
    export(busy, data=str(scenes), out=file)
    one = Predictor.load(busy, device="cpu").predict(scenes / "images/val")
    two = Predictor.load(file, device="cpu").predict(scenes / "images/val")
    for first, second in zip(one, two, strict=True):
        np.testing.assert_allclose(first.boxes, second.boxes, atol=0.01)
    header = json.loads(onnx.load(str(file)).metadata_props[0].value)
    assert header["format"] == 2 and header["preprocess"]["roi"] == list(ROI)


def test_made_up_images_prove_and_are_measured(busy: Path, whole: Path, tmp_path: Path) -> None:
    wide = Predictor.load(busy, device="cpu", roi=(500, 400, 600, 500))
    assert wide.preprocess.roi == (500, 400, 600, 500)
    result = bench(
        whole, against=[busy], roi=(500, 400, 600, 500), workload=Workload(calls=2, warmup=0)
    )
    assert result.preprocess["roi"] == [500, 400, 600, 500]


def test_bench_names_and_leaves_out_what_has_not_all_of_it(
    busy: Path, scenes: Path, crops: Path, tmp_path: Path
) -> None:
    for name, folder in (("a.png", scenes), ("b.png", crops)):
        (tmp_path / name).write_bytes((folder / "images/val/1.png").read_bytes())
    told: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    result = bench(busy, source=tmp_path, workload=Workload(calls=2, warmup=0), on_event=hear)
    assert result.images["count"] == 1
    (line,) = [line for line in told if line.startswith("left out")]
    assert "b.png' has 64 x 64 pixels and not all of the region" in line


def test_weights_to_begin_with_tell_their_region(busy: Path, scenes: Path, tmp_path: Path) -> None:
    told: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    values = {"model": {"name": "lightnet-n", "channels": 1}}
    for number, roi in enumerate((None, "32,32,96,96")):
        told.clear()
        config = settings(scenes, roi, **values)
        train(config, init=busy, out=tmp_path / str(number), on_event=hear)
        region = [line for line in told if "region 32,32,96,96 alone, this run does not" in line]
        assert bool(region) == (roi is None)


def test_weights_of_other_regions_are_not_compared(
    busy: Path, whole: Path, scenes: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="look at other regions of the images"):
        compare(busy, whole, data=str(scenes), out=tmp_path / "out", device="cpu")


def test_a_student_sees_the_region_of_its_teacher(
    busy: Path, whole: Path, scenes: Path, tmp_path: Path
) -> None:
    for teacher, roi in ((busy, None), (whole, "32,32,96,96")):
        config = settings(scenes, roi, model={"name": "lightnet-n", "channels": 1})
        with pytest.raises(WeightsError, match=r"roi .*the student would see roi .*--roi"):
            distill(config, teachers=teacher, out=tmp_path / "run")


def test_calibrated_rates_hold_for_the_region_they_were_chosen_in(
    busy: Path, tmp_path: Path
) -> None:
    weights = load_weights(busy)
    weights.calibration = {"preprocess": weights.preprocess.to_dict()}
    save_weights(tmp_path / "a.pt", weights)
    assert Predictor.load(tmp_path / "a.pt", device="cpu").rates_line() is None
    line = Predictor.load(tmp_path / "a.pt", device="cpu", roi="off").rates_line()
    assert line is not None and "another size, window, region or tiles" in line


def test_a_region_that_is_none_is_told(busy: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="region of interest"):
        Predictor.load(busy, device="cpu", roi=(0, 0, 10, 10))
    with pytest.raises(ConfigError, match="region of interest"):
        settings(scenes, [5, 5, 4, 4])
    far = settings(scenes, [500, 500, 600, 600])
    with pytest.raises(DataError, match=r"no readable image among 12.*not all of the region"):
        train(far, out=tmp_path / "run")
    empty = settings(scenes, "96,96,128,128")
    with pytest.raises(DataError, match="none has its middle in the region 96,96,128,128; --roi"):
        train(empty, out=tmp_path / "run")
    with pytest.raises(DataError, match="has no box, so nothing can be compared"):
        measure_gain(empty, out=tmp_path / "gain", seeds=[0])


def test_tiling_is_of_the_region() -> None:
    contract = Preprocess((64, 64), 1, tiling=Tiling((48, 48), 0.2), roi=ROI)
    assert contract.to_dict()["roi"] == list(ROI)


def test_a_camera_of_another_size_ends_in_one_line(
    busy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdlnet.images.frame import Frame
    from kdlnet.images.sources import Source

    small = np.zeros((40, 40, 1), np.uint8)
    frames = [Frame("camera 0", f"{n:06d}", small, n, n / 25) for n in range(3)]
    camera = Source("camera", "0", "camera-0", None, lambda *_: iter(frames))
    seen = Predictor.load(busy, device="cpu")
    with pytest.raises(DataError, match="'camera 0' has 40 x 40 pixels and not all of the region"):
        list(seen.stream(camera))
