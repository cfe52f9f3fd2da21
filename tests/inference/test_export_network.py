"""The network of an exported file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdlnet.inference.export_network import network_of
from kdlnet.inference.layouts import Layout
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.verbs.export import export

from ..support.weights_file import make_weights


def test_parted_stages_answer_the_same(tmp_path: Path) -> None:
    weights = load_weights(make_weights(tmp_path / "best.pt"))
    weights.detector = fuse_model(weights.detector)
    size = weights.preprocess.image_size
    images = torch.rand(2, weights.preprocess.channels, *size, generator=torch.manual_seed(0))
    with torch.no_grad():
        plain, parted = (
            network_of(weights, Layout(), parted=parted)(images) for parted in (False, True)
        )
    for one, two in zip(plain, parted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-4)


def test_an_onnx_file_cuts_no_channels_out_of_a_map(tmp_path: Path) -> None:
    """And shapes no answer once more after it was joined: both cost ONNX Runtime copies."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    file = make_weights(tmp_path / "best.pt")
    graph = onnx.load(export(file).exported).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    cut = [node for node in graph.node if node.op_type == "Slice"]
    assert "Relu" not in {made_by.get(node.input[0]) for node in cut}
    assert made_by["bins"] == "Concat"
