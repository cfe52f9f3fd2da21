"""No group is divided, classes keep their shares, and the order of the input changes nothing."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlnet.curation.splits import grouped_folds, grouped_split, groups_of_classes
from kdlnet.errors import DataError

SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}


def random_set(seed, images, classes, groups):
    """Names, labels (some images are good parts) and groups."""
    generator = np.random.default_rng(seed)
    names = [f"image {i}.png" for i in range(images)]
    labels = [generator.integers(0, classes, generator.integers(0, 4)).tolist() for _ in names]
    return names, labels, [f"group {generator.integers(groups)}" for _ in names]


def split_of_groups(groups, split):
    return {(groups[i], name) for name, images in split.items() for i in images}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 60), st.integers(1, 4), st.integers(3, 30))
def test_every_image_once_and_no_group_divided(seed, images, classes, count):
    names, labels, groups = random_set(seed, images, classes, count)
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match=r"\d groups? cannot fill 3 parts"):
            grouped_split(names, labels, groups, SHARES, seed)
        return
    split = grouped_split(names, labels, groups, SHARES, seed)
    assert list(split) == list(SHARES)
    assert sorted(i for found in split.values() for i in found) == list(range(images))
    assert all(found and found == sorted(found) for found in split.values())
    assert len(split_of_groups(groups, split)) == len(set(groups))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_order_and_names_of_the_groups_change_nothing(seed, random):
    names, labels, groups = random_set(seed, 40, 3, 12)
    first = grouped_split(names, labels, groups, SHARES, 3)
    order = list(range(40))
    random.shuffle(order)
    renamed = {group: f"cluster {n}" for n, group in enumerate(groups[i] for i in order)}
    second = grouped_split(
        [names[i] for i in order],
        [labels[i][::-1] for i in order],
        [renamed[groups[i]] for i in order],
        SHARES,
        3,
    )
    for split, found in first.items():
        assert {names[i] for i in found} == {names[order[i]] for i in second[split]}


def test_seeds_differ_and_repeat():
    names, labels, groups = random_set(1, 200, 3, 90)
    one, two, again = (grouped_split(names, labels, groups, SHARES, seed) for seed in (1, 2, 1))
    assert one == again
    assert one != two


def cost(counts, chosen, shares):
    """Chi-square of the counts (G, K) by split against the shares, by its definition."""
    total = 0.0
    for split, share in enumerate(shares):
        expected = share * counts.sum(axis=0)
        found = counts[chosen == split].sum(axis=0)
        total += ((found - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()
    return total


def count_groups(labels, groups):
    """(G, K + 2): images with each class, good parts, all; rows in the order of sorted groups."""
    rows = sorted(set(groups))
    classes = max((c for found in labels for c in found), default=-1) + 1
    counts = np.zeros((len(rows), classes + 2))
    for found, group in zip(labels, groups, strict=True):
        for label in set(found) or {classes}:
            counts[rows.index(group), label] += 1
        counts[rows.index(group), -1] += 1
    return rows, counts


@pytest.mark.parametrize("seed", range(8))
def test_near_the_best_of_all_divisions(seed):
    """Brute force over 3^7 divisions; the result is among the best 1 % of them."""
    names, labels, groups = random_set(seed, 60, 3, 7)
    rows, counts = count_groups(labels, groups)
    split = grouped_split(names, labels, groups, SHARES, seed)
    chosen = np.zeros(len(rows), int)
    for s, found in enumerate(split.values()):
        for i in found:
            chosen[rows.index(groups[i])] = s
    shares = list(SHARES.values())
    costs = [
        cost(counts, np.array(division), shares)
        for division in product(range(3), repeat=len(rows))
        if len(set(division)) == 3
    ]
    assert np.mean(np.array(costs) < cost(counts, chosen, shares) - 1e-9) <= 0.01


def test_equal_groups_give_exact_shares():
    """Ten parts of one image a class each, as numbers in NEU-DET: 7, 2 and 1 of them."""
    names = [f"{part}_{label}" for part in range(10) for label in range(6)]
    labels = [[label, label] for _ in range(10) for label in range(6)]
    groups = [name.split("_")[0] for name in names]
    split = grouped_split(names, labels, groups, SHARES, 0)
    assert {name: len(found) for name, found in split.items()} == {
        "train": 42,
        "val": 12,
        "test": 6,
    }


def test_single_images_keep_every_class_within_one():
    names, labels, _ = random_set(5, 600, 5, 1)
    split = grouped_split(names, labels, names, SHARES, 0)
    for label in range(5):
        total = sum(label in found for found in labels)
        for name, share in SHARES.items():
            held = sum(label in labels[i] for i in split[name])
            assert abs(held - share * total) <= 1, (label, name)
    good = [i for i, found in enumerate(labels) if not found]
    assert abs(len(set(good) & set(split["val"])) - 0.2 * len(good)) <= 1


def test_a_rare_class_reaches_every_split():
    """Three groups with class 1 among sixty: one for each split, though chance rarely does so."""
    names = [f"{i}" for i in range(60)]
    labels = [[1] if i in (7, 31, 32) else [0] for i in range(60)]
    for seed in range(5):
        split = grouped_split(names, labels, names, {"train": 0.4, "val": 0.3, "test": 0.3}, seed)
        assert all(any(labels[i] == [1] for i in found) for found in split.values())


def test_no_split_stays_empty_beside_a_huge_group():
    names = [f"{i}" for i in range(102)]
    groups = ["huge"] * 100 + ["a", "b"]
    split = grouped_split(names, [[0]] * 102, groups, SHARES, 0)
    assert sorted(map(len, split.values())) == [1, 1, 100]


def test_good_parts_alone_can_be_split():
    split = grouped_split(["a", "b", "c"], [[], [], []], ["x", "y", "z"], SHARES, 0)
    assert sorted(map(len, split.values())) == [1, 1, 1]


def test_folds_are_equal_parts():
    names, labels, groups = random_set(2, 300, 4, 100)
    folds = grouped_folds(names, labels, groups, 5, 0)
    assert sorted(i for fold in folds for i in fold) == list(range(300))
    assert all(abs(len(fold) - 60) <= 2 for fold in folds)
    split = {str(n): fold for n, fold in enumerate(folds)}
    assert len(split_of_groups(groups, split)) == len(set(groups))


def test_counts_of_groups():
    assert groups_of_classes([[0, 0], [0, 1], [], [1]], ["a", "b", "b", "b"], 3) == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"train": 0.8, "val": 0.1}, "train 0.8, val 0.1 sum to 0.9: they must sum to 1"),
        ({"train": 1.2, "val": -0.2}, "share of train is 1.2"),
        ({"train": 1.0, "val": 0.0}, "share of val is 0: give more than 0"),
    ],
)
def test_wrong_shares(shares, words):
    with pytest.raises(DataError, match=words):
        grouped_split(["a", "b"], [[], []], ["a", "b"], shares, 0)


def test_wrong_input():
    with pytest.raises(DataError, match="'a' is given twice"):
        grouped_split(["a", "a"], [[], []], ["a", "b"], {"train": 1.0}, 0)
    with pytest.raises(DataError, match="no image"):
        grouped_split([], [], [], {"train": 1.0}, 0)
    with pytest.raises(DataError, match="1 folds: give 2 or more"):
        grouped_folds(["a", "b"], [[], []], ["a", "b"], 1, 0)
    with pytest.raises(ValueError, match="2 names, 1 labels, 2 groups"):
        grouped_split(["a", "b"], [[]], ["a", "b"], {"train": 1.0}, 0)


def test_two_thousand_groups_take_moments():
    names, labels, groups = random_set(3, 6000, 8, 2000)
    start = time.perf_counter()
    grouped_split(names, labels, groups, SHARES, 0)
    assert time.perf_counter() - start < 10
