"""What good parts look like to a network, learned from the images of a dataset without a box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdlnet.data.dataset import DetectionDataset
from kdlnet.errors import DataError
from kdlnet.events import Listener, Progress
from kdlnet.models.network import Network
from kdlnet.models.normality import LEVELS, Normality, around
from kdlnet.ops.arrays import box_intersection
from kdlnet.utils.device import full_precision
from kdlnet.utils.words import counted

LEAST = 50
"""Good views that a normality is learned from, or more."""
LEAST_SCALE = 20
"""Good views that say how far others may be from those, or more."""
MOST = 2000
"""Good views of a split that are looked at, drawn at random, the same each time."""
_SHRINKAGE = 0.01
"""Of the mean variance, added to each: what hardly varies must not decide alone."""
_ALIKE = 1e-10
"""A mean variance of no more than this share of the mean square is rounding."""
_LEAST_SPREAD = 1e-4
"""Standard deviation of the logarithms of distances; one that is less is rounding."""


@dataclass(frozen=True)
class GoodParts:
    """A normality, and the images by position whose good views it is of and is scaled by."""

    normality: Normality
    learned: list[int]
    compared: list[int]


def learn_normality(
    network: Network,
    train: DetectionDataset,
    val: DetectionDataset,
    batch: int,
    device: torch.device,
    on_event: Listener,
) -> GoodParts:
    """The normality of the good views of ``train``, in the scale of those of ``val``.

    ``network``, on ``device``, has learned from the images of the first and not from those of the
    second, which are therefore farther away. A view is an image or a tile of one, and good where it
    is labelled for all classes and no true box reaches into it. Raises DataError where they are
    fewer than ``LEAST`` and ``LEAST_SCALE``, or look all alike.
    """
    widths = network.backbone.widths[-LEVELS:]
    rows, apart = _good(train, "train", LEAST), _good(val, "val", LEAST_SCALE)
    sums = [_Sums(width) for width in widths]
    for maps in _maps(network, train, rows, batch, device, on_event):
        for each, level in zip(sums, maps[-LEVELS:], strict=True):
            each.add(around(level))
    normality = Normality(widths).to(device)
    if not all(each.varies for each in sums):
        raise _alike("train")
    for distance, each in zip(normality.levels, sums, strict=True):
        mean, whiten = each.whitening()
        distance.get_buffer("mean").copy_(mean[:, None, None])
        distance.get_parameter("whiten.weight").copy_(whiten[:, :, None, None])
    seen = _maps(network, val, apart, batch, device, on_event)
    distances = torch.cat([normality.distances(maps) for maps in seen]).double()
    if not (distances.std(0) > _LEAST_SPREAD).all():  # nor where one is no number
        raise _alike("val")
    normality.center.copy_(distances.mean(0))
    each_level = (distances - distances.mean(0)) / distances.std(0)
    normality.slope.copy_(1 / (distances.std(0) * each_level.sum(1).std()))
    return GoodParts(normality, _images(train, rows), _images(val, apart))


def _alike(split: str) -> DataError:
    return DataError(
        f"the good parts of {split} look all alike to the network, or are no numbers to it: what "
        "varies among good parts cannot be learned; add photographs of other good parts"
    )


def _images(dataset: DetectionDataset, rows: Sequence[int]) -> list[int]:
    return sorted({dataset.samples[row].image for row in rows})


def _good(dataset: DetectionDataset, split: str, least: int) -> list[int]:
    """Positions of views that show nothing but good, up to ``MOST``.

    Raises DataError for too few.
    """
    good, partly = [], 0
    for row, sample in enumerate(dataset.samples):
        known, boxes = dataset.known(sample.image), dataset.truth(sample.image)[0]
        if len(boxes) and sample.tile is not None:
            boxes = boxes[box_intersection(boxes, np.array(sample.tile)) > 0]
        if len(boxes):
            continue
        if known is None or known.all():
            good.append(row)
        else:
            partly += 1
    if len(good) < least:
        what = "image" if dataset.preprocess.tiling is None else "tile"
        advice = "add good parts, as images without a label file"
        if partly:
            advice = (
                f"{partly} more without a box are not labelled for all classes of the weights and "
                "may have defects of the others; give a dataset that has all of these classes"
            )
        raise DataError(
            f"{split} has {counted(len(good), what)} without a defect, {least} or more are needed: "
            f"{advice}"
        )
    if len(good) <= MOST:
        return good
    drawn = np.random.default_rng(0).choice(len(good), MOST, replace=False)
    return [good[place] for place in np.sort(drawn)]


def _maps(
    network: Network,
    dataset: DetectionDataset,
    rows: Sequence[int],
    batch: int,
    device: torch.device,
    on_event: Listener,
) -> Iterator[list[Tensor]]:
    """The backbone's maps of the views ``rows``, a batch at a time."""
    for start in range(0, len(rows), batch):
        images = dataset.batch(rows[start : start + batch], device).images
        with torch.no_grad(), full_precision(device):
            yield network.backbone(images)
        on_event(Progress("look at good parts", min(start + batch, len(rows)), len(rows)))


class _Sums:
    """Sums of vectors and of their products, from which mean and covariance follow."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.vectors = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, level: Tensor) -> None:
        """Each position of a map (B, C, H, W)."""
        rows = level.movedim(1, -1).flatten(0, -2).cpu().double()
        self.count += len(rows)
        self.vectors += rows.sum(0)
        self.products += rows.T @ rows

    @property
    def varies(self) -> bool:
        """Whether the vectors differ by more than rounding; not where one is no number."""
        mean, square = self.vectors / self.count, self.products.diagonal() / self.count
        return bool((square - mean.square()).sum() > _ALIKE * square.sum())

    def whitening(self) -> tuple[Tensor, Tensor]:
        """The mean (C,), and the matrix (C, C) after which vectors less it have length 1."""
        mean = self.vectors / self.count
        covariance = self.products / self.count - torch.outer(mean, mean)
        variances = covariance.diagonal()
        variances += _SHRINKAGE * variances.mean()
        return mean, torch.linalg.cholesky(torch.linalg.inv(covariance)).T / len(mean) ** 0.5
