"""Two runtimes on the same images."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest
import torch
from torch import Tensor

from kdlnet.data.catalog import find_dataset
from kdlnet.inference import parity
from kdlnet.inference.alike import contained
from kdlnet.inference.evaluate import open_split
from kdlnet.inference.parity import compare, with_boxes
from kdlnet.inference.proof import Parity, Tolerance
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.ops.limits import MAX_CANDIDATES
from kdlnet.ops.nms import select_detections
from kdlnet.ops.points import make_points
from kdlnet.types import Detections, Forward, RawPredictions

from ..support.weights_file import make_weights

LOOSE = Tolerance(logits=None, box_pixels=None, score=None)
"""Differences are told, not judged."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return load_weights(make_weights(tmp_path_factory.mktemp("weights") / "best.pt"))


def _changed(weights: Weights, change: Callable[[RawPredictions], RawPredictions]) -> Forward:
    return lambda images: change(weights.detector(images))


def _compared(
    weights: Weights,
    after: Forward,
    tolerance: Tolerance | None = None,
    *,
    score_threshold: float = 0.4,
    data: Path | None = None,
) -> Parity:
    images: object = [torch.rand(1, 3, 64, 96), torch.rand(3, 3, 64, 96)]
    if data is not None:
        images, _ = open_split(
            weights, find_dataset(str(data)), "val", None, False, lambda event: None
        )
    return compare(
        weights.detector,
        with_boxes(after),
        images,  # type: ignore[arg-type]
        names=weights.names,
        image_size=weights.preprocess.image_size,
        rule=VerdictRule.at(score_threshold),
        tolerance=tolerance or Tolerance(),
    )


def test_a_network_equals_itself(weights: Weights) -> None:
    found = _compared(weights, weights.detector)
    assert found.passed and found.same_boxes and found.boxes_compared > 4
    assert found.largest_logit_error == found.largest_box_error == 0
    assert (found.images, found.real_images, found.verdict_flips) == (4, False, 0)
    assert found.ap_before is found.ap_after is None
    assert found.tolerance == pytest.approx(1e-4 * max(1, found.largest_logit))


def test_errors_have_their_size(weights: Weights) -> None:
    found = _compared(weights, _changed(weights, lambda raw: replace(raw, bins=raw.bins + 0.25)))
    assert found.largest_logit_error == pytest.approx(0.25, abs=1e-4)
    assert found.largest_box_error < 1e-2  # the soft-max does not see a constant
    assert not found.passed
    # Strides of 8, 16 and 32 pixels, a tenth longer: sides that lie far out move most.
    found = _compared(
        weights, _changed(weights, lambda raw: replace(raw, strides=raw.strides * 1.1))
    )
    assert found.largest_logit_error == 0 and found.largest_box_error > 1
    assert not found.passed and found.describe().startswith("largest box error")
    assert "(within limits: largest logit error" in found.describe()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["logits", "bins"])
@pytest.mark.parametrize("both", [False, True])
def test_what_is_not_finite_fails_within_any_tolerance(
    weights: Weights, value: float, part: str, both: bool
) -> None:
    """Also where both sides have it at the same place, and nothing else is judged."""

    def spoil(raw: RawPredictions) -> RawPredictions:
        values: Tensor = getattr(raw, part).clone()
        values[0, 0] = value
        return replace(raw, **{part: values})

    spoiled = _changed(weights, spoil)
    before = replace(weights, detector=spoiled) if both else weights  # type: ignore[type-var]
    found = _compared(before, spoiled, LOOSE)
    assert not found.passed and found.largest_logit_error == float("inf")


def test_other_shapes_fail(weights: Weights) -> None:
    one_class = _changed(weights, lambda raw: replace(raw, logits=raw.logits[:, :, :1]))
    assert not _compared(weights, one_class, LOOSE).passed


def test_verdicts_flip_at_the_threshold(weights: Weights) -> None:
    """Scores of all points are halved, so that what was best lies below a threshold between."""
    best = _best(weights)
    halved = _changed(
        weights, lambda raw: replace(raw, logits=torch.logit(raw.logits.sigmoid() / 2))
    )
    between = _compared(weights, halved, LOOSE, score_threshold=0.75 * best)
    assert between.verdict_flips == 4 and between.passed
    low = _compared(weights, halved, LOOSE, score_threshold=0.01)
    assert low.verdict_flips == 0
    judged = replace(LOOSE, flips=0.5)
    assert not _compared(weights, halved, judged, score_threshold=0.75 * best).passed
    assert _compared(weights, halved, judged, score_threshold=0.01).passed


@torch.no_grad()
def _best(weights: Weights) -> float:
    """The lowest of the best scores of some noise."""
    images = torch.rand(16, 3, 64, 96)
    return float(weights.detector(images).logits.sigmoid().flatten(1).amax(1).min())


def test_labels_give_ap_and_verdicts_of_whole_images(weights: Weights, dataset: Path) -> None:
    same = _compared(weights, weights.detector, data=dataset)
    assert same.real_images and same.images == 12 and same.passed
    assert same.ap_before is not None and same.ap_before == same.ap_after
    silent = _changed(weights, lambda raw: replace(raw, logits=raw.logits - 100))
    found = _compared(weights, silent, LOOSE, data=dataset, score_threshold=0.05)
    assert found.ap_after == 0 and found.verdict_flips == 12
    judged = replace(LOOSE, ap_loss=-1e-9)  # not even the same AP would do
    assert not _compared(weights, silent, judged, data=dataset).passed


def _detections(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels).long()
    )


def test_no_error_is_lost_between_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each held its figure against the largest it had read before the other one's was there."""
    calls, turn = 0, Lock()

    def slow(ours: Tensor, theirs: Tensor) -> float:
        nonlocal calls
        with turn:
            calls += 1
            first = calls == 1
        time.sleep(0.03 if first else 0.1)
        return 5.0 if first else 0.0

    monkeypatch.setattr(parity, "_distance", slow)
    one = RawPredictions(torch.zeros(1, 8, 2), torch.zeros(1, 8, 4, 4), *make_points([(2, 4)], [8]))
    pair = parity._Pair(
        lambda images: one,
        lambda images: (one, torch.zeros(1, 8, 4)),
        (16, 32),
        VerdictRule.at(0.4),
        LOOSE,
    )
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(pair, [torch.zeros(1, 3, 16, 32)] * 3))
    assert (pair.logit_error, pair.images) == (5.0, 3)


def test_contained_compares_box_label_and_score() -> None:
    one = _detections([[0.0, 0, 9, 9]], [0.5], [0])

    def alike(some: Detections, others: Detections, cut: float = 0.0) -> bool:
        return contained(some, others, 0.1, 1e-3, cut)

    assert alike(one, _detections([[0.05, 0, 9, 9]], [0.5005], [0]))
    assert not alike(one, _detections([[0.5, 0, 9, 9]], [0.5], [0]))
    assert not alike(one, _detections([[0.0, 0, 9, 9]], [0.5], [1]))
    assert not alike(one, _detections([[0.0, 0, 9, 9]], [0.6], [0]))
    assert not alike(one, _detections([], [], []))
    # Candidates from 0.1 on vote, where 0.11 were many: which of them did, rounding decided.
    assert alike(one, _detections([[0.5, 0, 9, 9]], [0.5], [0]), cut=0.11)
    assert not alike(one, _detections([[0.5, 0, 9, 9]], [0.5], [0]), cut=0.1)
    assert not alike(one, _detections([[0.5, 0, 9, 9]], [0.5], [1]), cut=0.11)
    assert not alike(one, _detections([[0.5, 0, 9, 9]], [0.6], [0]), cut=0.11)
    # Just below the threshold: rounding may drop it on one side.
    assert alike(_detections([[0.0, 0, 9, 9]], [0.0495], [0]), _detections([], [], []))


def test_rounding_may_choose_between_equals(weights: Weights) -> None:
    """Two boxes of one class over each other, whose scores differ by less than float32 rounding.

    Which of them the suppression keeps is chance, and the answers are the same all the same. A box
    that the other network does not even propose is not excused.
    """
    points = torch.tensor([[20.0, 20.0], [21.0, 20.0]])
    bins = torch.full((1, 2, 4, 3), -50.0)
    bins[..., 1] = 50.0  # each side one stride of 8 pixels away: an overlap of 15 / 17
    logits = torch.tensor([[[2.0, -9.0], [2.0 - 1e-6, -9.0]]])

    def answer(logits: Tensor) -> Forward:
        return lambda images: RawPredictions(logits, bins, points, torch.tensor([8.0, 8.0]))

    pair = answer(logits), answer(logits.flip(1))
    kept = [select_detections(network(torch.empty(0)), (64, 64), 0.05)[0].boxes for network in pair]
    assert len(kept[0]) == len(kept[1]) == 1 and not torch.equal(*kept)
    usual = {"names": ("a", "b"), "image_size": (64, 64), "rule": VerdictRule.at(0.4)}
    images = [torch.zeros(1, 3, 64, 64)]
    before, after = pair
    found = compare(before, with_boxes(after), images, tolerance=Tolerance(), **usual)  # type: ignore[arg-type]
    assert found.passed and found.same_boxes
    for kept_one in ([[2.0, -9.0], [-9.0, -9.0]], [[-9.0, -9.0], [2.0, -9.0]]):
        alone = answer(torch.tensor([kept_one]))  # the other one had a say in where the object is
        found = compare(before, with_boxes(alone), images, tolerance=LOOSE, **usual)  # type: ignore[arg-type]
        assert not found.same_boxes


def test_rounding_may_choose_who_votes_in_a_crowd(weights: Weights) -> None:
    """More candidates than may vote, the last of them equal: a box moves, and is the same one."""
    sides = torch.tensor([[17.0, 20.0], [23.0, 20.0]])
    crowd = torch.full((MAX_CANDIDATES - 2, 2), 40.0)
    points = torch.cat((torch.tensor([[20.0, 20.0]]), sides, crowd))
    bins = torch.full((1, len(points), 4, 3), -50.0)
    bins[..., 1] = 50.0  # each side one stride of 8 pixels away
    logits = torch.full((1, len(points), 1), -1.4)
    logits[0, :3, 0] = torch.tensor([-1.0, -1.7, -1.7 - 1e-6])

    def answer(logits: Tensor) -> Forward:
        return lambda images: RawPredictions(logits, bins, points, torch.full((len(points),), 8.0))

    other = logits.clone()
    other[0, 1:3] = logits[0, 1:3].flip(0)
    boxes = [
        select_detections(answer(one)(torch.empty(0)), (64, 64), 0.05)[0].boxes[0]
        for one in (logits, other)
    ]
    assert 0.5 < float((boxes[0] - boxes[1]).abs().max()) < 1
    usual = {"names": ("a",), "image_size": (64, 64), "rule": VerdictRule.at(0.4)}
    images = [torch.zeros(1, 3, 64, 64)]
    before = answer(logits)
    found = compare(before, with_boxes(answer(other)), images, tolerance=Tolerance(), **usual)  # type: ignore[arg-type]
    assert found.passed and found.same_boxes
    other[0, 0] = -1.1  # another score
    found = compare(before, with_boxes(answer(other)), images, tolerance=LOOSE, **usual)  # type: ignore[arg-type]
    assert not found.same_boxes
