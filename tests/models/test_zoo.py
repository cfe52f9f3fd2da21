"""Every model of the registry: bounds, shapes, fusing."""

from __future__ import annotations

import pytest
import torch

from kdlnet.errors import ConfigError
from kdlnet.models.cost import cost_of, model_cost, model_table
from kdlnet.models.fuse import fuse_model, is_fused
from kdlnet.models.zoo import MODELS, ModelArguments, build_model
from kdlnet.nn.rep import BLOCKS


def test_bounds_of_the_registry() -> None:
    rows = {row["name"]: row for row in model_table()}
    assert rows["lightnet"]["parameters"] == pytest.approx(4.7e6, rel=0.01)
    assert rows["lightnet"]["gflops"] <= 8.5
    assert rows["lightnet-n"]["parameters"] <= 1.6e6
    assert rows["lightnet-n"]["gflops"] <= 2.5
    assert rows["lightnet-l"]["parameters"] > 2 * rows["lightnet"]["parameters"]
    for name in ("lightnet", "lightnet-n", "lightnet-l"):
        assert rows[name]["strides"] == (8, 16, 32)
        assert rows[f"{name}-p2"]["strides"] == (4, 8, 16, 32)


@pytest.mark.parametrize("name", MODELS)
def test_any_classes_any_size(name: str) -> None:
    with torch.device("meta"):
        detector = build_model(name, ModelArguments(num_classes=1, channels=1))
    raw = detector(torch.empty(2, 1, 64, 96, device="meta"))
    points = sum((64 // stride) * (96 // stride) for stride in detector.strides)
    assert raw.logits.shape == (2, points, 1)
    assert raw.bins.shape[:3] == (2, points, 4)
    assert raw.points.shape == (points, 2) and raw.strides.shape == (points,)
    assert len(raw.features) == len(detector.strides)


@pytest.mark.parametrize("name", ["lightnet-n", "lightnet-n-p2"])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_fused_model_answers_the_same(name: str, block: str) -> None:
    torch.manual_seed(0)
    detector = build_model(name, ModelArguments(3, 3, block), seed=1).double()
    images = torch.rand(4, 3, 64, 96, dtype=torch.float64)
    for _ in range(3):  # real statistics in every BatchNorm
        detector(images)
    detector.eval()
    fused = fuse_model(detector)
    with torch.no_grad():
        before, after = detector(images), fused(images)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after.bins, before.bins, rtol=1e-8, atol=1e-8)
    assert is_fused(fused) and not is_fused(detector)


def test_fusing_leaves_the_original_and_twice_is_once() -> None:
    detector = build_model("lightnet-n", ModelArguments(2), seed=0)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    fused = fuse_model(detector)
    twice = fuse_model(fused)
    assert all(torch.equal(before[key], value) for key, value in detector.state_dict().items())
    assert detector.training
    state, again = fused.state_dict(), twice.state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)


def test_cost_counts_the_fused_model_by_hand() -> None:
    # Fusing 32 -> 32 in the head of lightnet-n leaves kernel 32*c*9 and a bias of 32, no norm.
    detector = build_model("lightnet-n", ModelArguments(2), seed=0)
    counted = sum(p.numel() for p in fuse_model(detector).parameters())
    assert model_cost(detector, (64, 64)).parameters == counted
    assert model_cost(detector, (64, 128)).gflops == pytest.approx(
        2 * model_cost(detector, (64, 64)).gflops
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_the_cost_of_a_network_as_it_is_counts_every_branch(block: str) -> None:
    detector = build_model("lightnet-n", ModelArguments(2, 1, block), seed=0)
    found, fused = cost_of(detector, (64, 96)), model_cost(detector, (64, 96))
    assert found.parameters == sum(p.numel() for p in detector.parameters()) > fused.parameters
    # The summed form folds its kernels into one before it convolves; the others run each branch.
    assert found.gflops == fused.gflops if block == "summed" else found.gflops > fused.gflops
    assert cost_of(fuse_model(detector), (64, 96)) == fused


def test_a_seed_fixes_the_weights_and_leaves_the_global_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = build_model("lightnet-n", ModelArguments(2), seed=3)
    assert torch.equal(torch.rand(1), expected)
    two = build_model("lightnet-n", ModelArguments(2), seed=3)
    other = build_model("lightnet-n", ModelArguments(2), seed=4)
    weights = [next(iter(m.parameters())) for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_unknown_names_offer_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lightnet'"):
        build_model("lightnett", ModelArguments(2))
    with pytest.raises(ConfigError, match="did you mean 'repvgg'"):
        build_model("lightnet", ModelArguments(2, block="repvg"))
    with pytest.raises(ConfigError, match="at least one"):
        build_model("lightnet", ModelArguments(0))


def test_scores_start_low() -> None:
    detector = build_model("lightnet-n", ModelArguments(4), seed=0).eval()
    with torch.no_grad():
        scores = detector(torch.rand(1, 3, 64, 64)).logits.sigmoid()
    assert scores.max() < 0.05  # a prior of 0.01: the background must not drown the first steps


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_scores_and_bins_of_mixed_precision_are_float32(half: torch.dtype) -> None:
    detector = build_model("lightnet-n", ModelArguments(num_classes=3), seed=0).train()
    with torch.autocast("cpu", half):
        raw = detector(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        (raw.logits.sum() + raw.bins.sum()).backward()
    assert raw.features[0].dtype == half
    for found in (raw.logits, raw.bins):
        assert found.dtype == torch.float32
        assert not torch.equal(found, found.to(half).float()), "rounded to 16 bits"
    assert all(value.grad is not None for value in detector.parameters())
