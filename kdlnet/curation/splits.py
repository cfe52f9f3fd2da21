"""Splits that divide no group and keep every class's share.

Groups are spread by iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the
Stratification of Multi-Label Data", ECML PKDD 2011, figure 1), then improved by moves and swaps.
What differs from the paper: a whole group is dealt out where the paper deals an example, the
groups with most of a class go first, and images without boxes count as a class of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError
from kdlnet.utils.words import counted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDS = 10  # passes over all groups; on real sets the third changes nothing


class TooFewGroups(DataError):
    """There are fewer groups than parts."""


def grouped_split(
    names: Sequence[str],
    labels: Sequence[Sequence[int]],
    groups: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
) -> dict[str, list[int]]:
    """Positions of the images of each split, rising; no group is in two splits.

    ``names`` are the images, each once, ``labels`` the classes of every image's boxes (none: a
    good part), ``groups`` what the image belongs to. ``shares`` of the images by split are above
    0 and sum to 1. Every split gets a group, and as near as whole groups allow its share of the
    images, of the images that hold each class and of the good parts. A name's split depends on
    the content and the seed, not on the order of the input.

    Raises DataError for shares that do not sum to 1 and a name given twice, TooFewGroups for fewer
    groups than splits.
    """
    _check(names, labels, groups, shares)
    content = _Groups.of(names, labels, groups)
    if len(content.counts) < len(shares):
        groups_there = counted(len(content.counts), "group")
        raise TooFewGroups(
            f"{groups_there} cannot fill {len(shares)} parts: ask for fewer parts or make smaller "
            "groups"
        )
    dealing = _Dealing(content.counts, np.array(list(shares.values())), seed)
    dealing.deal()
    dealing.fill_empty()
    dealing.improve()
    chosen = dealing.split_G[content.group_N]
    return {split: np.nonzero(chosen == s)[0].tolist() for s, split in enumerate(shares)}


def grouped_folds(
    names: Sequence[str],
    labels: Sequence[Sequence[int]],
    groups: Sequence[str],
    folds: int,
    seed: int,
) -> list[list[int]]:
    """Positions of the images of each of ``folds`` equal parts, as :func:`grouped_split`.

    Raises DataError for fewer than 2 folds, and as :func:`grouped_split`.
    """
    if folds < 2:
        raise DataError(f"{folds} folds: give 2 or more")
    shares = {f"fold {fold}": 1 / folds for fold in range(1, folds + 1)}
    return list(grouped_split(names, labels, groups, shares, seed).values())


def groups_of_classes(
    labels: Sequence[Sequence[int]], groups: Sequence[str], num_classes: int
) -> list[int]:
    """How many groups hold each class; the last figure counts those with good parts."""
    held: list[set[str]] = [set() for _ in range(num_classes + 1)]
    for classes, group in zip(labels, groups, strict=True):
        for index in set(classes) or {num_classes}:
            held[index].add(group)
    return [len(found) for found in held]


def _check(
    names: Sequence[str],
    labels: Sequence[Sequence[int]],
    groups: Sequence[str],
    shares: Mapping[str, float],
) -> None:
    if not len(names) == len(labels) == len(groups):
        raise ValueError(f"{len(names)} names, {len(labels)} labels, {len(groups)} groups")
    if not names:
        raise DataError("there is no image to split")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"image {name!r} is given twice: each belongs to one split")
        seen.add(name)
    written = ", ".join(f"{split} {share:g}" for split, share in shares.items())
    for split, share in shares.items():
        if not 0 < share <= 1:
            raise DataError(f"share of {split} is {share:g}: give more than 0 and at most 1")
    if abs(sum(shares.values()) - 1) > 1e-6:
        total = f"{sum(shares.values()):g}"
        raise DataError(f"shares {written} sum to {total}: they must sum to 1")


@dataclass(frozen=True)
class _Groups:
    """Groups in an order that the input's order and the groups' names do not change.

    ``counts`` (G, K + 2): images with each of the K classes, good parts, all images.
    ``group_N`` is the group of each image.
    """

    counts: Floats
    group_N: Ints

    @classmethod
    def of(
        cls, names: Sequence[str], labels: Sequence[Sequence[int]], groups: Sequence[str]
    ) -> _Groups:
        by_name = sorted(range(len(names)), key=lambda image: names[image])
        index: dict[str, int] = {}  # a group is known by its first image: cluster numbers may vary
        for image in by_name:
            index.setdefault(groups[image], len(index))
        classes = sorted({label for found in labels for label in found})
        column = {label: k for k, label in enumerate(classes)}
        counts = np.zeros((len(index), len(classes) + 2))
        group_N = np.array([index[group] for group in groups], np.int64)
        for group, found in zip(group_N, labels, strict=True):
            held = [column[label] for label in set(found)] or [len(classes)]
            counts[group, held] += 1
            counts[group, -1] += 1
        return cls(counts, group_N)


@dataclass
class _Dealing:
    """Groups on their way into splits. ``split_G`` is the split of each group, -1 before.

    ``counts_GK`` are what groups hold, ``shares_S`` the shares of the splits.
    """

    counts_GK: Floats
    shares_S: Floats
    seed: int
    split_G: Ints = field(init=False)
    off_SK: Floats = field(init=False)  # what a split has too much (above 0) or lacks

    def __post_init__(self) -> None:
        self.split_G = np.full(len(self.counts_GK), -1, np.int64)
        totals = self.counts_GK.sum(axis=0)
        self.off_SK = -self.shares_S[:, None] * totals
        # Chi-square: an image too many weighs more where few are expected.
        self._weight_SK = 1 / np.maximum(-self.off_SK, 1e-12)
        self._weight_SK[:, totals == 0] = 0
        # Breaks ties between groups and between splits.
        generator = np.random.default_rng(self.seed)
        self._order_G = generator.permutation(len(self.counts_GK))
        self._chance_GS = generator.random((len(self.counts_GK), len(self.shares_S)))

    def deal(self) -> None:
        """The rarest class first; each of its groups to the split that lacks most of it."""
        left = self.split_G < 0
        while left.any():
            remaining_K = self.counts_GK[left].sum(axis=0)[:-1]
            rarest = int(np.argmin(np.where(remaining_K > 0, remaining_K, np.inf)))
            holding = [g for g in self._order_G if left[g] and self.counts_GK[g, rarest] > 0]
            for group in sorted(holding, key=lambda g: -self.counts_GK[g, rarest]):
                keys = (self._chance_GS[group], self.off_SK[:, -1], self.off_SK[:, rarest])
                self._put(group, int(np.lexsort(keys)[0]))
            left = self.split_G < 0

    def fill_empty(self) -> None:
        """A split too small for any group gets the smallest one of the split with most groups."""
        for split in range(len(self.shares_S)):
            sizes = np.bincount(self.split_G, minlength=len(self.shares_S))
            if sizes[split] == 0:
                rich = [g for g in self._order_G if self.split_G[g] == np.argmax(sizes)]
                self._put(min(rich, key=lambda g: self.counts_GK[g, -1]), split)

    def improve(self) -> None:
        """Move or swap groups while that brings the counts nearer to the shares."""
        for _ in range(_ROUNDS):
            if np.abs(self.off_SK).max() < 1 or not sum(self._better(g) for g in self._order_G):
                return

    def _better(self, group: int) -> bool:
        """Makes the move or swap of this group that gains most; False if none gains."""
        home = self.split_G[group]
        alone = np.count_nonzero(self.split_G == home) == 1
        # Row 0 moves the group away, the rows below swap it for each group of another split.
        others = np.nonzero(self.split_G != home)[0]
        best, act = -1e-9, (-1, -1)
        for split in range(len(self.shares_S)):
            partners = others[self.split_G[others] == split]
            change_PK = self.counts_GK[group] - np.concatenate(
                (np.zeros((1, self.counts_GK.shape[1])), self.counts_GK[partners])
            )
            costs_P = self._costs(split, change_PK) + self._costs(home, -change_PK)
            if split == home or alone:
                costs_P[0] = np.inf
            row = int(np.argmin(costs_P))
            if costs_P[row] < best:
                best, act = float(costs_P[row]), (split, int(partners[row - 1]) if row else -1)
        if act[0] < 0:
            return False
        self._put(group, act[0])
        if act[1] >= 0:
            self._put(act[1], int(home))
        return True

    def _costs(self, split: int, change_PK: Floats) -> Floats:
        """How the split's cost changes with its counts, for P changes."""
        off_K, weight_K = self.off_SK[split], self._weight_SK[split]
        costs: Floats = ((2 * off_K + change_PK) * change_PK) @ weight_K
        return costs

    def _put(self, group: int, split: int) -> None:
        if self.split_G[group] >= 0:
            self.off_SK[self.split_G[group]] -= self.counts_GK[group]
        self.off_SK[split] += self.counts_GK[group]
        self.split_G[group] = split
