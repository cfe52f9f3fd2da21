"""Speed, stage by stage."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from kdlnet.data.catalog import find_dataset
from kdlnet.errors import ConfigError, DataError, KdlnetError, WeightsError
from kdlnet.events import Message, ignore
from kdlnet.inference import contest, sweeps, torch_engine, turns, views
from kdlnet.inference.clock import STAGES, timing
from kdlnet.inference.contest import Entry
from kdlnet.inference.engine import Engine
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.runtimes import RUNTIMES, Runtime, open_runtime, thread_count
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.turns import warm_up
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.inference.workloads import files_call
from kdlnet.models.fuse import fuse_model, is_fused
from kdlnet.types import RawPredictions
from kdlnet.verbs import bench as module
from kdlnet.verbs.bench import Workload, bench
from kdlnet.verbs.export import export
from kdlnet.verbs.val import validate

from ..support.weights_file import SIZE, make_weights

QUICK = Workload(calls=3, warmup=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Runtime]:
    """The runtimes that were measured."""
    found: list[Runtime] = []
    measure = module.measure

    def remember(entries: Sequence[Entry], *arguments: Any) -> Any:
        found.extend(entry.runtime for entry in entries)
        return measure(entries, *arguments)

    monkeypatch.setattr(module, "measure", remember)
    return found


def test_all_that_a_figure_needs_is_said(file: Path) -> None:
    result = bench(file, workload=Workload(batch=2, calls=5, warmup=1))
    assert list(result.stages) == list(result.first_call_ms) == [*STAGES, "total"]
    assert (result.batch, result.calls, result.warmup) == (2, 5, 1)
    assert result.images["kind"] == "made-up" and result.images["count"] == 8
    assert result.image_size == SIZE and result.score_threshold == 0.4  # the stored one
    assert result.boxes_per_image is not None and result.boxes_per_image > 0
    assert result.device_name and result.threads == torch.get_num_threads()
    assert result.runtime == f"torch {torch.__version__}"
    assert result.load_ms > 0 and result.paper is None
    assert json.loads(json.dumps(result.to_dict()))["stages"]["infer"]["p99"] > 0


def test_the_total_is_the_whole_call(file: Path) -> None:
    result = bench(file, workload=Workload(batch=2, calls=5, warmup=0))
    parts = sum(result.stages[stage].mean for stage in STAGES)
    total = result.stages["total"].mean
    assert 0.95 * total <= parts <= total  # what is in no stage
    assert result.unaccounted == pytest.approx(1 - parts / total)
    # Two images a call: twice as many images a second as calls.
    assert result.images_per_second == pytest.approx(2000 / result.stages["total"].mean)
    assert result.infer_images_per_second == pytest.approx(2000 / result.stages["infer"].mean)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("decode", "kdlnet.inference.workloads.read_image"),
        ("preprocess", "kdlnet.inference.views.to_pixels"),
        ("postprocess", "kdlnet.inference.torch_engine.select_detections"),
    ],
)
def test_time_goes_to_the_stage_that_spends_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, stage: str, name: str
) -> None:
    place, _, function = name.rpartition(".")
    real: Callable[..., Any] = getattr(sys.modules[place], function)

    def slow(*arguments: Any) -> Any:
        time.sleep(0.3)
        return real(*arguments)

    monkeypatch.setattr(name, slow)
    result = bench(file, workload=Workload(calls=1, warmup=0))
    assert result.stages[stage].p50 >= 300
    assert sum(result.stages[other].p50 for other in STAGES if other != stage) < 300


def test_nothing_is_left_out() -> None:
    """99 calls of 1 ms and one of 101 ms: the mean is 2 ms, and the largest is told."""
    found = timing([1.0] * 99 + [101.0])
    assert (found.mean, found.p50, found.p95, found.largest) == (2.0, 1.0, 1.0, 101.0)
    # The 99th percentile lies at position 98.01 of 0..99: a hundredth of the way from 1 to 101.
    assert found.p99 == pytest.approx(2.0)


def test_one_call_is_its_own_percentiles() -> None:
    assert set(vars(timing([7.0])).values()) == {7.0}


def test_the_clock_waits_for_the_device(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU answers before it is done: the wait must come before the mark, in each stage."""
    order: list[str] = []
    runtime = open_runtime(file)
    runtime = replace(runtime, engine=_noted(order, runtime.engine))
    monkeypatch.setattr(module, "open_runtime", lambda *a, **k: runtime)
    monkeypatch.setattr(torch_engine, "synchronize", lambda device: order.append("wait"))
    real = views.to_pixels
    monkeypatch.setattr(views, "to_pixels", lambda *a: (order.append("input"), real(*a))[1])
    bench(file, workload=Workload(calls=1, warmup=0))
    # The first call and the measured one; then the images as predict takes them, twice in two.
    assert order[:9] == ["wait", *["input", "wait", "network", "wait"] * 2]
    order.clear()
    bench(file, protocol="paper", workload=Workload(calls=1, warmup=0), image_size=SIZE)
    assert order == ["wait", *["wait", "network", "wait"] * 2]


def _noted(order: list[str], engine: Engine) -> TorchEngine:
    def forward(images: torch.Tensor) -> RawPredictions:
        order.append("network")
        raw: RawPredictions = engine.run(images)
        return raw

    return TorchEngine(forward)


def test_the_boxes_are_those_of_validation(file: Path, dataset: Path) -> None:
    """What is timed is the whole way: the same boxes as val, from the same files."""
    weights, info = load_weights(file), find_dataset(str(dataset))
    split, _ = open_split(weights, info, "val", None, False, ignore)
    with thread_count(1):  # several would share the four
        wanted = detect(TorchEngine(weights.detector), split, 4, score_threshold=0.4)
    assert sum(len(result.scores) for result in wanted) > 12
    call = files_call(open_runtime(file, fuse=False), split.paths, 4)
    for number in range(3):
        with thread_count(1):
            _, found = call(number)
        for boxes, result in zip(found, wanted[4 * number :], strict=False):
            np.testing.assert_array_equal(boxes, result.boxes)


def test_unfused_weights_are_fused_in_memory_and_it_is_said(
    file: Path, opened: list[Runtime], tmp_path: Path
) -> None:
    events: list[object] = []
    result = bench(file, workload=QUICK, on_event=events.append)
    texts = [event.text for event in events if isinstance(event, Message)]
    assert (result.fused, result.file_fused) == (True, False)
    assert any("not fused" in text and "in memory" in text for text in texts), texts
    assert _is_fused(opened[0]) and not load_weights(file).fused
    weights = load_weights(file)
    weights.detector, weights.fused = fuse_model(weights.detector), True
    save_weights(tmp_path / "fused.pt", weights)
    events.clear()
    assert bench(tmp_path / "fused.pt", workload=QUICK, on_event=events.append).file_fused
    assert not any("not fused" in getattr(event, "text", "") for event in events)


def test_no_fuse_measures_the_file_as_it_is(file: Path, opened: list[Runtime]) -> None:
    assert not bench(file, workload=QUICK, fuse=False).fused
    assert not _is_fused(opened[0])


def _is_fused(runtime: Runtime) -> bool:
    assert isinstance(runtime.engine, TorchEngine)
    assert isinstance(runtime.engine.network, torch.nn.Module)
    return is_fused(runtime.engine.network)


def test_threads_are_those_asked_for_and_go_back(file: Path) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    other = 1 if before[0] > 1 else min(2, os.cpu_count() or 1)
    assert bench(file, workload=QUICK, threads=other).threads == other
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    with pytest.raises(WeightsError):
        bench(Path("missing.pt"), threads=other)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    with pytest.raises(ConfigError, match="threads 99999: this machine has "):
        bench(file, threads=99999)


def test_a_batch_that_would_take_all_memory_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="batch 100000: a call takes at most 256 images"):
        bench(file, workload=Workload(batch=100_000, calls=1, warmup=0))


def test_images_of_a_folder(file: Path, tmp_path: Path) -> None:
    """Grey and colour, 8 and 16 bits, of one pixel and not square; what is broken is told."""
    folder = tmp_path / "parts"
    (folder / "deep").mkdir(parents=True)
    cv2.imwrite(str(folder / "grey.png"), np.full((40, 90), 90, np.uint8))
    cv2.imwrite(str(folder / "colour.jpg"), np.full((40, 90, 3), (10, 90, 200), np.uint8))
    cv2.imwrite(str(folder / "deep" / "16.tif"), np.full((1, 1), 4000, np.uint16))
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("no image")
    (folder / "moving.gif").write_bytes(b"GIF89a")
    events: list[object] = []
    result = bench(file, source=folder, workload=Workload(batch=3, calls=2), on_event=events.append)
    assert result.images["count"] == 3 and result.images["size"] is None
    assert result.images["suffixes"] == [".jpg", ".png", ".tif"]
    warnings = [event.text for event in events if getattr(event, "level", "") == "warning"]
    assert "not read: 1 .gif" in warnings[0] and "broken.png" in warnings[1]
    assert len(warnings) == 2
    alone = bench(file, source=folder / "grey.png", workload=QUICK)
    assert alone.images["count"] == 1 and alone.images["size"] == [40, 90]


def test_the_papers_protocol(file: Path, opened: list[Runtime]) -> None:
    result = bench(file, protocol="paper", workload=Workload(calls=2, warmup=0))
    assert opened[0].preprocess.image_size == result.image_size == (640, 640)
    assert result.batch == 1 and result.fused and not result.images
    assert list(result.stages) == ["infer", "total"] and result.boxes_per_image is None
    assert result.paper is not None and result.paper["images_per_second"] == 72
    assert result.paper["comparable"] is False
    assert result.device_name in result.paper["note"]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("NVIDIA GeForce RTX 3070 Ti", True),
        ("NVIDIA GeForce RTX 3070 Ti Laptop GPU", False),
        ("NVIDIA GeForce RTX 3070", False),
        ("NVIDIA H200", False),
    ],
)
def test_only_the_papers_device_is_comparable(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, same: bool
) -> None:
    runtime = replace(open_runtime(file, image_size=SIZE), device_name=name)
    monkeypatch.setattr(module, "open_runtime", lambda *a, **k: runtime)
    result = bench(file, protocol="paper", workload=Workload(calls=1, warmup=0), image_size=SIZE)
    assert result.image_size == SIZE
    assert result.paper is not None and result.paper["comparable"] is same


def test_rivals_take_turns(
    file: Path, opened: list[Runtime], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A B A B, the same images for both, and a ratio a round."""
    order: list[str] = []
    real = contest.files_call

    def noted(runtime: Runtime, paths: Sequence[Path], batch: int) -> Any:
        call = real(runtime, paths, batch)
        name, slow = runtime.path.stem, 0.05 * (runtime.path.stem == "other")

        def each(number: int) -> Any:
            order.append(f"{name}{number}")
            stages, boxes = call(number)
            time.sleep(slow)
            return stages | {"total": stages["total"] + 1e3 * slow}, boxes

        return each

    monkeypatch.setattr(contest, "files_call", noted)
    other = save_as(tmp_path / "other.pt", file)
    found = bench(file, against=[other], workload=Workload(calls=4, rounds=2, warmup=0))
    # First calls; then two rounds of two calls, each after one that does not count.
    a, b = ["best0", "best0", "best1"], ["other0", "other0", "other1"]
    second = ["best2", "best2", "best3", "other2", "other2", "other3"]
    assert order == ["best0", "other0", *a, *b, *second]
    (rival,) = found.against
    assert (len(found.rounds), len(rival.result.rounds)) == (2, 2)
    pairs = [theirs / ours for ours, theirs in zip(found.rounds, rival.result.rounds, strict=True)]
    assert rival.ratio.smallest == pytest.approx(min(pairs)) and rival.ratio.smallest > 1
    assert rival.result.boxes_per_image == found.boxes_per_image
    assert json.loads(json.dumps(found.to_dict()))["against"][0]["result"]["weights"] == str(other)


def save_as(path: Path, file: Path) -> Path:
    path.write_bytes(file.read_bytes())
    return path


def test_files_of_any_runtime_stand_beside_each_other(
    file: Path, dataset: Path, tmp_path: Path
) -> None:
    """Speed and accuracy of each, and the accuracy is that of val."""
    pytest.importorskip("onnxscript")
    export(file, out=tmp_path / "best.onnx")
    found = bench(file, data=str(dataset), against=[tmp_path / "best.onnx"], workload=QUICK)
    assert found.against[0].result.runtime.startswith("onnxruntime")
    both = [found.accuracy, found.against[0].result.accuracy]
    figures = [one["ap"] for one in both if one is not None]
    wanted = validate(file, data=str(dataset), pictures=False, out=tmp_path / "val").precision
    assert figures == pytest.approx([wanted.ap, wanted.ap], abs=0.01)
    assert bench(file, workload=QUICK).accuracy is None


def test_labels_that_do_not_fit_cost_the_accuracy_only(file: Path, tmp_path: Path) -> None:
    for folder in ("images/val", "labels/val"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/val/a.png"), np.full((64, 64), 90, np.uint8))
    (tmp_path / "labels/val/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [rust]\nval: images/val\n")
    events: list[object] = []
    found = bench(file, data=str(tmp_path), workload=QUICK, on_event=events.append)
    assert found.accuracy is None and found.images_per_second > 0
    assert any("no accuracy" in getattr(event, "text", "") for event in events)


def test_the_overlapped_way_is_apart(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = bench(file, workload=Workload(calls=3, rounds=3, warmup=0)).overlapped
    assert found is not None and (found.batch, found.images) == (16, 32)
    rate = found.images_per_second
    assert 0 < rate.smallest <= rate.median <= rate.largest
    assert bench(file, protocol="paper", workload=QUICK, image_size=SIZE).overlapped is None


def test_a_sweep_goes_up_to_the_best_batch(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is quickest at 4 images at once: 8 and 16 are looked at, and no more."""

    def made_up(runtime: Runtime, paths: Sequence[Path], batch: int) -> Any:
        spent = {1: 10.0, 2: 16.0, 4: 28.0}.get(batch, 8.0 * batch)
        return lambda number: ({"infer": spent, "total": spent}, [])

    monkeypatch.setattr(sweeps, "files_call", made_up)
    found = bench(file, threads=2, workload=QUICK, sweep=True)
    assert [one.batch for one in found.batches] == [1, 2, 4, 8, 16]
    assert found.batches[2].images_per_second.median == pytest.approx(4000 / 28)
    assert [one.threads for one in found.thread_counts] == [1, 2]


def test_thread_counts_end_with_all_of_them() -> None:
    assert [sweeps.thread_counts(n) for n in (1, 2, 6)] == [[1], [1, 2], [1, 2, 4, 6]]


def test_calls_are_split_over_rounds() -> None:
    assert Workload(calls=11, rounds=3).turns == [3, 4, 4]
    assert Workload(calls=2, rounds=5).turns == [1, 1]


def test_warming_up_goes_on_until_times_are_alike() -> None:
    """30 calls that get quicker, then all alike."""
    times = [100.0, *(90.0 - n for n in range(30))]

    def call(number: int) -> Any:
        return {"total": times[number] if number < len(times) else 20.0}, []

    found = warm_up(call, None)
    # Medians 85.5, 75.5, 65.5, 20, 20: the fifth window is the first like the one before.
    assert (found.first["total"], found.calls, found.settled) == (100.0, 50, True)
    assert warm_up(call, 7) == replace(found, calls=7, settled=None)


def test_a_machine_that_never_settles_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LONGEST", 0.0)
    values = itertools.count(1)
    assert warm_up(lambda number: ({"total": 2.0 ** next(values)}, []), None).settled is False


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"against": [Path("missing.xml")]}, ["missing.xml", "does not exist"]),
        ({"protocol": "paper", "sweep": True}, ["--sweep"]),
        ({"protocol": "papr"}, ["'papr'", "did you mean 'paper'"]),
        ({"protocol": "paper", "workload": Workload(batch=8)}, ["batch 8"]),
        ({"protocol": "paper", "fuse": False}, ["--no-fuse"]),
        ({"protocol": "paper", "data": "set"}, ["--data"]),
        ({"source": Path(), "data": "set"}, ["two sources"]),
        ({"source": Path("nowhere")}, ["'nowhere'", "does not exist"]),
        ({"data": "nowhere/data.yaml"}, ["nowhere/data.yaml"]),
        ({"device": "cudda"}, ["'cudda'", "cpu"]),
        ({"weights": Path("missing.pt")}, ["missing.pt", "does not exist"]),
        ({"weights": Path("missing.onnx")}, ["missing.onnx", "does not exist"]),
    ],
)
def test_user_errors(file: Path, values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(KdlnetError) as caught:
        bench(**{"weights": file, **values})
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_list_is_no_image(file: Path, tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("a.png\n")
    with pytest.raises(DataError, match=r"all\.txt' is a list: give an image, a folder"):
        bench(file, source=tmp_path / "all.txt")


def test_a_folder_without_a_readable_image(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        bench(file, source=tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png"):
        bench(file, source=tmp_path)


def test_an_unknown_runtime_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'torch'"):
        open_runtime(file, runtime="torhc")


@pytest.mark.gpu
def test_on_a_gpu(file: Path) -> None:
    result = bench(file, device="cuda", workload=Workload(batch=2, calls=3, warmup=1))
    assert result.device == "cuda" and result.device_name == torch.cuda.get_device_name()
    assert result.boxes_per_image is not None and result.boxes_per_image > 0


@pytest.mark.parametrize(
    ("batch", "told"),
    [(1, "1 run as 4, filled up with 3 black"), (6, "6 run as 2 times 4, filled up with 2 black"),
     (8, "8 run as 2 times 4"), (4, None)],
)  # fmt: skip
def test_a_file_of_a_fixed_batch_is_not_filled_up_in_silence(
    file: Path, batch: int, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []
    opener = RUNTIMES["torch"]
    monkeypatch.setitem(
        RUNTIMES, "torch", lambda path, wanted: replace(opener(path, wanted), batch=4)
    )
    bench(file, workload=Workload(batch=batch, calls=1, warmup=0), on_event=events.append)
    found = [each.text for each in events if isinstance(each, Message) and "batches" in each.text]
    assert found == ([f"{str(file)!r} takes batches of 4 only: {told}"] if told else [])
