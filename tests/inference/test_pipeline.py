"""One way from pixels to boxes: whoever asks, and however, gets the same ones."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, WeightsError
from kdlnet.events import ignore
from kdlnet.images.read import read_image
from kdlnet.inference.clock import STAGES, Laps
from kdlnet.inference.engine import Engine
from kdlnet.inference.evaluate import DatasetViews, detect, open_split
from kdlnet.inference.pipeline import Pipeline
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import Runtime, open_runtime, thread_count
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.views import FrameViews
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.inference.workloads import files_call
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.verdict import ClassRule, VerdictRule
from kdlnet.models.network import Network
from kdlnet.types import DetectionArrays, Preprocess, RawPredictions, Tiling
from kdlnet.verbs.compare import compare
from kdlnet.verbs.export import EXPORTERS, export
from kdlnet.verbs.fuse import fuse
from kdlnet.verbs.val import validate

from ..support.blob_network import blob, grey, make_predictor
from ..support.weights_file import make_file

TILES = {"whole": None, "tiled": Tiling((48, 32), 0.2)}
SCORE = 0.3


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that store a threshold."""
    path = make_file(tmp_path_factory.mktemp("weights") / "best.pt")
    save_weights(path, replace(load_weights(path), thresholds={"score": SCORE}))
    return path


@pytest.fixture(scope="module")
def exported(file: Path) -> Path:
    for package in EXPORTERS["onnx"].packages:
        pytest.importorskip(package)
    export(file)
    return file.with_suffix(".onnx")


def images_of(dataset: Path) -> list[Path]:
    return list_images(find_dataset(str(dataset)), "val")


def seen(runtime: Runtime, tiling: Tiling | None) -> Runtime:
    return replace(runtime, preprocess=replace(runtime.preprocess, tiling=tiling))


def found(runtime: Runtime, paths: list[Path], batch: int = 16) -> list[DetectionArrays]:
    contract = runtime.preprocess
    rule = VerdictRule.at(SCORE)
    pipeline = Pipeline(runtime.engine, contract.image_size, rule, batch=batch)
    return list(pipeline.detect(FrameViews([read_image(path) for path in paths], contract)))


def assert_same(
    ours: list[DetectionArrays], theirs: list[DetectionArrays], pixels: float = 1e-3
) -> None:
    assert sum(len(each) for each in ours) > 12
    for one, two in zip(ours, theirs, strict=True):
        assert one.labels.tolist() == two.labels.tolist()
        np.testing.assert_allclose(one.boxes, two.boxes, atol=pixels)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-4)


@pytest.mark.parametrize("tiles", TILES)
def test_predict_val_and_bench_find_the_same(file: Path, dataset: Path, tiles: str) -> None:
    """To the bit where the batches are the same."""
    tiling, paths = TILES[tiles], images_of(dataset)
    runtime = seen(open_runtime(file, device="cpu"), tiling)
    rule = VerdictRule.at(SCORE)
    predictor = Predictor(runtime.engine, runtime.names, runtime.preprocess, rule, batch=16)
    split, _ = open_split(runtime, find_dataset(str(dataset)), "val", None, False, ignore)
    with thread_count(1):
        predicted = predictor.predict(paths)
        measured = detect(runtime.engine, split, 16, SCORE)
        _, timed = files_call(runtime, paths, len(paths))(0)
    assert sum(len(one) for one in predicted) > 12
    assert tiling is None or len(split) > 2 * len(paths)
    for ours, theirs, boxes in zip(predicted, measured, timed, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        assert ours.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(ours.boxes, boxes, atol=1e-3)


@pytest.mark.parametrize("tiles", TILES)
def test_batch_and_threads_change_nothing(file: Path, dataset: Path, tiles: str) -> None:
    runtime, paths = seen(open_runtime(file, device="cpu"), TILES[tiles]), images_of(dataset)
    wanted = found(runtime, paths, batch=8)
    assert_same(found(runtime, paths, batch=1), wanted)
    with thread_count(1):
        one = found(runtime, paths)
    with thread_count(2):
        two = found(runtime, paths)
    assert_same(one, two)
    assert_same(one, wanted)


class Divided:
    """Stands for a machine of ``lanes`` cores: who calls it.

    Threads that share it wait for each other at their first call: one that is quick would else do
    the work of all.
    """

    def __init__(self, engine: Engine, lanes: int, sharing: int = 1) -> None:
        self._engine, self.lanes, self.divisions = engine, lanes, list[int]()
        self.callers: set[int] = set()
        self._met = threading.Barrier(sharing, timeout=60)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, images: Any) -> Any:
        if threading.get_ident() not in self.callers:
            self.callers.add(threading.get_ident())
            self._met.wait()
        return self._engine.run(images)

    def divided(self, lanes: int) -> Divided:
        self.divisions.append(lanes)
        shared = Divided(self._engine.divided(lanes), 1, lanes)
        shared.callers = self.callers
        return shared


@pytest.mark.parametrize("tiles", TILES)
@pytest.mark.parametrize("kind", ["torch", "onnx", "openvino"])
def test_cores_that_share_the_images_find_the_same(
    kind: str, file: Path, dataset: Path, tiles: str, tmp_path: Path, monkeypatch
) -> None:
    """predict and val, each call in a thread of its own with a share of the batch."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    if kind != "torch":
        for package in EXPORTERS[kind].packages:
            pytest.importorskip(package)
        suffix = EXPORTERS[kind].kind.suffixes[0]
        export(file, format=kind, out=tmp_path / f"best{suffix}")
        file = tmp_path / f"best{suffix}"
    runtime, paths = seen(open_runtime(file, device="cpu"), TILES[tiles]), images_of(dataset)
    if kind != "torch":
        assert runtime.engine.lanes == 2
        assert runtime.engine.divided(2).network is runtime.engine.divided(2).network  # made once
    split, _ = open_split(runtime, find_dataset(str(dataset)), "val", None, False, ignore)
    rule = VerdictRule.at(SCORE)
    engine = Divided(runtime.engine, 2)

    def predicted(engine: Engine) -> list[DetectionArrays]:
        one = Predictor(engine, runtime.names, runtime.preprocess, rule, batch=4)
        return [DetectionArrays(x.boxes, x.scores, x.labels) for x in one.predict(paths)]

    def measured(engine: Engine) -> list[DetectionArrays]:
        results = detect(engine, split, 4, SCORE)
        return [DetectionArrays(x.boxes, x.scores, x.labels) for x in results]

    for way in (predicted, measured):
        alone = Divided(runtime.engine, 1)
        wanted = way(alone)
        assert alone.callers == {threading.get_ident()} and not alone.divisions
        engine.callers.clear()
        assert_same(way(engine), wanted)
        assert len(engine.callers) == 2 and threading.get_ident() not in engine.callers
    assert engine.divisions == [2, 2]
    Predictor(engine, runtime.names, runtime.preprocess, rule, batch=4).predict(paths[:4])
    assert engine.divisions == [2, 2]  # few are answered one after the other


def test_frames_and_datasets_are_seen_alike(file: Path, dataset: Path) -> None:
    """The same pixels, whether letterboxed now or at the start."""
    runtime = seen(open_runtime(file, device="cpu"), TILES["tiled"])
    split, _ = open_split(runtime, find_dataset(str(dataset)), "val", None, False, ignore)
    images = [read_image(path) for path in images_of(dataset)]
    one, two = DatasetViews(split), FrameViews(images, runtime.preprocess)
    assert list(one.image_of) == two.image_of and list(one.tiles) == two.tiles
    rows = range(3, 9)
    (ours, contract, places), (theirs, other, others) = (views.load(rows) for views in (one, two))
    assert np.array_equal(ours, theirs) and contract == other and list(places) == others


def test_boxes_are_float64_in_the_original_and_no_class_is_made_up(
    file: Path, dataset: Path
) -> None:
    runtime, paths = open_runtime(file, device="cpu"), images_of(dataset)
    for tiling in TILES.values():
        for each in found(seen(runtime, tiling), paths):
            kinds = [str(array.dtype) for array in (each.boxes, each.scores, each.labels)]
            assert kinds == ["float64", "float64", "int64"]
    rule, size = VerdictRule.at(SCORE), runtime.preprocess.image_size
    pipeline = Pipeline(runtime.engine, size, rule, labels=(1,))
    views = FrameViews([read_image(path) for path in paths], runtime.preprocess)
    labels = [label for each in pipeline.detect(views) for label in each.labels.tolist()]
    assert set(labels) == {1}


def test_the_clock_leaves_out_what_the_caller_does(file: Path, dataset: Path) -> None:
    runtime = open_runtime(file, device="cpu")
    views = FrameViews([read_image(images_of(dataset)[0])] * 4, runtime.preprocess)
    pipeline = Pipeline(runtime.engine, runtime.preprocess.image_size, batch=1)
    began, clock = time.perf_counter(), Laps()
    for _ in pipeline.detect(views, clock):
        time.sleep(0.2)
    spent = 1e3 * (time.perf_counter() - began)
    assert all(clock.spent[stage] > 0 for stage in STAGES[1:]) and clock.spent["decode"] == 0
    assert sum(clock.spent.values()) <= spent - 4 * 200 + 1


@pytest.mark.slow
@pytest.mark.parametrize("tiles", TILES)
def test_an_exported_file_finds_the_same(
    file: Path, exported: Path, dataset: Path, tiles: str
) -> None:
    plain, other = (
        seen(open_runtime(path, device="cpu"), TILES[tiles]) for path in (file, exported)
    )
    assert other.name == "onnxruntime"
    assert_same(found(other, images_of(dataset)), found(plain, images_of(dataset)), pixels=1e-2)


@pytest.mark.slow
def test_val_and_compare_take_an_exported_file(
    file: Path, exported: Path, dataset: Path, tmp_path: Path
) -> None:
    def measured(path: Path) -> EvalResult:
        out = tmp_path / path.suffix[1:]
        return validate(path, data=str(dataset), device="cpu", out=out, pictures=False)

    one, two = measured(file), measured(exported)
    assert one.precision.ap is not None
    assert two.precision.ap == pytest.approx(one.precision.ap, abs=1e-3)
    assert (one.fused, two.fused) == (False, True)
    written = json.loads((tmp_path / "onnx" / "metrics.json").read_text())
    assert written == two.to_dict() and written.keys() == one.to_dict().keys()
    sides = compare([file], [exported], data=str(dataset), rounds=100, out=tmp_path / "compare")
    assert sides.differences["ap"].a == one.precision.ap
    assert sides.differences["ap"].b == two.precision.ap
    for counts in sides.flips.counts.values():
        assert counts["only A NG"] == counts["only B NG"] == 0
    with pytest.raises(ConfigError, match="64x64 only"):
        validate(exported, data=str(dataset), image_size=(96, 96), out=tmp_path / "x")


def test_verdicts_of_predict_and_compare_are_one(file: Path, dataset: Path, tmp_path: Path) -> None:
    """At a threshold that is the score of a box, to the last bit."""
    paths = images_of(dataset)
    plain = Predictor.load(file, device="cpu", score_threshold=0.001).predict(paths)
    score = float(np.sort([one.scores[0] for one in plain])[len(plain) // 2])
    save_weights(tmp_path / "a.pt", replace(load_weights(file), thresholds={"score": score}))
    verdicts = [one.verdict for one in Predictor.load(tmp_path / "a.pt").predict(paths)]
    assert verdicts.count("NG") == len(paths) - len(paths) // 2
    engine = open_runtime(file).engine
    assert isinstance(engine, TorchEngine) and isinstance(engine.network, Network)
    fused = engine.network
    weights = replace(load_weights(tmp_path / "a.pt"), detector=fused)
    save_weights(tmp_path / "fused.pt", replace(weights, fused=True))
    sides = compare(
        [tmp_path / "fused.pt"], [tmp_path / "fused.pt"], data=str(dataset), rounds=100,
        out=tmp_path / "compare",
    )  # fmt: skip
    flips = sides.flips.counts["defective"]["both NG"] + sides.flips.counts["good"]["both NG"]
    assert flips == verdicts.count("NG")


def test_every_runtime_obeys_the_stored_rule(file: Path, dataset: Path, tmp_path: Path) -> None:
    """Two thresholds a class, sizes and counts: the same boxes and verdicts wherever they run."""
    for package in EXPORTERS["onnx"].packages:
        pytest.importorskip(package)
    paths = images_of(dataset)
    plain = Predictor.load(file, device="cpu", score_threshold=0.001).predict(paths)
    best = np.array([max(one.scores[one.labels == 1], default=0.0) for one in plain])
    low, high = (float(np.mean(np.sort(best)[n : n + 2])) for n in (0, len(best) // 2))
    rule = VerdictRule((ClassRule(1.5, min_count=2), ClassRule(high, low, min_length=2.0)))
    note = {"split": "val"}
    ruled = replace(
        load_weights(file), thresholds=rule.to_dict(("square", "disc")), calibration=note
    )
    save_weights(tmp_path / "a.pt", ruled)
    save_weights(tmp_path / "a.safetensors", load_weights(tmp_path / "a.pt"))
    fuse(tmp_path / "a.safetensors")
    export(tmp_path / "a-fused.safetensors", out=tmp_path / "a.onnx")
    wanted = ["NG" if one >= high else "UNSURE" if one >= low else "OK" for one in best]
    assert len(set(wanted)) == 3
    for name in ("a.pt", "a.safetensors", "a-fused.safetensors", "a.onnx"):
        runtime = open_runtime(tmp_path / name)
        assert runtime.rule == rule and runtime.calibration == note
        predicted = Predictor.load(tmp_path / name).predict(paths)
        assert [one.verdict for one in predicted] == wanted, name
        for one, all_boxes in zip(predicted, plain, strict=True):
            assert len(one) == (all_boxes.scores[all_boxes.labels == 1] >= low).sum()
            assert set(one.labels.tolist()) <= {1}  # the other class reaches its threshold nowhere
    measured = validate(tmp_path / "a.onnx", data=str(dataset), out=tmp_path / "val")
    whole = measured.verdicts.overall
    for verdict in ("OK", "UNSURE", "NG"):
        assert whole.defective[verdict] + whole.good[verdict] == wanted.count(verdict)
    sides = compare(
        [tmp_path / "a.pt"],
        [tmp_path / "a.onnx"],
        data=str(dataset),
        rounds=100,
        out=tmp_path / "c",
    )
    flips = sum((Counter(counts) for counts in sides.flips.counts.values()), Counter())
    assert flips["A UNSURE, B UNSURE"] == wanted.count("UNSURE")
    assert flips["both NG"] == wanted.count("NG") and flips["both OK"] == wanted.count("OK")


@pytest.mark.parametrize("part", ["logits", "bins"])
def test_a_network_that_answers_nan_passes_no_part(part: str) -> None:
    def broken(images: torch.Tensor) -> RawPredictions:
        raw = blob(images)
        getattr(raw, part)[..., -1] = torch.nan
        return raw

    predictor = replace(make_predictor(), engine=TorchEngine(broken))
    with pytest.raises(WeightsError, match="answered with NaN, so no verdict can be given"):
        predictor.predict(grey(255))


class Halves:
    """A network that sees an object's sure half in the first tile and an unsure one in the next."""

    device, lanes = "cpu", 1

    def load(self, pixels: Any, preprocess: Preprocess) -> Any:
        return pixels

    def run(self, images: Any) -> Any:
        return blob(torch.zeros(1, 3, 32, 32))

    def select(self, raw: Any, size: Any, score: float, *limits: Any) -> list[DetectionArrays]:
        halves = ([60.0, 40, 100, 60], 0.9), ([0.0, 40, 50, 60], 0.2)
        found = [DetectionArrays(np.array([b]), np.array([s]), np.array([0])) for b, s in halves]
        return [one[one.scores >= score] for one in found]

    def wait(self) -> None: ...


def test_the_threshold_moves_no_box_of_tiles() -> None:
    views = FrameViews(
        [np.zeros((100, 180, 1), np.uint8)],
        Preprocess((100, 100), 3, tiling=Tiling((100, 100), 0.2)),
    )
    measured, judged = (
        next(Pipeline(Halves(), (100, 100), rule=VerdictRule.at(score)).detect(views))
        for score in (0.001, 0.5)
    )
    assert measured.boxes.tolist() == judged.boxes.tolist() == [[60, 40, 130, 60]]
    assert judged.scores.tolist() == [0.9]
