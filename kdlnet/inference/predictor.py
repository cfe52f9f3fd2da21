"""Images in, boxes out: the door that Python programs use and ``kdlnet predict`` goes through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import ConfigError, unknown
from kdlnet.events import Listener, Message
from kdlnet.images.contract import RoiChoice, Seeing, TileChoice, adjusted, rates_line
from kdlnet.images.frame import BATCH_BYTES, Frame, Prepare, batches, weight
from kdlnet.images.read import ImageArray
from kdlnet.images.roi import fitting, least_size
from kdlnet.images.sources import TIMEOUT, Source, SourceLike, open_source
from kdlnet.images.window import Window, bits, depth_line, fit_depth
from kdlnet.inference.clock import STAGES, Laps
from kdlnet.inference.engine import Engine, in_lanes
from kdlnet.inference.pipeline import Pipeline
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.skipped import Skips, warn_user
from kdlnet.inference.views import FrameViews, prepare
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.types import DetectionArrays, ImageSize, Preprocess
from kdlnet.utils.given import AnyPath, checked
from kdlnet.utils.lanes import in_turn
from kdlnet.utils.parse import check_number


@dataclass(frozen=True)
class Predictor:
    """A network with all it takes to turn images into boxes.

    ``engine`` holds the network: a TorchEngine of a detector in eval mode, or that of another
    runtime. ``rule`` says which boxes are kept, and which of them make a part NG or UNSURE.
    ``classes`` names those that count, None for all. ``calibration`` says how the rule was chosen,
    empty where none did. Threads may share it; processes load one each, see
    :class:`~kdlnet.utils.threads.Home`. Raises ConfigError for a value out of range and for an
    unknown class.

    ``predict`` and ``stream`` take an image, a folder, a glob, a .txt list or a video by its path,
    an array (H, W), (H, W, 1) or (H, W, 3) in RGB, uint8 or uint16, or a list of such; ``stream``
    also a camera by its number and a stream by its address.

    >>> detector = Detector.load("best.pt")  # doctest: +SKIP
    >>> for prediction in detector.predict("parts/"):  # doctest: +SKIP
    ...     print(prediction)
    """

    engine: Engine = field(repr=False)  # pages of layers
    names: tuple[str, ...]
    preprocess: Preprocess
    rule: VerdictRule = field(default_factory=VerdictRule)
    iou_threshold: float = IOU_THRESHOLD
    max_detections: int = MAX_DETECTIONS
    batch: int = 16
    classes: tuple[str, ...] | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_number("IoU", self.iou_threshold, lambda iou: 0 < iou <= 1, "above 0, up to 1")
        for name, count in (("max-detections", self.max_detections), ("batch", self.batch)):
            check_number(name, count, lambda n: n >= 1, "1 or more", whole=True)
        height, width = self.preprocess.image_size
        if min(height, width) <= 0 or height % 32 or width % 32:
            raise ConfigError(
                f"image-size {height}x{width} is out of range: allowed is multiples of 32"
            )
        if self.classes is not None and not self.classes:
            raise ConfigError(f"no class is left to look for: name some of {', '.join(self.names)}")
        for name in self.classes or ():
            if name not in self.names:
                raise ConfigError(unknown("class", str(name), self.names))

    @classmethod
    @checked
    def load(
        cls,
        path: AnyPath,
        *,
        device: object = "auto",
        image_size: ImageSize | None = None,
        window: Window | None = None,
        tile: TileChoice = None,
        overlap: float | None = None,
        roi: RoiChoice = None,
        score_threshold: float | None = None,
        iou_threshold: float = IOU_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
        batch: int = 16,
        classes: Sequence[str] | None = None,
    ) -> Predictor:
        """A predictor from a weights file of kdlnet, plain or fused, or from its export.

        ``device`` is a name as ``--device`` takes, the number of a GPU or a torch.device.
        Without ``score_threshold`` the rule stored in the file counts, else NG from 0.25 on; with
        it every class is NG from there on and no part UNSURE. ``image_size`` (H, W) and the other
        fields of :class:`~kdlnet.images.contract.Seeing` replace what is stored. Unfused weights
        are folded in memory. Raises WeightsError or ConfigError, KdlnetError without ONNX Runtime.
        """
        if isinstance(classes, str) or not isinstance(classes, Iterable | None):
            classes = [classes]  # of the letters of a name none is a class
        runtime = open_runtime(Path(path), device=str(device), image_size=image_size)
        rule, calibration = runtime.rule, runtime.calibration
        if score_threshold is not None:
            check_number(
                "score", score_threshold, lambda score: 0 <= score < 1, "0 or more, below 1"
            )
            rule, calibration = VerdictRule.at(score_threshold), {}
        return cls(
            runtime.engine,
            runtime.names,
            adjusted(runtime.preprocess, Seeing(None, window, tile, overlap, roi)),
            rule,
            iou_threshold,
            max_detections,
            batch,
            None if classes is None else tuple(classes),
            calibration,
        )

    @checked
    def predict(
        self,
        source: SourceLike,
        *,
        strict: bool = False,
        on_event: Listener = warn_user,
    ) -> list[Prediction]:
        """Predictions for all of a source that ends; see :meth:`stream`.

        Frames of a video are not kept in memory: draw those inside a loop over :meth:`stream`.
        """
        opened = open_source(source)
        if opened.live:
            raise ConfigError(
                f"{opened.title} may never end: iterate over stream(source) instead of predict"
            )
        found = self.stream(opened, strict=strict, on_event=on_event)
        return [_light(prediction) for prediction in found]

    @checked
    def stream(
        self,
        source: SourceLike | Source,
        *,
        strict: bool = False,
        timeout: float = TIMEOUT,
        reconnect: float = 0.0,
        every: float = 0.0,
        may_be_none: bool = False,
        on_event: Listener = warn_user,
    ) -> Iterator[Prediction]:
        """Predictions one by one, as their images come; each holds its image.

        ``source``, ``timeout``, ``reconnect`` and ``every`` as in
        :func:`~kdlnet.images.sources.open_source`. What cannot be read is skipped and told to
        ``on_event`` as Skipped, or raised with ``strict``; what was left out of the source is a
        warning, and so is that calibrated rates or the window do not suit it, and that a stream
        ended. Frames of a camera or stream that come quicker than they are asked for are passed
        over (:func:`~kdlnet.images.live.as_they_come`): their ``index`` is missing, which is a
        warning, or an error with ``strict``. Raises DataError when no image could be read, unless
        there ``may_be_none``, or a stream fails.
        """
        opened = source
        if not isinstance(opened, Source):
            opened = open_source(opened, timeout, reconnect, every)
        for note in filter(None, (self.rates_line(), *opened.notes)):
            on_event(Message(note, "warning"))
        skips = Skips(strict, on_event)
        few = opened.total is not None and opened.total <= self.batch
        engine, batch, lanes = in_lanes(self.engine, self.batch, opened.live or few)
        one = replace(self, engine=engine, batch=batch)
        if opened.live:  # the first look takes longest, and frames would be passed over for it
            one.detect([Frame("", "", np.zeros((*least_size(self.preprocess), 3), np.uint8))])
        frames = opened.frames(skips.hear, self._prepare())
        frames = fitting(frames, self.preprocess.roi, skips.hear, opened.live)
        size = 1 if opened.live else batch
        groups = self._told(batches(skips.placed(frames), size, BATCH_BYTES // lanes), on_event)
        for found in in_turn(one.detect, groups, lanes, weight, BATCH_BYTES):
            yield from found
        skips.end(opened, may_be_none)

    def detect(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Frames to their predictions, in their order; the network gets ``batch`` tiles at once."""
        clock = Laps()
        ready = [frame.ready for frame in frames]
        views = FrameViews([frame.image for frame in frames], self.preprocess, ready)
        found = list(self._pipeline().detect(views, clock))
        seconds = np.array([clock.spent[stage] for stage in STAGES[1:]]) / 1e3
        seconds[0] += sum(each.seconds for each in ready if each is not None)
        shares = np.bincount(views.image_of) / len(views.image_of)
        return [
            self._prediction(frame, detections, share * seconds)
            for frame, detections, share in zip(frames, found, shares, strict=True)
        ]

    def rates_line(self) -> str | None:
        """What to tell people where images are not seen as the thresholds were calibrated for."""
        return rates_line(self.calibration, self.preprocess)

    def depth_line(self, frame: Frame) -> str | None:
        """What to tell people where the bit depth of ``frame`` does not suit the window."""
        return depth_line(frame.name, self.preprocess, bits(frame.image.dtype))

    def _told(self, groups: Iterable[list[Frame]], on_event: Listener) -> Iterator[list[Frame]]:
        """``groups``, after a warning at the first whose bit depth does not suit."""
        told = False
        for frames in groups:
            if not told and (line := self.depth_line(frames[0])):
                told = True
                on_event(Message(line, "warning"))
            yield frames

    def _prepare(self) -> Prepare | None:
        """What the threads that read images do besides: of tiles there would be too many."""
        if self.preprocess.tiling is not None:
            return None
        return partial(prepare, preprocess=self.preprocess)

    def _pipeline(self) -> Pipeline:
        """Boxes of classes that do not count are left out before the suppression."""
        labels = None
        if self.classes is not None:
            labels = tuple(sorted({self.names.index(name) for name in self.classes}))
        return Pipeline(
            self.engine,
            self.preprocess.image_size,
            rule=self.rule,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
            batch=self.batch,
            labels=labels,
        )

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
            seconds=dict(zip(STAGES, [frame.seconds, *seconds.tolist()], strict=True)),
            index=frame.index,
            timestamp=frame.timestamp,
            stem=frame.stem,
            window=self._fitted(frame.image).window,
            roi=self.preprocess.roi,
            rule=self.rule,
            path=frame.path,
            image=frame.image,
            stamp=frame.stamp,
        )

    def _fitted(self, image: ImageArray) -> Preprocess:
        """The contract by which ``image`` is read, given its bit depth."""
        return fit_depth(self.preprocess, bits(image.dtype))


def _light(prediction: Prediction) -> Prediction:
    """Without the image, where it can be read again or belongs to a video."""
    if prediction.path is None and prediction.timestamp is None:
        return prediction
    return replace(prediction, image=None)
