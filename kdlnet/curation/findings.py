"""What a check of a dataset found: written to a findings.json and read back from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kdlnet.curation.groups import name_below
from kdlnet.errors import DataError
from kdlnet.utils.parse import first_fault

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")  # worst first


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``split`` and ``image`` are None where it concerns more than one.

    ``image`` is absolute, or, as a file has it, relative to the dataset's root. ``value`` is what
    was measured, as JSON knows it: a number, text, a list or a map. ``fix`` is what to do, "" for
    nothing.
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


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore")

    findings: list[Finding]


def read_findings(file: Path) -> list[Finding]:
    """The findings in ``file``. Raises DataError naming the file and the key at fault."""
    try:
        return _Document.model_validate_json(file.read_bytes()).findings
    except OSError as error:
        raise DataError(f"cannot read findings {str(file)!r}: {error.strerror}") from None
    except ValidationError as error:
        raise DataError(
            f"{str(file)!r} holds no findings of 'kdlnet data check': {first_fault(error)}"
        ) from None


def by_image(
    findings: Sequence[Finding], images: Sequence[Path], root: Path
) -> tuple[list[list[Finding]], list[Finding]]:
    """The findings of each of ``images``, and those that belong to none of them."""
    position = {os.path.normpath(image): index for index, image in enumerate(images)}
    found: list[list[Finding]] = [[] for _ in images]
    rest = []
    for finding in findings:
        path = os.path.normpath(root / finding.image) if finding.image else None
        if path in position:
            found[position[path]].append(finding)
        else:
            rest.append(finding)
    return found, rest
