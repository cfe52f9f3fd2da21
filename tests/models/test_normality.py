"""The shift of the class logits: 0 when fresh, within its limits, alike for all points."""

from __future__ import annotations

import torch

from kdlnet.models.fuse import fuse_model
from kdlnet.models.normality import LOGITS, MOST, Normality
from kdlnet.models.zoo import ModelArguments, build_model


def maps(images: int = 3) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [
        torch.randn(images, 4, 8, 8),
        torch.randn(images, 6, 4, 4),
        torch.randn(images, 5, 2, 2),
    ]


def test_a_fresh_one_changes_nothing() -> None:
    assert Normality([6, 5])(maps()).tolist() == [0.0, 0.0, 0.0]


def test_the_largest_distance_of_a_level_counts_in_standard_deviations() -> None:
    normality = Normality([1])
    level = normality.levels[0]
    level.get_buffer("mean").fill_(1.0)
    level.get_parameter("whiten.weight").fill_(2.0)  # one over the deviation
    normality.center.fill_(1.0)
    normality.slope.fill_(0.5)
    seen = torch.ones(2, 1, 7, 7)  # at the border the mean takes what lies outside for 0
    seen[0, 0, 3, 3] += 9 * torch.e**2 / 2  # alone: the mean of 3x3 is e^2 / 2 above
    seen[1, 0, 2:5, 2:5] += torch.e**1.4 / 2
    expected = torch.tensor([0.5 * (2 - 1), 0.5 * (1.4 - 1)])
    torch.testing.assert_close(normality([seen]), LOGITS * expected, atol=1e-5, rtol=0)


def test_a_strange_image_gains_no_more_than_the_limit() -> None:
    normality = Normality([6, 5])
    for level in normality.levels:
        level.get_parameter("whiten.weight").mul_(1e4)
    normality.slope.fill_(10.0)
    assert normality(maps()).tolist() == [LOGITS * MOST] * 3
    normality.center.fill_(1e3)
    assert normality(maps()).tolist() == [-LOGITS * MOST] * 3


def test_all_logits_of_an_image_shift_alike_and_nothing_else_does() -> None:
    arguments = ModelArguments(2, normality=True)
    network = build_model("lightnet-n", arguments, seed=0).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before, levels = network(images), network.levels(images)
        assert network.normality is not None
        network.normality.slope.fill_(0.3)
        after, shifted = network(images), network.levels(images)
        gained = network.normality(network.backbone(images))
        assert len(set(gained.tolist())) == 2 and gained.abs().min() > 0.01
        torch.testing.assert_close(after.logits, before.logits + gained[:, None, None])
        torch.testing.assert_close(after.bins, before.bins, atol=0, rtol=0)
        for (logits, bins), (moved, same) in zip(levels, shifted, strict=True):
            torch.testing.assert_close(moved, logits + gained[:, None, None, None])
            assert torch.equal(bins, same)
        fused = fuse_model(network)(images)
    torch.testing.assert_close(fused.logits, after.logits, atol=1e-4, rtol=1e-4)
