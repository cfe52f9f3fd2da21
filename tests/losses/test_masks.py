"""The loss of masks: golden values by hand, and what does not count."""

from __future__ import annotations

import math

import pytest
import torch

from kdlnet.losses.masks import UNKNOWN, mask_loss


def test_golden_value_of_even_scores() -> None:
    """Scores of a half everywhere, one cell of four a defect.

    Focal: four times 0.25 ln 2, one cell of defect: ln 2. Dice: 1 - (2 * 0.5 + 1) / (2 + 1 + 1).
    """
    masks = torch.tensor([[[[1, 0], [0, 0]]]], dtype=torch.uint8)
    loss = mask_loss(torch.zeros(1, 1, 2, 2), masks)
    assert loss.item() == pytest.approx(math.log(2) + 0.5)


def test_right_scores_cost_nothing_and_wrong_ones_much() -> None:
    masks = torch.tensor([[[[1, 0], [0, 0]]]], dtype=torch.uint8)
    sure = torch.where(masks > 0, 30.0, -30.0)
    assert mask_loss(sure, masks).item() == pytest.approx(0, abs=1e-6)
    assert mask_loss(-sure, masks).item() > 30


def test_good_parts_have_a_live_gradient_and_no_dice() -> None:
    logits = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert loss.item() == pytest.approx(2 * 3 * 16 * 0.25 * math.log(2))
    loss.backward()
    assert logits.grad is not None and (logits.grad > 0).all()


def test_what_is_not_known_does_not_count() -> None:
    torch.manual_seed(0)
    masks = torch.randint(0, 3, (2, 3, 8, 8), dtype=torch.uint8)
    logits = torch.randn(2, 3, 8, 8)
    other = torch.where(masks == UNKNOWN, torch.randn_like(logits), logits)
    assert torch.equal(mask_loss(logits, masks), mask_loss(other, masks))
    known = torch.tensor([[True, True, False], [True, True, True]])
    hidden = masks.clone()
    hidden[0, 2] = UNKNOWN
    torch.testing.assert_close(mask_loss(logits, masks, known), mask_loss(logits, hidden))
    assert not torch.allclose(mask_loss(logits, masks), mask_loss(logits, hidden))
