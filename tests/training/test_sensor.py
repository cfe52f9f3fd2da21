"""A lens out of focus and the grain of a sensor."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from kdlnet.training.sensor import blurred, grainy


def test_a_blur_is_the_gaussian_of_opencv() -> None:
    images = torch.rand(3, 2, 40, 56, generator=torch.Generator().manual_seed(0))
    found = blurred(images, torch.tensor([0.7, 0.0, 1.6]), largest=2.0)
    assert torch.equal(found[1], images[1])
    for n, sigma in ((0, 0.7), (2, 1.6)):
        for channel in range(2):
            wanted = cv2.GaussianBlur(
                images[n, channel].numpy(), (11, 11), sigma, borderType=cv2.BORDER_REPLICATE
            )
            np.testing.assert_allclose(found[n, channel].numpy(), wanted, rtol=0, atol=1e-6)


def test_noise_is_normal_and_everywhere_its_own() -> None:
    plain = torch.full((4, 3, 200, 300), 0.5)
    # Two of them begin in one row, two in one column and go round the edge.
    places = torch.tensor([[0.1, 0.95], [0.5, 0.5], [0.9, 0.95], [0.9, 0.2]])
    added = grainy(plain, torch.tensor([0.05, 0.0, 0.1, 0.1]), places, seed=0) - plain
    assert torch.equal(added[1], torch.zeros(3, 200, 300))
    for n, sigma in ((0, 0.05), (2, 0.1)):
        assert abs(added[n].std().item() / sigma - 1) < 0.02 and abs(added[n].mean()) < 0.02 * sigma
        assert abs((added[n].abs() < sigma).double().mean().item() - 0.683) < 0.01
    rows = torch.stack((*added[0], *added[2], *added[3], added[0, 0].roll(1, 1))).flatten(1)
    alike = torch.corrcoef(rows) - torch.eye(10)
    assert alike.abs().max() < 0.03
    field = torch.randn(3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    wanted = field.roll((-512, -512), (1, 2))[:, :200, :300] * 0.1
    half = grainy(plain[:1], torch.tensor([0.1]), torch.tensor([[0.5, 0.5]]), seed=0) - plain[0]
    torch.testing.assert_close(half[0], wanted, rtol=0, atol=1e-6)
    wanted = field.roll((-972, -972), (1, 2))[:, :200, :300] * 0.1  # 0.95 of 1024: round the edge
    edge = grainy(plain[:1], torch.tensor([0.1]), torch.tensor([[0.95, 0.95]]), seed=0) - plain[0]
    torch.testing.assert_close(edge[0], wanted, rtol=0, atol=1e-6)
    again = grainy(plain[2:3], torch.tensor([0.1]), places[2:3], seed=0)
    assert torch.equal(again[0] - plain[2], added[2])
    other = grainy(plain[2:3], torch.tensor([0.1]), places[2:3], seed=1)
    assert not torch.equal(other, again)
