"""What a page of a validation speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdlnet.metrics.errors import Errors
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.answer import Limits
from kdlnet.report.pages.calibrated import chose


@dataclass(frozen=True)
class Subject:
    """What a page of a validation speaks of.

    ``result`` with the ``images`` that it was measured on, in pixels of the original; ``names`` the
    classes, ``rule`` and ``calibration`` as the weights hold them; ``lots`` the lot of each image;
    ``limits`` what is required; ``digest`` that of the images, see
    :func:`~kdlnet.data.digest.images_digest`.
    """

    result: EvalResult
    images: Sequence[ImageResult]
    errors: Errors
    names: Sequence[str]
    rule: VerdictRule
    calibration: Mapping[str, Any] = field(default_factory=dict)
    lots: Sequence[str] | None = None
    limits: Limits = field(default_factory=Limits)
    digest: str = ""

    @property
    def thresholds(self) -> list[float]:
        """The scores from which a part is NG and from which a person looks."""
        return [score for rule in self.rule.classes for score in (rule.score, rule.lower)]

    @property
    def chosen(self) -> bool:
        """Whether these very parts chose the thresholds."""
        return chose(self.calibration, self.digest)

    @property
    def fitted(self) -> bool:
        """Whether they chose several."""
        return self.chosen and len({(r.score, r.lower) for r in self.rule.classes}) > 1

    @property
    def sized(self) -> bool:
        """Whether small or single boxes, true ones too, make no part defective or NG."""
        return any(r.min_area or r.min_length or r.min_count > 1 for r in self.rule.classes)
