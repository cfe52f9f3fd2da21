"""Images in, boxes out: the door that Python programs use and ``kdlnet predict`` goes through."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.errors import ConfigError, DataError, unknown
from kdlnet.events import Listener, Message
from kdlnet.images.contract import TileChoice, adjusted
from kdlnet.images.frame import Frame
from kdlnet.images.read import ImageArray
from kdlnet.images.sources import TIMEOUT, Source, SourceLike, open_source
from kdlnet.images.tiles import merge_tiles
from kdlnet.images.window import Window, bits, fit_depth, other_depth
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.runtimes import open_runtime, tiles_of, to_input
from kdlnet.ops.nms import select_detections
from kdlnet.types import DetectionArrays, Detections, ImageSize, Preprocess, RawPredictions
from kdlnet.utils.device import synchronize

Network = Callable[[Tensor], RawPredictions]

DEFAULT_SCORE = 0.25
_STAGES = ("decode", "preprocess", "infer", "postprocess")
_BATCH_BYTES = 512 * 2**20  # pixels of a batch's originals: few large boards, many small crops


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, or a video that ends too early: one line for people."""

    reason: str


def warn_user(event: object) -> None:
    """A listener that tells what was skipped as Python warnings."""
    if isinstance(event, Skipped):
        warnings.warn(f"skipped: {event.reason}", stacklevel=3)
    elif isinstance(event, Message) and event.level == "warning":
        warnings.warn(event.text, stacklevel=3)


@dataclass(frozen=True)
class Predictor:
    """A network with all it takes to turn images into boxes.

    ``network`` maps images (B, channels, H, W) in [0, 1] on ``device`` to RawPredictions; a
    detector in eval mode, or another runtime. ``classes`` names those that count, None for all.
    Raises ConfigError for a value out of range and for an unknown class.

    >>> detector = Detector.load("best.pt")  # doctest: +SKIP
    >>> for prediction in detector.predict("parts/"):  # doctest: +SKIP
    ...     print(prediction)
    """

    network: Network
    names: tuple[str, ...]
    preprocess: Preprocess
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    score_threshold: float = DEFAULT_SCORE
    iou_threshold: float = 0.65
    max_detections: int = 300
    batch: int = 16
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check("score", self.score_threshold, 0 <= self.score_threshold < 1, "0 or more, below 1")
        _check("IoU", self.iou_threshold, 0 < self.iou_threshold <= 1, "above 0, up to 1")
        _check("max-detections", self.max_detections, self.max_detections >= 1, "1 or more")
        _check("batch", self.batch, self.batch >= 1, "1 or more")
        height, width = self.preprocess.image_size
        fits = min(height, width) > 0 and height % 32 == width % 32 == 0
        _check("image-size", f"{height}x{width}", fits, "multiples of 32")
        if self.classes is not None and not self.classes:
            raise ConfigError(f"no class is left to look for: name some of {', '.join(self.names)}")
        for name in self.classes or ():
            if name not in self.names:
                raise ConfigError(unknown("class", name, self.names))

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        image_size: ImageSize | None = None,
        window: Window | None = None,
        tile: TileChoice = None,
        overlap: float | None = None,
        score_threshold: float | None = None,
        iou_threshold: float = 0.65,
        max_detections: int = 300,
        batch: int = 16,
        classes: Sequence[str] | None = None,
    ) -> Predictor:
        """A predictor from a weights file of kdlnet, plain or fused, or from its ONNX export.

        Without ``score_threshold`` the one stored in the file counts, else 0.25; ``image_size``
        (H, W), ``window``, ``tile`` and ``overlap`` replace what is stored, see
        :func:`~kdlnet.images.contract.adjusted`. Unfused weights are folded in memory. Raises
        WeightsError or ConfigError, KdlnetError where ONNX Runtime is not installed.
        """
        runtime = open_runtime(Path(path), device=device, image_size=image_size)
        if score_threshold is None:
            score_threshold = float(runtime.thresholds.get("score", DEFAULT_SCORE))
        return cls(
            runtime,
            runtime.names,
            adjusted(runtime.preprocess, None, window, tile, overlap),
            runtime.device,
            score_threshold,
            iou_threshold,
            max_detections,
            batch,
            None if classes is None else tuple(classes),
        )

    def predict(
        self,
        source: SourceLike,
        *,
        strict: bool = False,
        timeout: float = TIMEOUT,
        on_event: Listener = warn_user,
    ) -> list[Prediction]:
        """Predictions for all of a source that ends; see :meth:`stream`.

        Frames of a video are not kept in memory: draw those inside a loop over :meth:`stream`.
        """
        opened = open_source(source, timeout)
        if opened.live:
            raise ConfigError(
                f"{opened.title} may never end: iterate over stream(source) instead of predict"
            )
        found = self.stream(opened, strict=strict, on_event=on_event)
        return [_light(prediction) for prediction in found]

    def stream(
        self,
        source: SourceLike | Source,
        *,
        strict: bool = False,
        timeout: float = TIMEOUT,
        on_event: Listener = warn_user,
    ) -> Iterator[Prediction]:
        """Predictions one by one, as their images come; each holds its image.

        ``source`` as in :func:`~kdlnet.images.sources.open_source`. What cannot be read is skipped
        and told to ``on_event`` as Skipped, or raised with ``strict``. Raises DataError when no
        image could be read, or a stream fails.
        """
        opened = source if isinstance(source, Source) else open_source(source, timeout)
        problems: list[DataError] = []

        def skip(error: DataError) -> None:
            if strict:
                raise error
            problems.append(error)
            on_event(Skipped(str(error)))

        images, told = 0, False
        for frames in batches(opened.frames(skip), 1 if opened.live else self.batch):
            fitted = self._fitted(frames[0].image)
            if fitted != self.preprocess and not told:
                told = True
                on_event(Message(other_depth(frames[0].name, self.preprocess, fitted), "warning"))
            for prediction in self.detect(frames):
                images += 1
                yield prediction
        if not images:
            more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
            reason = str(problems[0]) if problems else f"{opened.title} gave none"
            raise DataError(f"no image could be read: {reason}{more}")

    @torch.inference_mode()
    def detect(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Frames to their predictions, in their order; the network gets ``batch`` tiles at once."""
        views = [(n, t) for n, f in enumerate(frames) for t in tiles_of(f.image, self.preprocess)]
        parts: list[list[DetectionArrays]] = [[] for _ in frames]
        spent = np.zeros(3)
        for start in range(0, len(views), self.batch):
            chunk = views[start : start + self.batch]
            clock = [time.perf_counter()]
            pixels, tiles = [frames[n].image for n, _ in chunk], [tile for _, tile in chunk]
            images, fitted = to_input(pixels, self.preprocess, self.device, tiles)
            self._tick(clock)
            raw = self.network(images)
            self._tick(clock)
            for (n, _), found, geometry in zip(chunk, self._select(raw), fitted, strict=True):
                parts[n].append(geometry.detections(found.arrays()))
            self._tick(clock)
            spent += np.diff(clock)
        began = time.perf_counter()
        merged = [self._merge(frame, part) for frame, part in zip(frames, parts, strict=True)]
        spent[2] += time.perf_counter() - began
        shares = [len(part) / len(views) for part in parts]
        return [
            self._prediction(frame, found, share * spent)
            for frame, found, share in zip(frames, merged, shares, strict=True)
        ]

    def _merge(self, frame: Frame, parts: list[DetectionArrays]) -> DetectionArrays:
        tiles = tiles_of(frame.image, self.preprocess)
        return merge_tiles(parts, tiles, self.iou_threshold, self.max_detections)

    def _tick(self, clock: list[float]) -> None:
        synchronize(self.device)
        clock.append(time.perf_counter())

    def _select(self, raw: RawPredictions) -> list[Detections]:
        """Boxes of the classes that count. The others are left out before the suppression."""
        limits = (self.score_threshold, self.iou_threshold, self.max_detections)
        size = self.preprocess.image_size
        if self.classes is None:
            return select_detections(raw, size, *limits)
        kept = sorted({self.names.index(name) for name in self.classes})
        rows = torch.tensor(kept, device=raw.logits.device)
        found = select_detections(replace(raw, logits=raw.logits[..., rows]), size, *limits)
        return [Detections(each.boxes, each.scores, rows[each.labels]) for each in found]

    def _prediction(
        self, frame: Frame, found: DetectionArrays, seconds: NDArray[np.float64]
    ) -> Prediction:
        return Prediction(
            name=frame.name,
            size=(frame.image.shape[0], frame.image.shape[1]),
            boxes=found.boxes,
            scores=found.scores,
            labels=found.labels,
            names=self.names,
            seconds=dict(zip(_STAGES, [frame.seconds, *seconds.tolist()], strict=True)),
            index=frame.index,
            timestamp=frame.timestamp,
            stem=frame.stem,
            window=self._fitted(frame.image).window,
            path=frame.path,
            image=frame.image,
        )

    def _fitted(self, image: ImageArray) -> Preprocess:
        """The contract by which ``image`` is read, given its bit depth."""
        return fit_depth(self.preprocess, bits(image.dtype))


def batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Up to ``size`` frames of one pixel type, fewer where images are very large."""
    ready: list[Frame] = []
    for frame in frames:
        if ready and frame.image.dtype != ready[0].image.dtype:
            yield ready
            ready = []
        ready.append(frame)
        if len(ready) == size or sum(each.image.nbytes for each in ready) >= _BATCH_BYTES:
            yield ready
            ready = []
    if ready:
        yield ready


def _light(prediction: Prediction) -> Prediction:
    """Without the image, where it can be read again or belongs to a video."""
    if prediction.path is None and prediction.timestamp is None:
        return prediction
    return replace(prediction, image=None)


def _check(name: str, value: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise ConfigError(f"{name} {value} is out of range: allowed is {allowed}")
