"""What exported files take and answer, over every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kdlnet.errors import WeightsError
from kdlnet.inference.export_network import network_of
from kdlnet.inference.exporters import EXPORTERS
from kdlnet.inference.layouts import Layout
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.ops.decode import decode_boxes
from kdlnet.verbs.export import export

from ..support.weights_file import SIZE, make_weights

FORMATS = ["onnx", "openvino", "torchscript"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "best.pt")


def _export(file: Path, format: str, **more: object) -> Path:
    for package in EXPORTERS[format].packages:
        pytest.importorskip(package)
    proof = export(file, format=format, **more)  # type: ignore[arg-type]
    assert proof.passed and proof.boxes_compared > 32
    return Path(proof.exported)


@pytest.mark.parametrize("format", FORMATS)
def test_raw_maps_of_a_fixed_batch_are_decoded_by_kdlnet(file: Path, format: str) -> None:
    """Three images through a file that takes two at once."""
    path = _export(file, format, outputs="maps", batch=2)
    images = torch.rand(3, 3, *SIZE)
    with torch.no_grad():
        wanted = load_weights(file).detector(images)
    runtime = open_runtime(path)
    assert runtime.with_boxes is not None
    raw, boxes = runtime.with_boxes(images.numpy())
    for name in ("logits", "bins", "points", "strides"):
        np.testing.assert_allclose(getattr(raw, name), getattr(wanted, name), atol=1e-3)
    np.testing.assert_allclose(boxes, decode_boxes(wanted), atol=1e-2)
    assert runtime.engine.run(images[:1].numpy()).logits.shape == (1, 126, 2)


@pytest.mark.parametrize("format", FORMATS)
def test_half_is_judged_by_boxes_and_verdicts(file: Path, format: str) -> None:
    whole = _export(file, format)
    proof = export(file, format=format, half=True, out=whole.with_stem("half"))
    assert proof.passed and proof.tolerance is None and proof.flips_allowed == 0
    assert 1e-4 < proof.largest_logit_error < 1
    # On a CPU ONNX Runtime computes in float32 what a file stores in 16 bits; torch does not.
    assert proof.precision == ("float16" if format == "torchscript" else "float32")
    half = open_runtime(Path(proof.exported))
    assert half.precision == proof.precision and half.file_precision == "float16"
    assert open_runtime(whole).file_precision == "float32"


def test_half_sees_levels_that_16_bits_do_not_hold(file: Path) -> None:
    """Two images that 16 bits would round to the same."""
    weights = load_weights(file)
    weights.detector = fuse_model(weights.detector)
    images = torch.tensor([1843.0, 1843.4])[:, None, None, None].expand(2, 3, *SIZE) / 2048
    assert images.half().unique().numel() == 1
    with torch.no_grad():
        logits, _, _ = network_of(weights, Layout(), half=True)(images)
    assert not logits[0].equal(logits[1])


def test_the_raw_outputs_are_named_by_stride(file: Path) -> None:
    """As the compiler of an NPU finds them: the last nodes are the convolutions."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(_export(file, "onnx", outputs="maps", batch=1)).graph
    sizes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert sizes == {
        "images": [1, 3, 64, 96],
        "logits_8": [1, 2, 8, 12],
        "bins_8": [1, 64, 8, 12],
        "logits_16": [1, 2, 4, 6],
        "bins_16": [1, 64, 4, 6],
        "logits_32": [1, 2, 2, 3],
        "bins_32": [1, 64, 2, 3],
    }
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    assert {made_by[value.name] for value in graph.output} == {"Conv"}


def test_a_header_of_another_layout_is_told(file: Path) -> None:
    assert Layout.of_header({}) == Layout("points", None, False)  # files before there were layouts
    for header in ({"outputs": "mapz"}, {"batch": 0}, {"dynamic": "yes"}):
        with pytest.raises(ValueError, match="no layout"):
            Layout.of_header(header)
    path = _export(file, "onnx", outputs="maps", batch=1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"outputs": "maps"', b'"outputs": "mapz"'))
    with pytest.raises(WeightsError, match="damaged"):
        open_runtime(path)
