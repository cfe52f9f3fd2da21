"""The outcome of a proof: the differences that were found, and those that are allowed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from kdlnet.types import ImageSize


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far the answers may lie apart; with None a difference is reported and not judged.

    ``logits`` is a share of max(1, largest logit). ``box_pixels`` are those of the network input.
    The same box scores the same within ``score``. ``flips`` is the share of images whose verdict
    may change, ``ap_loss`` what AP may lose. What is not finite always fails.
    """

    logits: float | None = 1e-4
    box_pixels: float | None = 0.1
    score: float | None = 1e-3
    flips: float | None = None
    ap_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The differences that were found, and those allowed. ``after`` is compared with ``before``.

    Errors are those of class and bin logits and, in pixels of the network input, of the boxes of
    all points; a file that suppresses boxes itself answers no logits (None), and its boxes alone
    are compared. ``verdict_flips`` counts images on which the verdicts differ; no score below
    ``score_threshold`` makes one NG. AP is None without labelled boxes.
    """

    images: int
    real_images: bool
    image_size: ImageSize
    largest_logit_error: float | None
    largest_logit: float
    tolerance: float | None
    largest_box_error: float
    box_tolerance: float | None
    boxes_compared: int
    same_boxes: bool
    same_boxes_needed: bool
    score_threshold: float
    verdict_flips: int
    flips_allowed: int | None
    ap_before: float | None
    ap_after: float | None
    ap_loss_allowed: float | None

    @property
    def passed(self) -> bool:
        """All is finite, and whatever is judged is within its tolerance."""
        return all(held for held, _ in self._checks())

    def describe(self) -> str:
        """The figures in one line, each with what is allowed; first those that are beyond it."""
        checks = self._checks()
        failed = "; ".join(text for held, text in checks if not held)
        rest = "; ".join(text for held, text in checks if held)
        return f"{failed} (within limits: {rest})" if failed and rest else failed or rest

    def _checks(self) -> list[tuple[bool, str]]:
        """Each figure: whether it is within its tolerance, and how to say it."""
        checks = []
        if (logits := self.largest_logit_error) is not None:
            text = f"largest logit error {logits:.2e}{_allowed(self.tolerance, '.2e')}"
            checks.append((_within(logits, self.tolerance), text))
        boxes = self.largest_box_error
        text = f"largest box error {boxes:.2e} pixels{_allowed(self.box_tolerance)}"
        checks.append((_within(boxes, self.box_tolerance), text))
        text = f"same boxes: {'yes' if self.same_boxes else 'no'}"
        checks.append((self.same_boxes or not self.same_boxes_needed, text))
        if self.verdict_flips or self.flips_allowed is not None:
            flips = f"verdict flips {self.verdict_flips} of {self.images}"
            held = _within(self.verdict_flips, self.flips_allowed)
            checks.append((held, flips + _allowed(self.flips_allowed)))
        if self.ap_loss_allowed is not None and self.ap_before is not None:
            loss = self.ap_before - (self.ap_after or 0.0)
            ap = f"AP {self.ap_before:.4f} before, {self.ap_after:.4f} after"
            text = f"{ap}, allowed to lose {self.ap_loss_allowed}"
            checks.append((_within(loss, self.ap_loss_allowed), text))
        return checks

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "image_size": list(self.image_size), "passed": self.passed}


def _within(error: float, allowed: float | None) -> bool:
    return math.isfinite(error) and (allowed is None or error <= allowed)


def _allowed(value: float | None, form: str = "") -> str:
    return "" if value is None else f", allowed {value:{form}}"
