"""What a student learns from its teacher's outputs."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from kdlnet.config import DistillConfig, build_config
from kdlnet.losses.distill_loss import CLASS_TERMS, SCHEDULES, TERMS, DistillLoss
from kdlnet.losses.distillation import (
    bernoulli_kl,
    bins_kl,
    channel_kl,
    pearson_distance,
    softmax_kl,
    teacher_box_loss,
    teacher_foreground,
)
from kdlnet.losses.normalizer import normalizer
from kdlnet.training.taught import distill_loss
from kdlnet.types import RawPredictions


def _raw(logits: torch.Tensor, bins: torch.Tensor | None = None) -> RawPredictions:
    batch, count, _ = logits.shape
    bins = torch.zeros(batch, count, 4, 8) if bins is None else bins
    return RawPredictions(logits, bins, torch.zeros(count, 2), torch.ones(count))


def _loss(**changes: object) -> DistillLoss:
    """With the usual settings, but for ``changes``."""
    return distill_loss(build_config({"distill": changes}))


def test_every_term_and_form_is_a_setting_and_every_such_setting_a_term() -> None:
    fields = DistillConfig.model_fields
    weights = [name.removesuffix("_weight") for name in fields if name.endswith("_weight")]
    assert weights == list(TERMS)
    for name, known in (("classification", CLASS_TERMS), ("schedule", SCHEDULES)):
        assert get_args(fields[name].annotation) == tuple(known)


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
    assert _loss()(raw, raw, 0.0).loss.item() == pytest.approx(0, abs=1e-6)


def test_one_class_still_teaches() -> None:
    """A soft-max over one class is always 1, so its KL has neither value nor gradient."""
    teacher = torch.full((1, 4, 1), 2.0)
    student = torch.full((1, 4, 1), -2.0, requires_grad=True)
    bernoulli_kl(student, teacher).sum().backward()
    assert student.grad is not None and (student.grad < -0.1).all()
    student.grad = None
    value = softmax_kl(student, teacher).sum()
    value.backward()
    assert value.item() == 0 and (student.grad == 0).all()


def test_a_common_shift_of_all_logits_is_corrected() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(1, 6, 4)
    student = (teacher + 3).requires_grad_()
    bernoulli_kl(student, teacher).sum().backward()
    assert student.grad is not None and (student.grad > 0).all()  # every logit is pulled down
    assert softmax_kl(student.detach(), teacher).sum().item() == pytest.approx(0, abs=1e-5)


def test_softmax_kl_by_hand() -> None:
    # Teacher 0.75 / 0.25, student 0.5 / 0.5, at temperature 1; at 2 the odds 3 become sqrt 3.
    teacher = torch.tensor([[[math.log(3.0), 0.0]]])
    student = torch.zeros(1, 1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert softmax_kl(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    p = math.sqrt(3) / (1 + math.sqrt(3))
    warm = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 - 2 * p))
    assert softmax_kl(student, teacher, 2.0).item() == pytest.approx(warm, rel=1e-5)


def test_teacher_boxes_by_geometry() -> None:
    # Half overlap of two unit squares: IoU 1/3, the hull is their union, so GIoU is 1/3 as well.
    one, half = torch.tensor([[[0.0, 0, 1, 1]]]), torch.tensor([[[0.5, 0, 1.5, 1]]])
    assert teacher_box_loss(one, one).item() == pytest.approx(0, abs=1e-6)
    assert teacher_box_loss(half, one).item() == pytest.approx(2 / 3, rel=1e-5)


def test_pearson_distance_sees_patterns_not_scale() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    scaled = [7 * m + 3 for m in maps]
    assert pearson_distance(scaled, maps).item() == pytest.approx(0, abs=1e-4)
    assert pearson_distance([-m for m in maps], maps).item() == pytest.approx(2, rel=1e-3)
    other = torch.randn(2, 3, 4, 4)
    by_channel = [
        torch.corrcoef(torch.stack((other[:, c].flatten(), maps[0][:, c].flatten())))[0, 1]
        for c in range(3)
    ]
    expected = 1 - torch.stack(by_channel).mean()
    torch.testing.assert_close(pearson_distance([other], maps[:1]), expected, rtol=1e-4, atol=1e-5)


def test_a_constant_map_has_no_pattern_and_a_live_gradient() -> None:
    student = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pearson_distance([student], [torch.randn(1, 2, 3, 3)]).backward()
    assert student.grad is not None and torch.isfinite(student.grad).all()


def test_channel_kl_by_hand() -> None:
    # One channel on two places: 0.75 / 0.25 against 0.5 / 0.5; a shift of a channel is nothing.
    teacher = torch.tensor([0.75, 0.25]).log().view(1, 1, 1, 2)
    student = torch.full((1, 1, 1, 2), 5.0)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert channel_kl([student], [teacher]).item() == pytest.approx(expected, rel=1e-5)
    both = channel_kl([student.repeat(3, 4, 1, 1)], [teacher.repeat(3, 4, 1, 1)])
    assert both.item() == pytest.approx(expected, rel=1e-5)  # a mean over images and channels


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
    loss = _loss(bins_weight=0)
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
    assert normalizer(teacher_foreground(sure_of_nothing)).item() == 1
    student = torch.full((2, 100, 3), -5.0)
    assert _loss()(_raw(student), _raw(sure_of_nothing), 0.0).loss < 1


def test_bins_of_points_the_teacher_doubts_count_little() -> None:
    torch.manual_seed(0)
    bins, other = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 4, 8)
    logits = torch.tensor([[[6.0], [-6.0]]])
    student = other.clone().requires_grad_()
    _loss(class_weight=0)(_raw(logits, student), _raw(logits, bins), 0.0).loss.backward()
    assert student.grad is not None
    assert student.grad[0, 0].abs().sum() > 100 * student.grad[0, 1].abs().sum()


def test_the_lesson_fades_with_a_cosine() -> None:
    assert [round(SCHEDULES["cosine"](p), 6) for p in (0, 0.5, 1, 2)] == [1, 0.5, 0, 0]
    student, teacher = _raw(torch.zeros(1, 4, 2)), _raw(torch.ones(1, 4, 2))
    first, half = (_loss()(student, teacher, p).loss for p in (0.0, 0.5))
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


def _full(seed: int) -> RawPredictions:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    points = torch.tensor([[4.0, 4.0], [12.0, 4.0]])
    maps = (draw(2, 6, 1, 2),)
    return RawPredictions(draw(2, 2, 3), draw(2, 2, 4, 8), points, torch.tensor([8.0, 8.0]), maps)


@pytest.mark.parametrize(
    ("weight", "part", "at"),
    [
        ("class_weight", "kd_class", "logits"),
        ("bins_weight", "kd_bins", "bins"),
        ("box_weight", "kd_box", "bins"),
        ("pkd_weight", "kd_pkd", "features"),
        ("cwd_weight", "kd_cwd", "features"),
    ],
)
def test_each_term_has_its_weight_and_touches_what_it_should(
    weight: str, part: str, at: str
) -> None:
    weights = dict.fromkeys(
        ("class_weight", "bins_weight", "box_weight", "pkd_weight", "cwd_weight"), 0.0
    )
    assert not _loss(**weights).active()
    student, teacher = _full(0), _full(1)
    once = _loss(**{**weights, weight: 1.0})(student, teacher, 0.0)
    twice = _loss(**{**weights, weight: 2.0})(student, teacher, 0.0)
    assert list(once.parts) == [part] and once.loss.item() > 0
    torch.testing.assert_close(twice.loss, 2 * once.loss)
    once.loss.backward()
    touched = {
        name
        for name, value in (
            ("logits", student.logits),
            ("bins", student.bins),
            ("features", student.features[0]),
        )
        if value.grad is not None
    }
    assert touched == {at}
    assert all(x.grad is None for x in (teacher.logits, teacher.bins, teacher.features[0]))


def test_after_until_there_is_no_teacher() -> None:
    loss = _loss(schedule="constant", until=0.9)
    assert loss.active(0.89) and not loss.active(0.9)
    assert (loss.decay(0.5), loss.decay(0.95)) == (1.0, 0.0)
