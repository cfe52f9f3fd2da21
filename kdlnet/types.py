"""The values that flow through kdlnet, one type each, one coordinate frame each.

Dimension key, used in names such as ``boxes_T4`` and in every docstring:

====  ==========================================  ====  =============================
B     images of a batch                           T     targets of a batch, flat
A     anchor points over all levels               N     detections of one image
C     classes                                     H W   pixels, rows and columns
R     distance bins of one box side
====  ==========================================  ====  =============================

Boxes are ``(x1, y1, x2, y2)`` in continuous pixel coordinates: the left edge of the first
pixel is 0, the right edge of the last one is W, and ``x1 < x2``, ``y1 < y2``. Sizes are (H, W).
Two frames occur and are always named: *pixels of the network input* (after letterboxing)
and *pixels of the original image*.

Nothing here imports torch: a program that reads images and boxes with another runtime needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ImageSize = tuple[int, int]

Roi = tuple[int, int, int, int]
"""A region of interest (x1, y1, x2, y2) in whole pixels of the original image."""

FORMATS = (1, 2)
"""Of weights and of exported files: 1, and 2 where a reader has to know of a region of interest."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles that a large image is cut into: ``size`` (H, W) in pixels of the original image.

    Neighbours share at least ``overlap``, in [0, 0.9], of a tile's side.
    """

    size: ImageSize
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not 0 <= self.overlap <= 0.9:
            raise ValueError(f"tiles of {self.size} with an overlap of {self.overlap}")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How file pixels become network input. Stored inside every weights file.

    ``window`` holds the two intensities that map to 0 and 1 (file units, 0-255 for 8-bit images).
    ``pad`` is the fill of the letterbox as a fraction of the window. ``depth`` is the bits of the
    files that the window is meant for, 8 or 16, None for any. ``tiling`` None: the network sees
    whole images. ``roi`` is what of an image is looked at, as if it were the image; None: all.
    """

    image_size: ImageSize
    channels: int = 3
    window: tuple[float, float] = (0.0, 255.0)
    pad: float = 114 / 255
    depth: int | None = 8
    tiling: Tiling | None = None
    roi: Roi | None = None

    def __post_init__(self) -> None:
        if self.roi is not None and not (
            0 <= self.roi[0] < self.roi[2] and 0 <= self.roi[1] < self.roi[3]
        ):
            raise ValueError(f"a region of interest {self.roi}")
        if self.depth not in (None, 8, 16):
            raise ValueError(f"a depth of {self.depth} bits")
        if self.depth == 8 and self.window[1] > 255:
            raise ValueError(f"a window up to {self.window[1]:g} for 8-bit images: give a depth")

    @property
    def format(self) -> int:
        """The least of FORMATS whose readers see images so."""
        return 1 if self.roi is None else 2

    def to_dict(self) -> dict[str, Any]:
        """JSON values; ``roi`` only where there is one."""
        tiling = self.tiling
        values = {
            "image_size": list(self.image_size),
            "channels": self.channels,
            "window": list(self.window),
            "pad": self.pad,
            "depth": self.depth,
            "tiling": tiling and {"size": list(tiling.size), "overlap": tiling.overlap},
        }
        return values if self.roi is None else values | {"roi": list(self.roi)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """The contract of :meth:`to_dict`. Files before depth and tiling lack these two."""
        height, width = values["image_size"]
        low, high = values["window"]
        tiling = values.get("tiling")
        if tiling is not None:
            rows, columns = tiling["size"]
            tiling = Tiling((rows, columns), tiling["overlap"])
        roi = values.get("roi")
        if roi is not None:
            x1, y1, x2, y2 = map(int, roi)
            roi = (x1, y1, x2, y2)
        return cls(
            (height, width),
            values["channels"],
            (low, high),
            values["pad"],
            values.get("depth", 16 if high > 255 else 8),
            tiling,
            roi,
        )


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Geometry between an original image and the network input that shows it or a tile of it.

    ``input = original * scale + offset`` per axis, (x, y) order; sizes are (H, W). Boxes are those
    of ``roi``, None: of the whole image.
    """

    original_size: ImageSize
    input_size: ImageSize
    scale: tuple[float, float]
    offset: tuple[float, float]
    roi: Roi | None = None

    @property
    def looked_at(self) -> Roi:
        """(x1, y1, x2, y2) of the original image: the region of interest, or all of it."""
        height, width = self.original_size
        return self.roi or (0, 0, width, height)

    def to_input(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Boxes (N, 4) from pixels of the original image to pixels of the network input."""
        return boxes.astype(np.float64) * (*self.scale, *self.scale) + (*self.offset, *self.offset)

    def to_original(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Boxes (N, 4) from pixels of the network input to those of the original, clipped."""
        boxes = (boxes.astype(np.float64) - (*self.offset, *self.offset)) / (
            *self.scale,
            *self.scale,
        )
        x1, y1, x2, y2 = self.looked_at
        return np.clip(boxes, (x1, y1, x1, y1), (x2, y2, x2, y2))

    def detections(self, found: DetectionArrays) -> DetectionArrays:
        """``found`` with its boxes in pixels of the original image instead of the network input.

        Boxes in the padding have no area once they are clipped: they are left out.
        """
        boxes = self.to_original(found.boxes)
        flat = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
        scores = found.scores.astype(np.float64)
        return DetectionArrays(boxes[~flat], scores[~flat], found.labels[~flat])


@dataclass(frozen=True, slots=True)
class Targets:
    """Labelled boxes of a batch, flat: box t belongs to image ``image_index[t]``.

    ``boxes`` (T, 4) float32, pixels of the network input; ``labels`` (T,) int64 in [0, C);
    ``image_index`` (T,) int64 in [0, B).
    """

    boxes: Tensor
    labels: Tensor
    image_index: Tensor

    def to(self, device: torch.device | str) -> Targets:
        return Targets(
            self.boxes.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.image_index.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Network input. ``images`` (B, channels, H, W) float32, window mapped to [0, 1].

    ``indices`` (B,) int64 are positions in the dataset split the images came from. ``looked_for``
    (B, C) bool are the classes that each image is labelled for, None: all. ``masks`` (B, C, h, w)
    uint8, see :mod:`kdlnet.losses.masks`, where training asks for them.
    """

    images: Tensor
    targets: Targets
    indices: Tensor
    looked_for: Tensor | None = None
    masks: Tensor | None = None


@dataclass(frozen=True, slots=True)
class RawPredictions:
    """What a detector returns, with its own geometry.

    ``logits`` (B, A, C) class logits before the sigmoid. ``bins`` (B, A, 4, R) logits over
    the distances left, top, right, bottom from the point, in units of the point's stride.
    ``points`` (A, 2) as (x, y) in pixels of the network input; ``strides`` (A,) in pixels.
    ``features`` are the neck's maps, one a level, (B, channels, H / stride, W / stride).
    """

    logits: Tensor
    bins: Tensor
    points: Tensor
    strides: Tensor
    features: tuple[Tensor, ...] = ()

    def numbers(self) -> tuple[Tensor, Tensor]:
        """What the network computed."""
        return self.logits, self.bins

    def of_classes(self, labels: list[int]) -> RawPredictions:
        """Without the other classes; class i is then ``labels[i]``."""
        return replace(self, logits=self.logits[..., labels])


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one image by falling score, as the network's device holds them.

    ``boxes`` (N, 4) float32, pixels of the network input; ``scores`` (N,) float32 in [0, 1];
    ``labels`` (N,) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.scores.numel())

    def __getitem__(self, rows: Tensor) -> Detections:
        """Those at ``rows``, positions (K,) or a mask (N,)."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def arrays(self) -> DetectionArrays:
        """The same on the CPU, without torch."""
        return DetectionArrays(
            self.boxes.cpu().numpy(), self.scores.cpu().numpy(), self.labels.cpu().numpy()
        )


@dataclass(frozen=True, slots=True)
class DetectionArrays:
    """Boxes of one image by falling score.

    ``boxes`` (N, 4) and ``scores`` (N,) in [0, 1] are float64 in pixels of the original image, and
    float32 where the maker says pixels of the network input. ``labels`` (N,) int64.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: NDArray[Any]) -> DetectionArrays:
        """Those at ``rows``, positions (K,) or a mask (N,)."""
        return DetectionArrays(self.boxes[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Result of one training step: the scalar to minimize and its detached parts by name."""

    loss: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


Forward = Callable[["Tensor"], RawPredictions]
"""Images (B, channels, H, W) to predictions: a detector, compiled or not, or another runtime."""
