"""Network input to prove with: of a labelled split, made up, or noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset
from kdlnet.errors import KdlnetError
from kdlnet.events import Listener, Message
from kdlnet.images.roi import least_size, tiles_of
from kdlnet.inference.evaluate import open_split
from kdlnet.inference.probe_images import MADE_UP_IMAGES, made_up_images
from kdlnet.inference.torch_engine import to_input
from kdlnet.inference.weights import Weights
from kdlnet.types import Preprocess
from kdlnet.utils.given import Name
from kdlnet.utils.words import counted

_LEAST_IMAGES = 32
_BATCH = 8


def check_count(images: int | None) -> None:
    """Raises KdlnetError where ``images`` are too few for a proof."""
    if images is not None and images < _LEAST_IMAGES:
        raise KdlnetError(f"{images} images are no proof: give --images {_LEAST_IMAGES} or more")


def proof_split(
    weights: Weights,
    data: Name | None,
    data_root: Path | None,
    split: str,
    images: int | None,
    instead: str,
    on_event: Listener,
) -> DetectionDataset | None:
    """``images`` of the ``split`` of ``data``, spread over it, to prove with; None without data.

    ``instead`` says which images take their place. Raises DataError as val does.
    """
    if data is None:
        text = f"no --data given: the proof runs on {instead} images, not on real ones"
        on_event(Message(text, "warning"))
        return None
    info = find_dataset(data, data_root)
    dataset, _ = open_split(weights, info, split, None, False, on_event, limit=images)
    if len(dataset.paths) < _LEAST_IMAGES:
        text = f"the proof runs on {counted(len(dataset.paths), 'image')}, all of {split!r}"
        on_event(Message(text, "warning"))
    return dataset


def made_up_inputs(contract: Preprocess) -> Iterator[Tensor]:
    """Batches of network input from made-up images, the first of a single one.

    Where there are tiles, the one in the middle: what the network sees, at its scale.
    """
    images = made_up_images(MADE_UP_IMAGES, least_size(contract))
    views = [tiles_of(image.shape[:2], contract) for image in images]
    tiles = [view[len(view) // 2] for view in views]
    for start, end in _spans():
        yield to_input(images[start:end], contract, tiles[start:end])[0]


def random_inputs(contract: Preprocess, device: torch.device) -> Iterator[Tensor]:
    """Batches of noise as network input, the first of a single one, always the same."""
    for start, end in _spans():
        generator = torch.Generator().manual_seed(start)
        shape = (end - start, contract.channels, *contract.image_size)
        images = torch.rand(shape, generator=generator)
        yield images.to(device, memory_format=torch.channels_last)


def _spans() -> list[tuple[int, int]]:
    """From and to of each batch: one image, then batches, since any number must do."""
    starts = [0, *range(1, MADE_UP_IMAGES, _BATCH)]
    return list(zip(starts, [*starts[1:], MADE_UP_IMAGES], strict=True))
