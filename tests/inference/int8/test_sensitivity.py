"""What a layer alone costs: ranked by pretending, nothing is changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdlnet.inference.int8.sensitivity import layer_costs, layer_names
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.models.zoo import ModelArguments, build_model


@pytest.fixture
def fused() -> Network:
    network = build_model("lightnet-n", ModelArguments(2), seed=0)
    for _ in range(2):
        network(torch.rand(4, 3, 64, 96))
    for layer in (*network.head.class_logits, *network.head.box_bins):
        layer.weight.data *= 30
    return fuse_model(network.eval())


def _images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.random((1, 3, 64, 96), np.float32) for _ in range(3)]


def test_a_layer_with_one_huge_weight_costs_most(fused: Network) -> None:
    names = layer_names(fused)
    assert "backbone.stem" in names and not any("logits" in n or "bins" in n for n in names)
    layer = fused.get_submodule("head.box_blocks.1")
    # A scale has 127 steps: beside one weight 1000 times the others these all become zero. The
    # images are so dark in that channel that it adds nothing itself.
    layer.conv.weight.data[:, 0] = 0
    layer.conv.weight.data[:, 0, 0, 0] = 1000 * layer.conv.weight.abs().max()
    first = fused.get_submodule("neck.bottom_up.0.join")
    first.conv.weight.data[0], first.conv.bias.data[0] = 0, 0
    state = {key: value.clone() for key, value in fused.state_dict().items()}
    costs = layer_costs(fused, _images())
    assert list(costs) == names and all(cost >= 0 for cost in costs.values())
    assert max(costs, key=lambda name: costs[name]) == "head.box_blocks.1"
    assert all(torch.equal(value, state[key]) for key, value in fused.state_dict().items())


def test_the_order_of_the_images_changes_nothing(fused: Network) -> None:
    ahead, back = layer_costs(fused, _images()), layer_costs(fused, _images()[::-1])
    assert ahead == pytest.approx(back, rel=1e-4)
