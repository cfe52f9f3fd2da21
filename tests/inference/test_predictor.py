"""Images in, boxes out: the same boxes as val finds, in pixels of the original image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import kdlnet
from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Message
from kdlnet.images import sources
from kdlnet.images.frame import Frame
from kdlnet.inference import predictor as module
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.layouts import Layout
from kdlnet.inference.onnx_export import write_onnx
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor, batches
from kdlnet.inference.runtimes import thread_count
from kdlnet.inference.skipped import Skipped
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.torchscript_export import write_torchscript
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.inference.writer import yolo_rows
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.models.fuse import fuse_model
from kdlnet.types import Preprocess, RawPredictions

from ..support.blob_network import blob, grey, make_predictor
from ..support.weights_file import make_file


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return make_file(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture
def predictor() -> Predictor:
    return make_predictor()


def test_boxes_are_in_pixels_of_the_original(predictor: Predictor) -> None:
    """128 x 64 is halved and padded left and right: 24..40 of the input is 32..64 down and across.

    Input x 24 lies 24 - 16 = 8 pixels into the image of width 32, so at 16 of 64.
    """
    (prediction,) = replace(predictor, rule=VerdictRule.at(0.5)).predict(grey(255, 128, 64))
    assert prediction.size == (128, 64)
    assert prediction.boxes.tolist() == [[16.0, 48.0, 48.0, 80.0]]
    assert prediction.labels.tolist() == [0]
    table = prediction.to_numpy()
    assert table.shape == (1, 6)
    assert table[0].tolist() == [16, 48, 48, 80, prediction.scores[0], 0]


def test_a_prediction_prints_counts_and_draws(predictor: Predictor) -> None:
    both = replace(predictor, rule=VerdictRule.at(0.0))
    image = np.full((64, 64, 3), 178, np.uint8)
    (prediction,) = both.predict(image)
    assert str(prediction) == "array 0: NG, 1 square (best 0.70), 1 disc (best 0.30)"
    assert prediction.counts() == {"square": 1, "disc": 1}
    assert (len(prediction), bool(prediction), prediction.verdict) == (2, True, "NG")
    values = prediction.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert [box["class"] for box in values["boxes"]] == ["square", "disc"]
    assert values["boxes"][0]["box"] == [24, 24, 40, 40]
    assert set(values["seconds"]) == {"decode", "preprocess", "infer", "postprocess"}
    drawn = prediction.draw()
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3 and drawn.shape[0] >= 400
    assert (drawn != 178).any() and (image == 178).all()


def test_a_prediction_keeps_its_picture_when_the_buffer_is_filled_anew(
    predictor: Predictor,
) -> None:
    buffer = np.full((64, 64, 3), 178, np.uint8)
    (prediction,) = predictor.predict(buffer)
    before = prediction.draw()
    buffer[:] = 0
    assert (prediction.draw() == before).all()


@pytest.mark.parametrize("change", ["another", "same size", "gone"])
def test_a_picture_that_was_changed_gets_no_boxes_of_the_old_one(
    predictor: Predictor, tmp_path: Path, change: str
) -> None:
    """A camera that writes one name again and again: a good part was shown with a box."""
    path = tmp_path / "part.bmp"
    cv2.imwrite(str(path), grey(200))
    (prediction,) = predictor.predict(path)
    assert prediction.image is None and prediction.draw().shape == (448, 448, 3)
    if change == "gone":
        path.unlink()
    else:
        cv2.imwrite(str(path), grey(9, 64 if change == "same size" else 32))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    with pytest.raises(DataError, match=r"part.bmp' (was changed after|does not exist)"):
        prediction.draw()


def test_an_image_without_boxes_is_ok(predictor: Predictor) -> None:
    (prediction,) = replace(predictor, rule=VerdictRule.at(0.999)).predict(grey(255))
    assert (len(prediction), prediction.verdict) == (0, "OK")
    assert str(prediction) == "array 0: OK, no boxes"
    assert prediction.to_numpy().shape == (0, 6) and prediction.to_dict()["boxes"] == []
    assert yolo_rows(prediction) == ""
    assert prediction.draw().shape[2] == 3


def test_the_class_filter_keeps_labels_and_knows_the_names(predictor: Predictor) -> None:
    only = replace(predictor, rule=VerdictRule.at(0.0), classes=("disc",))
    (prediction,) = only.predict(grey(200))
    assert prediction.labels.tolist() == [1]
    assert prediction.counts() == {"disc": 1}
    with pytest.raises(ConfigError, match="'disk'; did you mean 'disc'"):
        replace(predictor, classes=("disk",))
    with pytest.raises(ConfigError, match="'DISC'; did you mean 'disc'"):
        replace(predictor, classes=("DISC",))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("iou_threshold", 0.0),
        ("iou_threshold", "0.5"),
        ("max_detections", 0),
        ("max_detections", 1.5),
        ("batch", 0),
        ("batch", True),
        ("preprocess", Preprocess((65, 64))),
        ("preprocess", Preprocess((0, 64))),
    ],
)
def test_settings_out_of_range(predictor: Predictor, setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        replace(predictor, **{setting: value})


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_same_boxes_as_val(file: Path, dataset: Path, batch: int) -> None:
    weights = load_weights(file)
    info = find_dataset(str(dataset))
    split, _ = open_split(weights, info, "val", None, False, lambda event: None)
    wanted = detect(TorchEngine(weights.detector), split, 4, 0.25)
    found = Predictor.load(file, device="cpu", batch=batch).predict(list_images(info, "val"))
    assert sum(len(one) for one in found) > 12
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.name == theirs.name and ours.size == theirs.size
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        assert ours.labels.tolist() == theirs.labels.tolist()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_fused_weights_find_the_same(
    file: Path, dataset: Path, tmp_path: Path, suffix: str
) -> None:
    weights = load_weights(file)
    fused = replace(weights, detector=fuse_model(weights.detector), fused=True)
    save_weights(tmp_path / f"fused{suffix}", fused)
    images = str(dataset.parent / "images/val")
    plain = Predictor.load(file, device="cpu").predict(images)
    for a, b in zip(
        plain,
        Predictor.load(tmp_path / f"fused{suffix}", device="cpu").predict(images),
        strict=True,
    ):
        assert a.labels.tolist() == b.labels.tolist() and len(a)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-2)


def test_load_takes_what_the_command_line_takes(file: Path) -> None:
    name = Predictor.load(file, device="cpu").names[0]
    found = Predictor.load(file, device=torch.device("cpu"), image_size=96, classes=name)  # type: ignore[arg-type]
    assert found.preprocess.image_size == (96, 96) and found.classes == (name,)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"image_size": 100}, "image size 100: give one multiple of 32"),
        ({"window": (100, 0)}, r"window \(100, 0\): give the lower value first"),
        ({"window": 255}, "window 255: give the two intensities"),
        ({"classes": [0]}, "unknown class '0'"),
        ({"classes": 5}, "unknown class '5'"),
        ({"tile": 64, "overlap": "0.3"}, "overlap '0.3' is no number: allowed is 0 to 0.9"),
        ({"tile": 64, "overlap": 0.95}, "overlap 0.95 is out of range: allowed is 0 to 0.9"),
    ],
)
def test_load_refuses_in_one_line(file: Path, wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        Predictor.load(file, device="cpu", **wrong)


@pytest.mark.parametrize("when", ["before loading", "after loading"])
def test_a_program_may_count_in_another_precision(file: Path, dataset: Path, when: str) -> None:
    images = dataset.parent / "images/val"
    wanted = Predictor.load(file, device="cpu").predict(images)
    try:
        if when == "before loading":
            torch.set_default_dtype(torch.float64)
        predictor = Predictor.load(file, device="cpu")
        torch.set_default_dtype(torch.float64)
        found = predictor.predict(images)
    finally:
        torch.set_default_dtype(torch.float32)
    assert sum(len(one) for one in wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_a_program_may_round_its_own_numbers(file: Path, dataset: Path, tmp_path: Path) -> None:
    """Mixed precision around a call moved the boxes of weights and of TorchScript."""
    weights = load_weights(file)
    weights.detector, weights.fused = fuse_model(weights.detector), True
    write_torchscript(weights, tmp_path / "best.torchscript", Layout())
    images = dataset.parent / "images/val"
    for path in (file, tmp_path / "best.torchscript"):
        predictor = Predictor.load(path, device="cpu")
        wanted = predictor.predict(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = predictor.predict(images)
        assert sum(len(one) for one in wanted)
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(ours.boxes, theirs.boxes)
            np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_a_program_may_build_its_own_on_another_device(file: Path, dataset: Path) -> None:
    images = dataset.parent / "images/val"
    wanted = Predictor.load(file, device="cpu").predict(images)
    with torch.device("meta"):
        predictor = Predictor.load(file, device="cpu")
    for ours, theirs in zip(predictor.predict(images), wanted, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)


def test_load_takes_the_stored_threshold(file: Path, tmp_path: Path) -> None:
    assert Predictor.load(file, device="cpu").rule == VerdictRule.at(0.25)
    save_weights(tmp_path / "a.pt", replace(load_weights(file), thresholds={"score": 0.4}))
    assert Predictor.load(tmp_path / "a.pt", device="cpu").rule == VerdictRule.at(0.4)
    given = Predictor.load(
        tmp_path / "a.pt", device="cpu", score_threshold=0.1, image_size=(32, 96)
    )
    assert given.rule == VerdictRule.at(0.1) and given.preprocess.image_size == (32, 96)


@pytest.mark.slow
def test_onnx_files_find_the_same(file: Path, dataset: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    weights = load_weights(file)
    fused = replace(weights, detector=fuse_model(weights.detector), fused=True)
    write_onnx(fused, tmp_path / "best.onnx", Layout())
    images = str(dataset.parent / "images/val")
    wanted = Predictor.load(file, device="cpu").predict(images)
    found = Predictor.load(tmp_path / "best.onnx").predict(images)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)
    (tmp_path / "other.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"other\.onnx"):
        Predictor.load(tmp_path / "other.onnx")


def test_the_public_door(file: Path) -> None:
    assert kdlnet.Detector is Predictor and kdlnet.Prediction is Prediction
    with pytest.raises(AttributeError, match="Detektor"):
        _ = kdlnet.Detektor
    detector = kdlnet.Detector.load(file, device="cpu")
    assert "names=(" in repr(detector) and "Conv" not in repr(detector)
    (prediction,) = detector.predict(grey(90))
    assert isinstance(prediction, kdlnet.Prediction)


def test_images_as_they_come(file: Path) -> None:
    """1 x 1, one channel, 16 bits, extreme aspect, large: one call."""
    random = np.random.default_rng(0)
    large = random.integers(0, 255, (4000, 6000), np.uint8)
    images = [grey(9, 1, 1), grey(9, 1, 300), grey(9, 300, 1), np.zeros((5, 7, 3), np.uint8), large]
    found = Predictor.load(file, device="cpu").predict(images)
    assert [one.size for one in found] == [(1, 1), (1, 300), (300, 1), (5, 7), (4000, 6000)]
    for one in found:
        height, width = one.size
        assert (one.boxes >= 0).all() and (one.boxes <= [width, height, width, height]).all()
    assert found[-1].image is not None and (found[-1].image[:, :, 0] == large).all()


def test_images_seen_otherwise_than_calibrated_are_told(predictor: Predictor) -> None:
    told: list[object] = []
    same = replace(predictor, calibration={"preprocess": predictor.preprocess.to_dict()})
    same.predict([grey(8)], on_event=told.append)
    assert told == []
    wider = {"preprocess": Preprocess((96, 96), 1).to_dict()}
    replace(predictor, calibration=wider).predict([grey(8)], on_event=told.append)
    (message,) = told
    assert isinstance(message, Message) and "rates do not hold" in message.text


def test_another_bit_depth_keeps_its_levels_and_is_told(predictor: Predictor) -> None:
    """Half of 16 bits is half of the range, not white; told once, not once an image."""
    told: list[object] = []
    half, deep = grey(128), grey(32896, dtype=np.uint16)
    found = predictor.predict([half, deep, half, deep], on_event=told.append)
    assert len({round(float(one.scores[0]), 3) for one in found}) == 1
    assert [one.window for one in found] == 2 * [(0.0, 255.0), (0.0, 65535.0)]
    (message,) = told
    assert isinstance(message, Message) and "0 to 65535" in message.text
    twelve = replace(predictor, preprocess=Preprocess((64, 64), 1, (0.0, 4095.0), depth=16))
    (exact,) = twelve.predict(grey(2048, dtype=np.uint16), on_event=told.append)
    assert exact.window == (0.0, 4095.0) and len(told) == 1


def test_batches_end_at_another_type_and_where_images_are_large() -> None:
    def frames(*images: object) -> list[Frame]:
        return [Frame("a", "a", image) for image in images]

    deep, large = grey(0, dtype=np.uint16), np.broadcast_to(np.uint8(0), (20000, 20000, 1))
    given = frames(grey(0), grey(0), deep, grey(0), large, large, grey(0))
    assert [len(group) for group in batches(given, 16)] == [2, 1, 3, 1]
    assert [len(group) for group in batches(frames(*[grey(0)] * 5), 2)] == [2, 2, 1]


def test_large_images_leave_no_lane_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three and a half of them fill the memory there is: each lane gets a part, none all of it."""
    monkeypatch.setattr(module, "BATCH_BYTES", int(3.5 * grey(0).nbytes))
    meeting = threading.Barrier(2, timeout=10)  # breaks unless two are there at once

    def network(images: torch.Tensor) -> RawPredictions:
        meeting.wait()
        return blob(images)

    predictor = replace(make_predictor(), engine=TorchEngine(network))
    with thread_count(2):
        assert len(predictor.predict([grey(level) for level in range(20)])) == 20


def test_what_is_skipped_is_told_or_raised(predictor: Predictor, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "b.png"), grey(255))
    (tmp_path / "a.png").touch()
    told: list[object] = []
    assert len(predictor.predict(tmp_path, on_event=told.append)) == 1
    (event,) = told
    assert isinstance(event, Skipped) and "a.png" in event.reason
    for predict in (predictor.predict, lambda source: list(predictor.stream(source))):
        with pytest.warns(UserWarning, match=r"skipped: .*a\.png") as warned:
            predict(tmp_path)
        assert [one.filename for one in warned] == [__file__]  # a line of the program, not of ours
    with pytest.raises(DataError, match=r"a\.png"):
        predictor.predict(tmp_path, strict=True)
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"no image could be read: .*a\.png"):
        predictor.predict(tmp_path, on_event=told.append)


def test_an_image_is_told_each_time_that_it_is_skipped() -> None:
    """Python tells the same line of a program but once."""
    code = """
from kdlnet.inference.skipped import Skipped, warn_user
for part in range(3):
    warn_user(Skipped("cannot read 'a.png'", "a.png"))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.count("SkippedWarning: skipped: cannot read 'a.png'") == 3


def test_images_are_not_hoarded(predictor: Predictor, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), grey(255))
    (kept,) = predictor.stream(tmp_path)
    (light,) = predictor.predict(tmp_path)
    assert kept.image is not None and light.image is None
    assert (light.draw() == kept.draw()).all()
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(3):
        writer.write(np.full((48, 64, 3), 250, np.uint8))
    writer.release()
    frames = predictor.predict(str(tmp_path / "a.avi"))
    assert "a.avi frame 1 at 0.20 s: NG, 1 square (best 0.8" in str(frames[1])
    with pytest.raises(DataError, match=r"stream\(source\)"):
        frames[1].draw()
    with pytest.raises(ConfigError, match="may never end"):
        predictor.predict(0)


def test_the_end_of_a_stream_is_told(predictor: Predictor, monkeypatch) -> None:
    """A sender that is done and one that is lost look the same."""

    def ending(address, timeout, reconnect, on_problem, every):
        yield Frame(address, "000000", grey(255), 0, 0.0)
        on_problem(DataError("frame 1 cannot be decoded"), address, 1, 0.1)
        yield Frame(address, "000002", grey(255), 2, 0.2)

    monkeypatch.setattr(sources, "stream_frames", ending)
    told: list[object] = []
    found = list(predictor.stream("http://me:secret@line/1", on_event=told.append))
    assert [one.index for one in found] == [0, 2]
    skipped, ended = told
    assert isinstance(skipped, Skipped)
    assert (skipped.index, skipped.after, skipped.timestamp) == (1, 1, 0.1)
    assert ended == Message("stream 'http://line/1' ended after 3 frames", "warning")


def test_a_live_source_is_not_batched(predictor: Predictor, monkeypatch) -> None:
    """Every frame is answered though the next one has not come."""
    asked, coming = [], threading.Semaphore(0)

    class Camera:
        def isOpened(self):
            return True

        def grab(self):
            assert coming.acquire(timeout=60)
            asked.append(time.monotonic())
            return True

        def retrieve(self):
            return True, np.full((48, 64, 3), 250, np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Camera())
    answers = predictor.stream(0)
    for number in range(1, 4):
        coming.release()
        assert next(answers).index == number - 1
        assert len(asked) == number
    coming.release()
    answers.close()


def test_frames_that_were_passed_over_are_told(predictor: Predictor, monkeypatch) -> None:
    def quick(address, timeout, reconnect, on_problem, every):
        for index, passed in ((0, 0), (3, 2), (5, 1), (40, 34)):
            yield Frame(address, f"{index:06d}", grey(255), index, 0.1 * index, passed=passed)

    monkeypatch.setattr(sources, "stream_frames", quick)
    told: list[object] = []
    found = list(predictor.stream("http://line/1", on_event=told.append))
    assert [one.index for one in found] == [0, 3, 5, 40]
    line = "'http://line/1' sends more than can be looked at in time: "
    assert told == [
        Message(f"{line}2 of 4 frames were passed over", "warning"),
        Message(f"{line}37 of 41 frames were passed over", "warning"),
        Message("stream 'http://line/1' ended after 41 frames, 37 of them passed over", "warning"),
    ]
    answers = predictor.stream("http://line/1", strict=True)
    assert next(answers).index == 0
    with pytest.raises(DataError, match="2 of 4 frames were passed over"):
        next(answers)


def test_no_thread_is_left_when_a_loop_breaks(predictor: Predictor, tmp_path: Path) -> None:
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), grey(90))
    before = threading.active_count()
    for _ in predictor.stream(tmp_path):
        break
    assert threading.active_count() <= before


def test_a_start_with_torch_brings_nothing_else_that_is_slow() -> None:
    """Half a second of every command: what only trains, draws or counts stays outside."""
    script = (
        "import sys, kdlnet.verbs.predict, kdlnet.inference.torch_runtime;"
        "slow = {'torchvision', 'torch.utils.flop_counter', 'scipy', 'matplotlib', 'pycocotools'};"
        "sys.exit(' '.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
