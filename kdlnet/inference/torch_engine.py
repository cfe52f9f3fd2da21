"""A torch network as an engine of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock

import torch
from torch import Tensor

from kdlnet.data.dataset import to_network, to_unit
from kdlnet.images.read import ImageArray
from kdlnet.images.tiles import Tile
from kdlnet.inference.arrays import SuppressedArrays
from kdlnet.inference.suppressed import suppressed_detections
from kdlnet.inference.views import to_pixels
from kdlnet.ops.nms import select_detections
from kdlnet.types import (
    DetectionArrays,
    ImageSize,
    Letterbox,
    Preprocess,
    RawPredictions,
)
from kdlnet.utils.device import full_precision, synchronize
from kdlnet.utils.lanes import MOST_LANES
from kdlnet.utils.threads import Home

_one_at_a_time = Lock()


@dataclass(frozen=True)
class TorchEngine:
    """``network``, in eval mode, maps images (B, channels, H, W) on ``device`` to RawPredictions.

    Pixels travel in their native type; grey images with one channel. ``threads`` of each call; None
    are those that torch has.
    """

    network: Callable[[Tensor], RawPredictions | SuppressedArrays]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    threads: int | None = None
    home: Home = field(default_factory=Home)

    @property
    def lanes(self) -> int:
        return min(torch.get_num_threads(), MOST_LANES) if self.device.type == "cpu" else 1

    def divided(self, lanes: int) -> TorchEngine:
        return replace(self, threads=max(1, torch.get_num_threads() // lanes))

    def load(self, pixels: ImageArray, preprocess: Preprocess) -> Tensor:
        self.home.require(torch.get_num_threads())
        if self.threads is not None:
            _take(self.threads)
        return _load(pixels, preprocess, self.device)

    @torch.inference_mode()
    def run(self, images: Tensor) -> RawPredictions | SuppressedArrays:
        with full_precision(self.device):
            return self.network(images)

    @torch.inference_mode()
    def select(
        self,
        raw: RawPredictions | SuppressedArrays,
        input_size: ImageSize,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
    ) -> list[DetectionArrays]:
        limits = score_threshold, iou_threshold, max_detections
        if isinstance(raw, SuppressedArrays):
            return suppressed_detections(raw, *limits)
        with full_precision(self.device):
            return [found.arrays() for found in select_detections(raw, input_size, *limits)]

    def wait(self) -> None:
        synchronize(self.device)


def _take(threads: int) -> None:
    """Gives so many threads to what the calling thread computes from now on, and to nobody else.

    torch keeps a number for each thread and one for threads to come, which any thread that sets its
    own sets, too; here another thread puts that one back. A thread that first uses torch in between
    gets the fewer.
    """
    if torch.get_num_threads() == threads:
        return
    with _one_at_a_time, ThreadPoolExecutor(1) as beside:
        others = beside.submit(torch.get_num_threads).result()
        torch.set_num_threads(threads)
        beside.submit(torch.set_num_threads, others).result()


def to_input(
    images: Sequence[ImageArray],
    preprocess: Preprocess,
    tiles: Sequence[Tile | None] | None = None,
) -> tuple[Tensor, list[Letterbox]]:
    """Images as ``read_image`` gives them to network input (B, channels, H, W) on the CPU.

    The same steps as for predict, val and training. Beside the input the geometry of each.
    """
    pixels, contract, geometries = to_pixels(images, preprocess, tiles)
    return _load(pixels, contract, torch.device("cpu")), geometries


def _load(pixels: ImageArray, preprocess: Preprocess, device: torch.device) -> Tensor:
    batch = torch.from_numpy(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2)
    return to_network(to_unit(batch, preprocess), preprocess.channels)
