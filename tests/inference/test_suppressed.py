"""Files with the suppression inside: the same boxes, and the same proof as far as it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlnet.errors import ConfigError, ProofFailed, WeightsError
from kdlnet.inference.alike import farthest, kept_alike
from kdlnet.inference.arrays import SuppressedArrays
from kdlnet.inference.evaluate import VAL_SCORE
from kdlnet.inference.exporters import EXPORTERS, Exporter
from kdlnet.inference.layouts import Layout
from kdlnet.inference.pipeline import Pipeline
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import Runtime, open_runtime
from kdlnet.inference.suppressed import LOWEST_SCORE, suppressed_detections
from kdlnet.inference.views import FrameViews
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.ops.nms import select_detections
from kdlnet.types import Detections
from kdlnet.verbs import export as module
from kdlnet.verbs.export import ExportCertificate, export

from ..support.weights_file import SIZE, make_weights

Made = tuple[Path, ExportCertificate]


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An export of either format, and its certificate."""
    exporter = EXPORTERS[request.param]
    for package in exporter.packages:
        pytest.importorskip(package)
    weights = make_weights(tmp_path_factory.mktemp("exported") / "best.pt")
    proof = export(weights, format=request.param, outputs="detections")
    return Path(proof.exported), proof


def test_the_proof_passes_and_says_what_it_could_compare(made: Made) -> None:
    _, proof = made
    assert proof.passed and proof.boxes_compared > 32 and proof.same_boxes
    assert proof.largest_logit_error is None and 0 < proof.largest_box_error < 0.1
    assert "logit" not in proof.describe()


@pytest.mark.parametrize("threshold", [LOWEST_SCORE, 0.3])
def test_rows_are_what_kdlnet_finds(made: Made, threshold: float) -> None:
    path, _ = made
    images = torch.rand(3, 3, *SIZE)
    with torch.no_grad():
        raw = load_weights(path.with_suffix(".pt")).detector(images)
    wanted = select_detections(raw, SIZE, threshold)
    engine = open_runtime(path).engine
    found = engine.select(engine.run(images.numpy()), SIZE, threshold, IOU_THRESHOLD, 300)
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours) == len(theirs) > 1
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)
        assert ours.labels.tolist() == theirs.labels.tolist()


def test_predict_finds_the_same_of_all_classes_and_of_one(made: Made, dataset: Path) -> None:
    images = dataset.parent / "images" / "val"
    path, _ = made
    for more in ({}, {"classes": ["disc"]}):
        wanted, found = (
            Predictor.load(file, device="cpu", **more).predict(images)  # type: ignore[arg-type]
            for file in (path.with_suffix(".pt"), path)
        )
        assert sum(len(each) for each in wanted) >= 12
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.verdict == theirs.verdict
            assert ours.labels.tolist() == theirs.labels.tolist()
            np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)


def test_a_number_that_is_none_passes_no_part(made: Made, tmp_path: Path) -> None:
    """The suppression drops NaN as it drops low scores: the file must not hide it."""
    path, proof = made
    weights = load_weights(path.with_suffix(".pt"))
    weights.detector.head.class_logits[1].bias.data[0] = float("nan")
    weights.detector, weights.fused = fuse_model(weights.detector), True
    broken = tmp_path / path.name
    EXPORTERS[proof.format].write(weights, broken, Layout("detections"))
    runtime = open_runtime(broken)
    views = FrameViews([np.zeros((*SIZE, 3), np.uint8)], runtime.preprocess)
    with pytest.raises(WeightsError, match="NaN"):
        list(Pipeline(runtime.engine, SIZE).detect(views))


def test_what_the_file_can_no_longer_give_is_refused(made: Made) -> None:
    engine = open_runtime(made[0]).engine
    raw = engine.run(np.zeros((1, 3, *SIZE), np.float32))
    for limits in ((0.5, 300), (IOU_THRESHOLD, 301)):
        with pytest.raises(ConfigError, match=r"suppresses boxes itself.*--nms"):
            engine.select(raw, SIZE, 0.25, *limits)


def test_a_format_without_it_says_which_have_it(tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "best.pt")
    with pytest.raises(ConfigError, match=r"torchscript cannot.*--nms.*onnx, openvino"):
        export(weights, format="torchscript", outputs="detections")
    with pytest.raises(ConfigError, match="'boxs'"):
        export(weights, outputs="boxs")


@pytest.mark.parametrize("spoil", ["moved", "lost", "more", "label"])
def test_other_rows_fail_the_proof(
    made: Made, spoil: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def spoiled(raw: SuppressedArrays) -> SuppressedArrays:
        boxes, scores, labels = raw.boxes.copy(), raw.scores.copy(), raw.labels.copy()
        if spoil == "moved":
            boxes[:, 0] += 0.5
        elif spoil == "lost":
            scores[:, 0] = 0
        elif spoil == "more":
            boxes[:, -1], scores[:, -1], labels[:, -1] = (1, 1, 90, 60), 0.9, 0
        else:
            labels[:, 0] = 1 - labels[:, 0]
        return SuppressedArrays(boxes, scores, labels)

    def opener(path: Path, **more: object) -> Runtime:
        runtime = open_runtime(made[0])
        own = runtime.with_boxes
        assert own is not None

        def answers(images: object) -> tuple[SuppressedArrays, object]:
            raw = spoiled(own(images)[0])
            return raw, raw.boxes

        return replace(runtime, with_boxes=answers)

    monkeypatch.setattr(module, "open_runtime", opener)
    format = made[1].format
    monkeypatch.setitem(EXPORTERS, format, _quick(EXPORTERS[format], made[0]))
    out = tmp_path / made[0].name
    wrong = "largest box error" if spoil == "moved" else "same boxes: no"
    with pytest.raises(ProofFailed, match=f"no file was written: {wrong}"):
        export(made[0].with_suffix(".pt"), format=format, outputs="detections", out=out)


def _quick(exporter: Exporter, path: Path) -> Exporter:
    """The exporter without the slow step."""

    def write(weights: object, place: Path, layout: object) -> None:
        for file in exporter.kind.files(path):
            place.with_suffix(file.suffix).write_bytes(file.read_bytes())

    return replace(exporter, write=write)


def test_limits_fit_together() -> None:
    """The file must hold every box that a verb asks for by itself."""
    assert LOWEST_SCORE <= VAL_SCORE and MAX_DETECTIONS == 300


def _boxes(*rows: tuple[float, ...]) -> Detections:
    table = torch.tensor(rows).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def test_of_two_boxes_that_score_the_same_either_may_be_kept() -> None:
    """The second box overlaps the first by 19 of 21 columns: 0.90."""
    one, two = (0.0, 0, 20, 20, 0.8, 0), (1.0, 0, 21, 20, 0.8, 0)
    assert kept_alike(_boxes(one), _boxes(two), 0.1, 1e-3, 0.0)
    worse = (*two[:4], 0.7, 0)
    assert not kept_alike(_boxes(one), _boxes(worse), 0.1, 1e-3, 0.0)
    assert kept_alike(_boxes(worse), _boxes(one), 0.1, 1e-3, 0.0)
    assert not kept_alike(_boxes(one), _boxes((*two[:5], 1)), 0.1, 1e-3, 0.0)
    assert not kept_alike(_boxes(one), _boxes(), 0.1, 1e-3, 0.0)
    assert kept_alike(_boxes(), _boxes(one), 0.1, 1e-3, 0.0)
    assert farthest(_boxes(one), _boxes(two), 1e-3, 0.0) == 1
    assert farthest(_boxes(one), _boxes(worse), 1e-3, 0.0) == float("inf")


def test_rows_without_a_box_are_none() -> None:
    raw = SuppressedArrays(
        np.zeros((1, 3, 4), np.float32),
        np.array([[0.9, 0.4, 0]], np.float32),
        np.array([[1, 0, -1]]),
    )
    (found,) = suppressed_detections(raw, 0.0, IOU_THRESHOLD, 300)
    assert found.labels.tolist() == [1, 0]
    (found,) = suppressed_detections(raw.of_classes([2, 0]), 0.0, IOU_THRESHOLD, 300)
    assert found.labels.tolist() == [1] and found.scores.tolist() == [np.float32(0.4)]


def test_what_overlaps_by_just_less_may_have_been_suppressed_where_boxes_move() -> None:
    """The overlap, 13.7 of 26.3 columns, is 0.52; boxes of 16 bits may lie 4 pixels off."""
    kept, better = _boxes((0.0, 0, 20, 20, 0.08, 0)), _boxes((6.3, 0, 26.3, 20, 0.3, 0))
    assert kept_alike(kept, better, 4.0, 0.02, 0.0)
    assert not kept_alike(kept, better, 0.1, 1e-3, 0.0)
    elsewhere = _boxes((19.9, 0, 39.9, 20, 0.3, 0))
    assert not kept_alike(kept, elsewhere, 4.0, 0.02, 0.0)
