"""A split of a dataset: images by position, and their targets in the network's frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.data.cache import ImageStore
from kdlnet.data.catalog import DatasetInfo, label_path, list_images
from kdlnet.data.labels import ImageLabels, LabelProblem, read_labels, refuse_problems
from kdlnet.types import Batch, Preprocess, Targets


@dataclass(frozen=True)
class Split:
    """Images of one split, their labels, and the label rows that were dropped or clipped."""

    paths: list[Path]
    labels: list[ImageLabels]
    problems: list[LabelProblem]


def load_split(info: DatasetInfo, split: str, strict: bool = False) -> Split:
    """Lists the images of a split and reads their labels; images are not opened.

    Raises DataError for a split that is unknown or empty, and with ``strict`` at the first faulty
    row.
    """
    paths = list_images(info, split)
    labels, problems = [], []
    for path in paths:
        found, faults = read_labels(label_path(path), len(info.names))
        labels.append(found)
        problems += faults
    if strict:
        refuse_problems(problems)
    return Split(paths, labels, problems)


class DetectionDataset:
    """Images and targets of a split at one network input size, by position.

    ``unreadable`` holds one line for each image that was left out. ``boxes`` (T, 4) and ``labels``
    (T,) are all targets in pixels of the network input, those of image i from ``first[i]`` to
    ``first[i + 1]``.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        cache: str = "ram",
        cache_gb: float = 4.0,
        strict: bool = False,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.preprocess = preprocess
        self.images = ImageStore(split.paths, preprocess, cache, cache_gb, strict, on_progress)
        self.unreadable = self.images.unreadable
        self.paths = self.images.paths
        self.letterboxes = self.images.letterboxes
        self._labels = [split.labels[position] for position in self.images.kept]
        counts = torch.tensor([len(labels.labels) for labels in self._labels])
        self.first = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        self.boxes = torch.cat([self._input_boxes(index) for index in range(len(self))])
        self.labels = torch.from_numpy(np.concatenate([found.labels for found in self._labels]))

    def __len__(self) -> int:
        return len(self.paths)

    def truth(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Boxes (T, 4) in pixels of the original image and labels (T,) of one image."""
        height, width = self.letterboxes[index].original_size
        found = self._labels[index]
        return found.boxes * np.array([width, height, width, height]), found.labels

    def targets(self, indices: Tensor) -> Targets:
        """Targets of the images at these positions (n,); ``image_index`` counts from 0 to n - 1."""
        counts = self.first[indices + 1] - self.first[indices]
        image_index = torch.repeat_interleave(torch.arange(len(indices)), counts)
        before = (counts.cumsum(0) - counts)[image_index]
        rows = self.first[indices][image_index] + torch.arange(len(image_index)) - before
        return Targets(self.boxes[rows], self.labels[rows], image_index)

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """The images at these positions as they are, with their targets, on ``device``."""
        index = torch.tensor(list(indices))
        pixels = self.images[indices].to(device, non_blocking=True).permute(0, 3, 1, 2)
        images = to_network(to_unit(pixels, self.preprocess), self.preprocess.channels)
        return Batch(images, self.targets(index).to(device), index)

    def _input_boxes(self, index: int) -> Tensor:
        boxes, _ = self.truth(index)
        return self.letterboxes[index].to_input(torch.from_numpy(boxes)).float()


def to_unit(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """Native pixels of any shape as float32, the window mapped to [0, 1] and cut there."""
    low, high = preprocess.window
    return pixels.to(torch.float32).sub_(low).mul_(1 / (high - low)).clamp_(0, 1)


def to_network(images: Tensor, channels: int) -> Tensor:
    """Unit images (B, c, H, W) in channels_last, c = 1 repeated to ``channels``."""
    if images.shape[1] != channels:
        images = images.expand(-1, channels, -1, -1)
    return images.contiguous(memory_format=torch.channels_last)
