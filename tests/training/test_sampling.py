"""Defects among good parts, rare classes among common ones: what an epoch shows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdlnet.training.sampling import Sampler, balanced, describe


def _set(classes_of: list[list[int]]) -> SimpleNamespace:
    """What the sampler reads of a dataset: each sample's classes."""
    first = np.concatenate([[0], np.cumsum([len(each) for each in classes_of])])
    labels = np.array([label for each in classes_of for label in each], dtype=np.int64)
    return SimpleNamespace(first=torch.from_numpy(first), labels=torch.from_numpy(labels))


def _counts(sampler: Sampler, epochs: int) -> np.ndarray:
    count = len(sampler.often)
    shown = np.concatenate([sampler.order(3, epoch) for epoch in range(epochs)])
    return np.bincount(shown % count, minlength=count) / epochs


@pytest.mark.parametrize("defective", [1, 5, 20, 49])
def test_half_of_every_epoch_shows_a_defect(defective: int) -> None:
    dataset = _set([[0]] * defective + [[]] * (100 - defective))
    sampler = balanced(dataset, defects=0.5, rare=0.0)
    for epoch in range(5):
        order = sampler.order(0, epoch)
        assert len(order) == 100
        assert abs(int((order % 100 < defective).sum()) - 50) <= 1


@pytest.mark.parametrize("defective", [50, 80, 100])
def test_what_is_not_short_comes_once(defective: int) -> None:
    dataset = _set([[0]] * defective + [[]] * (100 - defective))
    sampler = balanced(dataset, defects=0.5, rare=0.1)
    assert sorted(sampler.order(1, 7)) == list(range(100))
    assert describe(sampler, dataset, ["a"]) is None


def test_rare_classes_come_more_often_by_their_repeat_factor() -> None:
    dataset = _set([[0]] * 90 + [[1]] * 9 + [[0, 2]])
    sampler = balanced(dataset, defects=0.5, rare=0.36)
    ratio = sampler.often / sampler.often[0]
    assert ratio[95] == pytest.approx((0.36 / 0.09) ** 0.5)
    assert ratio[99] == pytest.approx((0.36 / 0.01) ** 0.5)
    assert _counts(sampler, 400) == pytest.approx(sampler.often, abs=0.06)
    assert "of every epoch: a 0.9x, b 1.8x, c 5.3x" in str(describe(sampler, dataset, "abc"))


def test_nearly_all_is_not_all() -> None:
    dataset = _set([[0]] * 290 + [[1]] * 9 + [[]])
    line = str(describe(balanced(dataset, defects=0.5, rare=0.1), dataset, "ab"))
    assert line.startswith("299 of 300 samples show a defect (99.7 %); they are 99.7 % of every")


def test_repeats_are_told_apart_and_every_epoch_draws_anew() -> None:
    sampler = balanced(_set([[0]] + [[]] * 9), defects=0.5, rare=0.0)
    order = sampler.order(0, 0)
    repeats = sorted(order[order % 10 == 0])
    assert repeats == [0, 10, 20, 30, 40]
    assert not np.array_equal(order, sampler.order(0, 1))
    assert np.array_equal(order, sampler.order(0, 0))


def test_an_epoch_of_equals_is_the_permutation_it_always_was() -> None:
    key = np.array([5, (1 << 63) + 2], dtype=np.uint64)
    known = np.random.Generator(np.random.Philox(key=key)).permutation(37)
    assert np.array_equal(Sampler(np.ones(37)).order(5, 2), known)


def test_partners_are_drawn_as_often_as_they_are_shown() -> None:
    sampler = Sampler(np.array([0.5, 0.0, 2.5]))
    assert sampler.pick(np.array([0.0, 0.16, 0.17, 0.999999])).tolist() == [0, 0, 2, 2]
    assert sampler.only(np.array([True, True, False])).pick(np.array([0.0, 0.99])).tolist() == [
        0,
        0,
    ]


def test_a_set_without_boxes_comes_as_it_is() -> None:
    assert balanced(_set([[], []]), 0.5, 0.1).often.tolist() == [1, 1]
