"""Teachers as one frozen forward function."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kdlnet.inference.weights import Weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training.steps import gradient_ratio
from kdlnet.training.teacher import Ensemble, Member, Mirrored, frozen
from kdlnet.types import Preprocess


def _member(seed: int, order: Sequence[int] | None = None) -> Member:
    detector = build_model("lightnet-n", ModelArguments(3), seed=seed).eval()
    for parameter in detector.head.class_logits.parameters():
        parameter.data += torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(seed)
        )
    fused = fuse_model(detector).requires_grad_(False)
    return Member(fused, None if order is None else torch.tensor(order))


def test_several_teachers_are_averaged_in_scores_and_in_bins() -> None:
    members = [_member(0), _member(1)]
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        one, two, both = members[0](images), members[1](images), Ensemble(members)(images)
        alone = Ensemble(members[:1])(images)
    scores = (one.logits.sigmoid() + two.logits.sigmoid()) / 2
    torch.testing.assert_close(both.logits.sigmoid(), scores, rtol=1e-4, atol=1e-5)
    shares = (one.bins.softmax(-1) + two.bins.softmax(-1)) / 2
    torch.testing.assert_close(both.bins.softmax(-1), shares)
    assert torch.equal(alone.logits, one.logits) and torch.equal(alone.bins, one.bins)


def test_a_mirrored_answer_is_the_answer_to_the_mirrored_image() -> None:
    """Images that are their own mirror image get an answer that is its own mirror image."""
    member = _member(0)
    half = torch.rand(1, 3, 64, 48)
    images = torch.cat([half, half.flip(3)], dim=3)  # (1, 3, 64, 96): more columns than rows
    with torch.no_grad():
        upright, mirrored = member(images), Mirrored(member)(images)
        both = Ensemble([member], mirrored=True)(images)
    points = upright.points.tolist()
    for index in range(0, len(points), 7):
        x, y = points[index]
        at = next(
            i
            for i, (u, v) in enumerate(points)
            if (u, v) == (96 - x, y) and upright.strides[i] == upright.strides[index]
        )
        assert torch.equal(mirrored.logits[0, index], upright.logits[0, at])
        assert torch.equal(mirrored.bins[0, index, 0], upright.bins[0, at, 2])
        assert torch.equal(mirrored.bins[0, index, 1], upright.bins[0, at, 1])
    scores = (upright.logits.sigmoid() + mirrored.logits.sigmoid()) / 2
    torch.testing.assert_close(both.logits.sigmoid(), scores, rtol=1e-4, atol=1e-5)
    for one, two in zip(upright.features, Mirrored(member)(images).features, strict=True):
        torch.testing.assert_close(two, one.flip(3))


def test_the_head_says_of_its_own_features_what_the_teacher_says() -> None:
    member = _member(0, order=[2, 0, 1])
    raw = member(torch.rand(1, 3, 64, 64))
    again = Ensemble([member]).head(raw.features)
    assert torch.equal(again.logits, raw.logits) and torch.equal(again.bins, raw.bins)
    plain = _member(0)(torch.rand(1, 3, 64, 64))
    assert plain.logits.shape == raw.logits.shape


def test_what_a_teacher_knows_of_good_parts_is_not_taught() -> None:
    """All mosaics and warped images are unlike good parts; its head alone knows nothing of them."""
    arguments = ModelArguments(3, normality=True)
    network = build_model("lightnet-n", arguments, seed=0).eval()
    assert network.normality is not None
    network.normality.slope.fill_(0.3)
    names = ("a", "b", "c")
    weights = Weights(network, "lightnet-n", arguments, names, Preprocess((64, 64)))
    parts: Any = SimpleNamespace(device=torch.device("cpu"), info=SimpleNamespace(names=names))
    member = frozen(weights, parts)
    with torch.no_grad():
        raw = member(torch.rand(2, 3, 64, 64))
        again = member.head(raw.features)
    torch.testing.assert_close(again.logits, raw.logits)
    assert network.normality is not None


def test_gradients_flow_through_the_head_and_leave_it_alone() -> None:
    member = _member(0)
    features = tuple(x.clone().requires_grad_() for x in member(torch.rand(1, 3, 64, 64)).features)
    member.head(features).logits.sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in features)
    assert all(p.grad is None for p in member.detector.parameters())


def test_gradient_ratio_by_hand() -> None:
    at = (torch.tensor([3.0, 4.0], requires_grad=True), torch.tensor([1.0], requires_grad=True))
    first: Tensor = 2 * at[0].sum() + 0 * at[1].sum()  # gradient (2, 2), (0): norm sqrt 8
    second = 3 * at[1].sum() + 0 * at[0].sum()  # gradient (0, 0), (3): norm 3
    ratio = gradient_ratio(first, second, at)
    torch.testing.assert_close(ratio, torch.tensor(8.0).sqrt() / 3)
