"""What a check of a dataset found, read back from its findings.json."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from kdlnet.errors import DataError


class Finding(BaseModel):
    """One thing that was found. ``split`` and ``image`` are None for the whole set.

    ``image`` is a path: absolute, or relative to the dataset's root. ``fix`` is what to do.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    check: str
    severity: str
    message: str
    split: str | None = None
    image: str | None = None
    fix: str = ""


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
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "file"
        raise DataError(
            f"{str(file)!r} holds no findings of 'kdlnet data check': key {key}: {first['msg']}"
        ) from None


def by_image(
    findings: Sequence[Finding], images: Sequence[Path], root: Path
) -> tuple[list[list[Finding]], list[Finding]]:
    """The findings of each of ``images``, and those that belong to none of them."""
    position = {os.path.normpath(image): index for index, image in enumerate(images)}
    found: list[list[Finding]] = [[] for _ in images]
    rest = []
    for finding in findings:
        path = os.path.normpath(root / finding.image) if finding.image else ""
        if path in position:
            found[position[path]].append(finding)
        else:
            rest.append(finding)
    return found, rest
