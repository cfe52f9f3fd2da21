"""A split of a dataset: images by position, and their targets in the network's frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.data.cache import ImageStore, Sample
from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.joined import put_together
from kdlnet.data.label_files import read_images
from kdlnet.data.labels import Split, refuse_problems, summarize
from kdlnet.data.listing import list_images, parts_with
from kdlnet.data.outlines import Outline, Rings, as_drawn
from kdlnet.data.schema import SPLITS
from kdlnet.data.tiling import plan_tiles
from kdlnet.errors import DataError
from kdlnet.images.folder import LeftOut
from kdlnet.images.tiles import cut_boxes, least_visible
from kdlnet.types import Batch, Preprocess, Targets

_NAMED = 5  # images that are left out; the others are counted


_Listed = Callable[[str], tuple[list[Path], LeftOut]]
"""The images of a split of this name, and what was left out there; raises DataError."""


def load_split(info: DatasetInfo, split: str, strict: bool = False) -> Split:
    """The images of a split and their labels, without those not read or not understood.

    A defect that is drawn and not read would be learned as background. Images are not opened.
    Raises DataError for a split that is unknown or empty, when no image is left, and with
    ``strict`` at the first faulty row or image that would be left out, and where label files of no
    image may be those of images without one.
    """
    return load_splits(info, [split], strict)[0]


def load_splits(info: DatasetInfo, splits: Sequence[str], strict: bool = False) -> list[Split]:
    """Each of ``splits`` as :func:`load_split` gives it.

    The images of each are listed once; where datasets are joined, for copies among them, again.
    """
    wanted = [parts_with(info, split) for split in splits]
    if info.parts:
        loaded: list[tuple[DatasetInfo, dict[str, Split]]] = []
        for part in info.parts:
            own = [split for split, parts in zip(splits, wanted, strict=True) if part in parts]
            loaded.append((part, dict(zip(own, load_splits(part, own, strict), strict=True))))
        return [
            put_together([(part, own[split]) for part, own in loaded if split in own], info, split)
            for split in splits
        ]

    @cache
    def listed(split: str) -> tuple[list[Path], LeftOut]:
        left = LeftOut()
        return list_images(info, split, left), left

    for split in splits:
        listed(split)  # one that is not there is told before the labels of others are read
    return [_load(info, split, strict, listed) for split in splits]


def _load(info: DatasetInfo, split: str, strict: bool, listed: _Listed) -> Split:
    paths, left = listed(split)

    def found(other: str) -> list[Path]:
        """The images of a split; none where it cannot be listed, which is said where it is used."""
        try:
            return listed(other)[0]
        except DataError:
            return []

    whole = chain.from_iterable(map(found, info.splits))
    reading = read_images(paths, whole, len(info.names), info.kpt_shape)
    every, unread = reading.every_problem, reading.unread
    if strict:
        refuse_problems(every)
        if doubt := unread.doubt(len(paths)):
            raise DataError(f"{split}: {doubt}")
    left_out = [reason for reason in reading.reasons if reason]
    if left_out and (strict or len(left_out) == len(paths)):
        count = f"{len(left_out)} of {len(paths)} images of {split!r}"
        raise DataError(f"{count} have labels that are not read or understood: {left_out[0]}")
    # Not all that is below: there may be masks, or the images of another split.
    left_lines = left.lines(folders="name them, too, if they belong to it")
    warnings = [*_seen_before(found, split), *unread.lines(len(paths)), *left_lines]
    spoiled = len(left_out) - len(unread.elsewhere)
    if spoiled:
        warnings.append(
            f"{spoiled} of {len(paths)} images are left out: not all rows of their labels are "
            "understood, and what these mark must not be learned as good"
        )
    warnings += [f"left out: {line}" for line in left_out[:_NAMED]]
    if len(left_out) > _NAMED:
        warnings.append(f"left out: {len(left_out) - _NAMED} more, which 'kdlnet data check' names")
    if every:
        warnings.append(summarize(every))
    kept = [position for position, reason in enumerate(reading.reasons) if not reason]
    found_labels = [reading.labels[position] for position in kept]
    return Split([paths[position] for position in kept], found_labels, every, left_out, warnings)


def _seen_before(found: Callable[[str], list[Path]], split: str) -> Iterator[str]:
    """A line for each split before this one that has some of its images, listed in both."""
    paths = found(split)
    for other in SPLITS[: SPLITS.index(split)]:
        if shared := set(paths).intersection(found(other)):
            yield (
                f"{len(shared)} of {len(paths)} images are in {other}, too, and figures on them "
                "flatter: kdlnet data split divides the images anew"
            )


class DetectionDataset:
    """Samples and targets of a split at one network input size, by position.

    A sample is an image or, where the contract has tiles, a tile of one. ``boxes`` (T, 4) and
    ``labels`` (T,) are all targets in pixels of the network input, those of sample i from
    ``first[i]`` to ``first[i + 1]``. ``paths`` are the images, :meth:`samples_of` one of them
    tells what is seen of it. ``unreadable`` holds one line for each image that was left out.
    ``looked_for`` (N, C) are the classes that each sample is labelled for, None: all for all.

    Of tiles, an object is a target where ``min_visible`` of it is seen, and ``background`` limits
    how many empty tiles there are for one with a target; None takes all, so that they cover.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        cache: str = "ram",
        cache_gb: float = 4.0,
        strict: bool = False,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        min_visible: float = 0.3,
        background: float | None = None,
    ) -> None:
        self.preprocess = preprocess
        tiles = None
        if preprocess.tiling is not None:
            tiles = plan_tiles(split, preprocess, min_visible, background)
        self.images = ImageStore(
            split.paths, preprocess, cache, cache_gb, strict, on_progress, tiles
        )
        self.unreadable = self.images.unreadable
        self.paths = self.images.paths
        self.samples = self.images.samples
        self._labels = [split.labels[position] for position in self.images.kept]
        self._of_image: list[list[Sample]] = [[] for _ in self.paths]
        for sample in self.samples:
            self._of_image[sample.image].append(sample)
        least = [self._least(image, min_visible) for image in range(len(self.paths))]
        found = [self._sample_targets(sample, least[sample.image]) for sample in self.samples]
        counts = torch.tensor([len(rows) for _, rows in found])
        self.first = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        self.boxes = torch.cat([boxes for boxes, _ in found])
        self._rows = [rows for _, rows in found]
        own = [self._labels[sample.image].labels for sample in self.samples]
        labels = [every[rows] for every, rows in zip(own, self._rows, strict=True)]
        self.labels = torch.from_numpy(np.concatenate(labels))
        self.looked_for = self._looked_for()

    def __len__(self) -> int:
        return len(self.images)

    def samples_of(self, image: int) -> Sequence[Sample]:
        """What the network sees of one image, in the order of its positions; none if no tile is."""
        return self._of_image[image]

    def truth(self, image: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Boxes (T, 4) in pixels of the original image and labels (T,) of one image."""
        height, width = self._of_image[image][0].letterbox.original_size
        found = self._labels[image]
        return found.boxes * np.array([width, height, width, height]), found.labels

    def drawn(self, image: int) -> Sequence[Outline | None]:
        """The outlines of the boxes of one image in pixels of the original; () where none has."""
        height, width = self._of_image[image][0].letterbox.original_size
        found = self._labels[image].outlines
        return [None if each is None else each * (width, height) for each in found]

    def labelled(
        self, image: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], Sequence[Outline | None]] | None:
        """Boxes, labels and outlines of the whole image, those of its region first; else None."""
        whole = self._labels[image].whole
        if whole is None:
            return None
        sides = self._of_image[image][0].letterbox.original_size[::-1]
        outlines = [None if each is None else each * sides for each in whole.outlines]
        return whole.boxes * np.tile(sides, 2), whole.labels, outlines

    def known(self, image: int) -> NDArray[np.bool_] | None:
        """The classes (C,) that one image is labelled for, None: all."""
        return self._labels[image].looked_for

    @cached_property
    def labels_digest(self) -> str:
        """A short text for all boxes, their classes and outlines, and the classes looked for."""
        digest = hashlib.sha256()
        for part in (self.first, self.boxes, self.labels):
            digest.update(part.numpy().tobytes())
        for image in range(len(self.paths)):
            if not self.samples_of(image):  # a good part of which no tile is learned
                continue
            for known in (self.known(image), *self.drawn(image)):
                digest.update(b"all" if known is None else known.tobytes())
        return digest.hexdigest()[:32]

    def _looked_for(self) -> Tensor | None:
        known = [found.looked_for for found in self._labels]
        size = next((len(each) for each in known if each is not None), None)
        if size is None:
            return None
        everything = np.ones(size, bool)
        rows = [everything if each is None else each for each in known]
        return torch.from_numpy(np.stack([rows[sample.image] for sample in self.samples]))

    def rows(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Which targets (T,) the samples at these positions (n,) have, and whose each is (T,)."""
        counts = self.first[indices + 1] - self.first[indices]
        image_index = torch.repeat_interleave(torch.arange(len(indices)), counts)
        before = (counts.cumsum(0) - counts)[image_index]
        rows = self.first[indices][image_index] + torch.arange(len(image_index)) - before
        return rows, image_index

    def targets(self, indices: Tensor) -> Targets:
        """Targets of the samples at these positions (n,); ``image_index`` counts from 0."""
        rows, image_index = self.rows(indices)
        return Targets(self.boxes[rows], self.labels[rows], image_index)

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """The samples at these positions as they are, with their targets, on ``device``."""
        index = torch.tensor(list(indices))
        pixels = self.images[indices].to(device, non_blocking=True).permute(0, 3, 1, 2)
        images = to_network(to_unit(pixels, self.preprocess), self.preprocess.channels)
        return Batch(
            images, self.targets(index).to(device), index, self.looked_for_in(index, device)
        )

    def looked_for_in(self, indices: Tensor, device: torch.device | str) -> Tensor | None:
        """The classes (n, C) that the samples at these positions are labelled for, None: all."""
        return None if self.looked_for is None else self.looked_for[indices].to(device)

    def _least(self, image: int, min_visible: float) -> NDArray[np.float64] | None:
        """The share from which each box of an image is a target of a tile; None without tiles."""
        tiles = [sample.tile for sample in self._of_image[image] if sample.tile is not None]
        return least_visible(self.truth(image)[0], tiles, min_visible) if tiles else None

    def _sample_targets(
        self, sample: Sample, least: NDArray[np.float64] | None
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Boxes (T, 4) of a sample, and which of its image's labels they are (T,)."""
        boxes = self.truth(sample.image)[0]
        rows = np.arange(len(boxes))
        if sample.tile is not None and least is not None:
            boxes, rows = cut_boxes(boxes, sample.tile, least)
        return torch.from_numpy(sample.letterbox.to_input(boxes)).float(), rows

    @cached_property
    def outlines(self) -> list[Rings]:
        """What the box of each target goes around, in pixels of the network input."""
        found: list[Rings] = []
        boxes = self.boxes.split(torch.diff(self.first).tolist())
        for sample, rows, own in zip(self.samples, self._rows, boxes, strict=True):
            outlines, geometry = self._labels[sample.image].outlines, sample.letterbox
            sides = np.array(geometry.original_size[::-1]) * geometry.scale
            for row, box in zip(rows.tolist(), own.tolist(), strict=True):
                outline = outlines[row] if outlines else None
                rings = () if outline is None else as_drawn(outline * sides + geometry.offset, box)
                found.append(rings)
        return found


def to_unit(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """Native pixels of any shape as float32, the window mapped to [0, 1] and cut there."""
    low, high = preprocess.window
    return pixels.to(torch.float32).sub_(low).mul_(1 / (high - low)).clamp_(0, 1)


def to_network(images: Tensor, channels: int) -> Tensor:
    """Unit images (B, c, H, W) in channels_last, c = 1 repeated to ``channels``."""
    if images.shape[1] != channels:
        images = images.expand(-1, channels, -1, -1)
    return images.contiguous(memory_format=torch.channels_last)
