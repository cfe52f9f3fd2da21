"""What a page of a validation speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdlnet.metrics.errors import Errors
from kdlnet.metrics.evaluation import EvalResult
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.answer import Doubt, Limits
from kdlnet.report.pages.calibrated import choosers


@dataclass(frozen=True)
class Subject:
    """What a page of a validation speaks of.

    ``result`` with the ``images`` that it was measured on, in pixels of the original; ``names`` the
    classes, ``rule`` as the weights hold it; ``lots`` the lot of each image; ``limits`` what is
    required. ``calibrations`` and ``digests`` have one entry for each file: what it holds, and the
    images that it judged, see :func:`~kdlnet.data.digest.images_digest`. Folds are several.
    """

    result: EvalResult
    images: Sequence[ImageResult]
    errors: Errors
    names: Sequence[str]
    rule: VerdictRule
    calibrations: Sequence[Mapping[str, Any]] = ()
    lots: Sequence[str] | None = None
    limits: Limits = field(default_factory=Limits)
    digests: Sequence[str] = ()

    @property
    def thresholds(self) -> list[float]:
        """The scores from which a part is NG and from which a person looks."""
        return [score for rule in self.rule.classes for score in (rule.score, rule.lower)]

    @property
    def chosen(self) -> list[list[int]]:
        """Labels whose thresholds the very parts chose that are judged, of each file with any."""
        pairs = zip(self.calibrations, self.digests, strict=False)
        found = (
            [label for label, name in enumerate(self.names) if chosen.get(name) == digest]
            for chosen, digest in ((choosers(one, self.names), digest) for one, digest in pairs)
        )
        return [labels for labels in found if labels]

    @property
    def fitted(self) -> bool:
        """Whether these parts chose several thresholds."""
        return len(self.chosen) > 1 or any(map(self.rule.several, self.chosen))

    @property
    def grouped(self) -> bool:
        """Whether several pictures are of one part, lot or scene."""
        return self.result.analysis.intervals.groups < self.result.precision.images

    @property
    def doubt(self) -> Doubt:
        """Why no interval proves that a limit is met, None where it does."""
        return "grouped" if self.grouped else "chose" if self.fitted else None

    @property
    def sized(self) -> bool:
        """Whether small or single boxes, true ones too, make no part defective or NG."""
        return any(r.min_area or r.min_length or r.min_count > 1 for r in self.rule.classes)
