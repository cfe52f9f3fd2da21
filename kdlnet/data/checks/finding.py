"""One thing that a check of a dataset found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdlnet.data.groups import name_below

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")  # worst first


@dataclass(frozen=True, slots=True)
class Finding:
    """``split`` and ``image`` are None where it concerns more than one.

    ``value`` is what was measured, as JSON knows it: a number, text, a list or a map. ``fix`` is
    what to do, "" for nothing.
    """

    check: str
    severity: Severity
    message: str
    split: str | None = None
    image: Path | None = None
    value: Any = None
    fix: str = ""

    def to_dict(self, root: Path) -> dict[str, Any]:
        """JSON-able; the image relative to ``root``, the folder of the dataset."""
        return {
            "check": self.check,
            "severity": self.severity,
            "split": self.split,
            "image": None if self.image is None else name_below(self.image, root),
            "message": self.message,
            "value": self.value,
            "fix": self.fix,
        }
