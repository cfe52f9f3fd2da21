"""What a student learns from its teacher's outputs."""

from __future__ import annotations

import math

import pytest
import torch

from kdlnet.losses.distillation import (
    DistillLoss,
    bernoulli_kl,
    bins_kl,
    cosine_decay,
    teacher_foreground,
)
from kdlnet.types import RawPredictions


def _raw(logits: torch.Tensor, bins: torch.Tensor | None = None) -> RawPredictions:
    batch, count, _ = logits.shape
    bins = torch.zeros(batch, count, 4, 8) if bins is None else bins
    return RawPredictions(logits, bins, torch.zeros(count, 2), torch.ones(count))


def test_bernoulli_kl_by_hand() -> None:
    # Teacher 0.8, student 0.5: KL = 0.8 ln(0.8 / 0.5) + 0.2 ln(0.2 / 0.5), weight |0.3|.
    teacher = torch.tensor([[[math.log(4.0)]]])
    expected = 0.3 * (0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    found = bernoulli_kl(torch.zeros(1, 1, 1), teacher, beta=1.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert bernoulli_kl(torch.zeros(1, 1, 1), teacher, beta=0.0).item() == pytest.approx(
        expected / 0.3, rel=1e-5
    )


def test_equal_outputs_cost_nothing() -> None:
    torch.manual_seed(0)
    raw = _raw(torch.randn(2, 5, 3), torch.randn(2, 5, 4, 8))
    assert DistillLoss()(raw, raw, 0.0).loss.item() == pytest.approx(0, abs=1e-6)


def test_one_class_still_teaches() -> None:
    """A soft-max over one class is always 1, so its KL has neither value nor gradient."""
    teacher = torch.full((1, 4, 1), 2.0)
    student = torch.full((1, 4, 1), -2.0, requires_grad=True)
    bernoulli_kl(student, teacher).sum().backward()
    assert student.grad is not None and (student.grad < -0.1).all()
    log_p = torch.log_softmax(student.detach(), dim=-1)
    assert torch.nn.functional.kl_div(log_p, teacher.softmax(-1), reduction="sum") == 0


def test_a_common_shift_of_all_logits_is_corrected() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(1, 6, 4)
    student = (teacher + 3).requires_grad_()
    bernoulli_kl(student, teacher).sum().backward()
    assert student.grad is not None and (student.grad > 0).all()  # every logit is pulled down


def test_bins_kl_by_hand() -> None:
    teacher = torch.tensor([0.75, 0.25]).log().repeat(1, 1, 4, 1)
    student = torch.zeros(1, 1, 4, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert bins_kl(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_temperature_keeps_the_scale_of_small_differences() -> None:
    torch.manual_seed(0)
    student = torch.randn(1, 50, 4, 8) * 0.01
    teacher = torch.randn(1, 50, 4, 8) * 0.01
    cold, warm = bins_kl(student, teacher, 1.0).sum(), bins_kl(student, teacher, 4.0).sum()
    torch.testing.assert_close(cold, warm, rtol=0.02, atol=0)


def test_scale_does_not_depend_on_image_size_or_classes() -> None:
    """Four times the points, or eight more classes nobody believes in, change nothing much."""
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 400, 2), torch.randn(1, 400, 2) + 1
    loss = DistillLoss(bins_weight=0)
    small = loss(_raw(student), _raw(teacher), 0.0).loss
    large = loss(_raw(student.repeat(1, 4, 1)), _raw(teacher.repeat(1, 4, 1)), 0.0).loss
    quiet = torch.full((1, 400, 8), -12.0)
    more = loss(
        _raw(torch.cat((student, quiet), 2)), _raw(torch.cat((teacher, quiet), 2)), 0.0
    ).loss
    torch.testing.assert_close(small, large)
    torch.testing.assert_close(small, more, rtol=1e-3, atol=0)


def test_batches_of_good_parts_do_not_blow_up() -> None:
    sure_of_nothing = torch.full((2, 100, 3), -20.0)
    assert teacher_foreground(sure_of_nothing).item() == 1
    student = torch.full((2, 100, 3), -5.0)
    assert DistillLoss()(_raw(student), _raw(sure_of_nothing), 0.0).loss < 1


def test_bins_of_points_the_teacher_doubts_count_little() -> None:
    torch.manual_seed(0)
    bins, other = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 4, 8)
    logits = torch.tensor([[[6.0], [-6.0]]])
    student = other.clone().requires_grad_()
    DistillLoss(class_weight=0)(_raw(logits, student), _raw(logits, bins), 0.0).loss.backward()
    assert student.grad is not None
    assert student.grad[0, 0].abs().sum() > 100 * student.grad[0, 1].abs().sum()


def test_the_lesson_fades_with_a_cosine() -> None:
    assert [round(cosine_decay(p), 6) for p in (0, 0.5, 1, 2)] == [1, 0.5, 0, 0]
    student, teacher = _raw(torch.zeros(1, 4, 2)), _raw(torch.ones(1, 4, 2))
    first, half = (DistillLoss()(student, teacher, p).loss for p in (0.0, 0.5))
    torch.testing.assert_close(half, first / 2)


def test_half_precision_is_compared_in_float32() -> None:
    student, teacher = torch.randn(1, 4, 2).bfloat16(), torch.randn(1, 4, 2).bfloat16()
    assert bernoulli_kl(student, teacher).dtype == torch.float32
    bins = torch.randn(1, 4, 4, 8).bfloat16()
    assert bins_kl(bins, bins).dtype == torch.float32


def test_the_teacher_gets_no_gradient() -> None:
    teacher = torch.zeros(1, 4, 2, requires_grad=True)
    student = torch.ones(1, 4, 2, requires_grad=True)
    bernoulli_kl(student, teacher).sum().backward()
    assert teacher.grad is None and student.grad is not None
