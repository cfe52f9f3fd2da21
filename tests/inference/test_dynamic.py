"""Exported files whose height and width are free: the answers at any size are the network's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdlnet.errors import ConfigError, ProofFailed
from kdlnet.inference import openvino_export
from kdlnet.inference.exporters import EXPORTERS
from kdlnet.inference.layouts import Layout
from kdlnet.inference.onnx_export import onnx_model
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import RUNTIMES, Runtime, Wanted, open_runtime
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.ops.decode import decode_boxes
from kdlnet.verbs.bench import Workload, bench
from kdlnet.verbs.export import ExportCertificate, export
from kdlnet.verbs.val import validate

from ..support.weights_file import SIZE, make_weights

FORMATS = ("onnx", "openvino")
OTHER = (128, 64)  # taller than wide, where the file's own is wider than tall

Files = Mapping[str, tuple[Path, ExportCertificate]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """By format the file and its certificate; the slow step, the ONNX network, is made once."""
    for package in EXPORTERS["openvino"].packages + EXPORTERS["onnx"].packages:
        pytest.importorskip(package)
    onnx = pytest.importorskip("onnx")
    weights = make_weights(tmp_path_factory.mktemp("dynamic") / "best.pt")
    found = {"onnx": (weights.with_suffix(".onnx"), export(weights, dynamic=True))}

    def made(weights: Weights, layout: Layout) -> Any:
        assert layout.dynamic
        return onnx.load(found["onnx"][0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_export, "onnx_model", made)
        proof = export(weights, format="openvino", dynamic=True)
    return found | {"openvino": (weights.with_suffix(".xml"), proof)}


@pytest.mark.parametrize("format", FORMATS)
def test_the_proof_runs_at_two_sizes(files: Files, format: str) -> None:
    path, proof = files[format]
    facts = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert facts["dynamic"] is True and facts["image_size"] == list(SIZE)
    assert facts["multiples_of"] == 32
    other = facts["another_size"]
    assert other["image_size"] == [96, 160] and other["same_boxes"]
    assert 0 < other["largest_logit_error"] <= other["tolerance"]
    assert 0 < other["largest_box_error"] <= other["box_tolerance"]
    assert proof.passed and other["boxes_compared"] > 32


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [SIZE, OTHER, (32, 32)])
def test_any_size_and_batch_give_what_torch_gives(
    files: Files, format: str, size: tuple[int, int]
) -> None:
    path, _ = files[format]
    runtime = open_runtime(path, image_size=size)
    assert runtime.preprocess.image_size == size and not runtime.fixed_size
    assert runtime.with_boxes is not None
    for batch in (1, 3):
        images = torch.rand(batch, 3, *size)
        with torch.no_grad():
            wanted = load_weights(path.with_suffix(".pt")).detector(images)
        raw, boxes = runtime.with_boxes(images.numpy())
        for name in ("logits", "bins", "points", "strides"):
            np.testing.assert_allclose(getattr(raw, name), getattr(wanted, name), atol=1e-3)
        np.testing.assert_allclose(boxes, decode_boxes(wanted), atol=1e-2)


def test_free_sizes_have_names(files: Files) -> None:
    onnx = pytest.importorskip("onnx")
    assert _sizes(onnx.load(files["onnx"][0])) == {
        "images": ["batch", 3, "height", "width"],
        "logits": ["batch", "points", 2],
        "boxes": ["batch", "points", 4],
        "bins": ["batch", "points", 4, 16],
    }


@pytest.mark.slow
def test_raw_maps_of_any_size_and_a_fixed_batch(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    weights = load_weights(make_weights(tmp_path / "best.pt"))
    weights.detector = fuse_model(weights.detector)
    model = onnx_model(weights, Layout("maps", batch=2, dynamic=True))
    sizes = _sizes(model)
    assert sizes["images"] == [2, 3, "height", "width"]
    assert sizes["bins_16"] == [2, 64, "height/16", "width/16"]
    session = runtime.InferenceSession(model.SerializeToString())
    found = session.run(None, {"images": torch.rand(2, 3, *OTHER).numpy()})
    assert [each.shape[2:] for each in found[::2]] == [(16, 8), (8, 4), (4, 2)]


def _sizes(model: Any) -> dict[str, list[int | str]]:
    return {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


@pytest.mark.parametrize("format", FORMATS)
def test_predict_val_and_bench_take_another_size(
    files: Files, format: str, dataset: Path, tmp_path: Path
) -> None:
    """The same boxes and AP as from the weights at that size."""
    path, _ = files[format]
    weights = path.with_suffix(".pt")
    images = dataset.parent / "images" / "val"
    boxes, figures = [], []
    for file in (weights, path):
        predictor = Predictor.load(file, device="cpu", image_size=OTHER)
        boxes.append([each.boxes for each in predictor.predict(images)])
        result = validate(
            file, data=str(dataset), device="cpu", image_size=OTHER, out=tmp_path / file.name,
            pictures=False,
        )  # fmt: skip
        figures.append(result.precision.ap)
    for one, two in zip(*boxes, strict=True):
        np.testing.assert_allclose(one, two, atol=0.1)
    assert sum(map(len, boxes[0])) > 12 and figures[0] == pytest.approx(figures[1], abs=1e-4)
    once = Workload(calls=1, warmup=1, rounds=1)
    assert bench(path, device="cpu", image_size=OTHER, workload=once).image_size == OTHER
    paper = bench(path, device="cpu", protocol="paper", workload=once)
    assert paper.image_size == (640, 640)


def test_a_size_between_the_strides_is_refused(files: Files) -> None:
    for path, _ in files.values():
        with pytest.raises(ConfigError, match=r"image size 48x64.* multiples of 32 only"):
            open_runtime(path, image_size=(48, 64))


def test_a_file_that_is_right_at_one_size_alone_is_not_kept(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = files["onnx"]
    content, opener = path.read_bytes(), RUNTIMES["onnxruntime"]

    def write(weights: Weights, path: Path, layout: Layout) -> None:
        path.write_bytes(content)

    def spoiled(path: Path, wanted: Wanted) -> Runtime:
        runtime = opener(path, wanted)
        answers = runtime.with_boxes
        assert answers is not None

        def other(images: Any) -> Any:
            raw, boxes = answers(images)
            return raw, boxes + (images.shape[2:] != SIZE)

        return replace(runtime, with_boxes=other)

    monkeypatch.setitem(EXPORTERS, "onnx", replace(EXPORTERS["onnx"], write=write))
    monkeypatch.setitem(RUNTIMES, "onnxruntime", spoiled)
    out = path.with_name("spoiled.onnx")
    with pytest.raises(ProofFailed, match="other answers at 96x160"):
        export(path.with_suffix(".pt"), dynamic=True, out=out)
    assert not out.exists() and not out.with_name("spoiled.onnx.json").exists()


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"format": "torchscript"}, "--dynamic: torchscript has one size.*onnx, openvino"),
        ({"outputs": "detections"}, "--dynamic and --nms"),
        ({"int8": True, "data": "parts"}, "--int8 and --dynamic"),
    ],
)
def test_what_cannot_be_free_is_refused(choice: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        export(tmp_path / "best.pt", dynamic=True, **choice)
