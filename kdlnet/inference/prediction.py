"""What a detector says about one image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError
from kdlnet.images.read import ImageArray, read_image
from kdlnet.images.stamp import Stamp, stamp_of
from kdlnet.metrics.verdict import Verdict, VerdictRule
from kdlnet.report.draw import draw_detections
from kdlnet.report.images import Image
from kdlnet.types import ImageSize, Roi


@dataclass(frozen=True, eq=False)
class Prediction:
    """Boxes of one image by falling score.

    ``boxes`` (N, 4) float64 as (x1, y1, x2, y2) in pixels of the original image, ``scores`` (N,)
    float64 in [0, 1], ``labels`` (N,) int64 positions in ``names``; ``size`` is (H, W). ``name`` is
    the file or address, ``stem`` a relative path for files made from it. ``index`` counts from 0
    in the source or video; ``timestamp`` is in seconds, None for an image. ``seconds`` is the
    time by stage (decode, preprocess, infer, postprocess), a batch's shared equally. ``window``
    holds the two intensities the network saw as 0 and 1, ``roi`` is what of the image it saw, None
    for all. ``rule`` says which boxes make the image
    NG or UNSURE; by default each of them makes it NG. ``stamp`` tells whether ``path`` was changed.
    """

    name: str
    size: ImageSize
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    index: int = 0
    timestamp: float | None = None
    stem: str = "image"
    window: tuple[float, float] = (0.0, 255.0)
    rule: VerdictRule = field(default_factory=lambda: VerdictRule.at(0.0))
    path: Path | None = None
    image: ImageArray | None = field(default=None, repr=False)
    stamp: Stamp | None = field(default=None, repr=False)
    roi: Roi | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __bool__(self) -> bool:
        return True  # an image without boxes is an answer, too

    def __str__(self) -> str:
        moment = "" if self.timestamp is None else f" frame {self.index} at {self.timestamp:.2f} s"
        best = {self.names[k]: s for k, s in zip(self.labels[::-1], self.scores[::-1], strict=True)}
        found = [f"{count} {name} (best {best[name]:.2f})" for name, count in self.counts().items()]
        return f"{self.name}{moment}: {self.verdict}, {', '.join(found) or 'no boxes'}"

    @cached_property
    def verdict(self) -> Verdict:
        """``NG``, ``UNSURE`` (a person has to look) or ``OK``, by the rule."""
        return self.rule.verdict(self)

    def counts(self) -> dict[str, int]:
        """Boxes by class name, in the order of the class list; classes without a box left out."""
        found = Counter(self.labels.tolist())
        return {self.names[label]: found[label] for label in sorted(found)}

    def to_numpy(self) -> NDArray[np.float64]:
        """(N, 6): x1, y1, x2, y2 in pixels of the original image, score, label."""
        return np.column_stack((self.boxes, self.scores, self.labels))

    def to_dict(self) -> dict[str, Any]:
        """JSON values. Boxes are rounded to 0.001 pixels, scores to 0.00001.

        The ``verdict`` of a box is what it would make of the image on its own.
        """
        columns = (self.labels.tolist(), self.scores.tolist(), self.boxes.tolist())
        rows = zip(*columns, self.rule.box_verdicts(self), strict=True)
        return {
            "name": self.name,
            "stem": self.stem,
            "index": self.index,
            "timestamp": None if self.timestamp is None else round(self.timestamp, 3),
            "size": list(self.size),
            "verdict": self.verdict,
            "boxes": [
                {
                    "class": self.names[label],
                    "label": label,
                    "score": round(score, 5),
                    "box": [round(side, 3) for side in box],
                    "verdict": verdict,
                }
                for label, score, box, verdict in rows
            ],
            "seconds": {stage: round(value, 6) for stage, value in self.seconds.items()},
        }

    def pixels(self) -> ImageArray:
        """The image (H, W, C) in its native depth: the one held, or read again from its file.

        Raises DataError when it was a frame of a video that is not held, and for a file that cannot
        be read any more or has changed since.
        """
        if self.image is not None:
            return self.image
        if self.path is None:
            raise DataError(
                f"the frame {self.index} of {self.name!r} is not kept in memory: "
                "iterate over stream(source) instead of predict(source) to draw it"
            )
        image, now = read_image(self.path), stamp_of(self.path)
        if self.stamp not in (None, now):
            raise DataError(
                f"image {str(self.path)!r} was changed after it was predicted, so the boxes are of "
                "another picture: predict it again, or draw inside a loop over stream(source)"
            )
        return image

    def draw(self) -> Image:
        """RGB uint8 (H * f, W * f, 3) with boxes, class names and scores.

        Images with a short side under 400 pixels are enlarged by a whole factor f.
        """
        return draw_detections(
            self.pixels(),
            self.boxes,
            self.labels,
            self.scores,
            self.names,
            window=self.window,
            roi=self.roi,
        )
