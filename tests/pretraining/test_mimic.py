import pytest
import torch

from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.pretraining.mimic import Mimic, measured_scale, mimic_loss, wanted
from kdlnet.pretraining.teachers import Lesson


def lesson(batch: int = 3, size: int = 64, spread: float = 1.0) -> Lesson:
    torch.manual_seed(0)
    maps = [torch.randn(batch, c, size // s, size // s) for c, s in ((4, 8), (6, 16), (8, 32))]
    return Lesson(tuple(7 + spread * x for x in maps), 7 + spread * torch.randn(batch, 10))


def test_scaled_channels_are_centred_and_of_unit_size() -> None:
    given = lesson(batch=64, spread=3.0)
    for x in (*given.maps, given.vector):
        x[:, 1] = 5 * x[:, 1] - 9  # one channel unlike the others
    scaled = measured_scale(given)(given)
    for x in (*scaled.maps, scaled.vector):
        for channel in x.transpose(0, 1):
            assert channel.mean().abs() < 0.05
            assert channel.std() == pytest.approx(1, abs=0.05)


def test_a_dead_channel_and_an_outlier_stay_finite() -> None:
    given = lesson(batch=8)
    given.maps[0][:, 1] = 5.0
    scale = measured_scale(given)
    given.vector[0, 0] = 1e6
    scaled = scale(given)
    assert not scaled.maps[0][:, 1].any()
    assert scaled.vector.max() == 6


@pytest.mark.parametrize("name", ["lightnet-n", "lightnet-n-p2"])
def test_the_student_guesses_all_that_is_wanted(name: str) -> None:
    student = Mimic(build_model(name, ModelArguments(1), seed=0), (4, 6, 8), 10)
    guesses, targets = student(torch.rand(3, 3, 64, 64)), wanted(lesson())
    assert {k: v.shape for k, v in guesses.items()} == {k: v.shape for k, v in targets.items()}
    assert targets["neck8"].shape[1] == 6  # the neck learns the next coarser map
    output = mimic_loss(guesses, targets)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(sum(output.parts.values()).item(), rel=1e-5)
    detector = student.detector
    learning = [*detector.backbone.parameters(), *detector.neck.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
    assert all(p.grad is None for p in detector.head.parameters())


def test_the_right_guess_costs_nothing() -> None:
    targets = wanted(lesson())
    assert mimic_loss(targets, targets).loss == 0
    off = {name: value + 2 for name, value in targets.items()}
    assert mimic_loss(off, targets).loss.item() == pytest.approx(
        1.5 * len(targets)
    )  # |2| - 0.5 each
