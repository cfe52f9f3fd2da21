"""A file that was proved and its certificate: both come into place together, or neither."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlnet.errors import KdlnetError
from kdlnet.inference.kinds import FileKind
from kdlnet.inference.targets import check_target, to_replace
from kdlnet.utils.files import check_writable, write_atomic, write_json

_KEYS = {"weights", "largest_logit_error", "same_boxes", "passed"}


def check_free(path: Path, kind: FileKind, certificate: Path, overwrite: bool) -> None:
    """Raises KdlnetError where a file of ``kind`` and its ``certificate`` cannot be written.

    ``overwrite`` allows them to replace what kdlnet wrote, and nothing else.
    """
    check_target(path, kind, overwrite)
    if to_replace([certificate], overwrite) and not _is_certificate(certificate):
        raise KdlnetError(
            f"{str(certificate)!r}, where the certificate would go, was not written by kdlnet and "
            "was left alone: name another --out"
        )
    check_writable(certificate)


def _is_certificate(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= _KEYS


def publish(staged: Sequence[Path], folder: Path, certificate: Path, facts: dict[str, Any]) -> None:
    """Puts copies of the ``staged`` files into ``folder``, the first last, and the certificate.

    When one cannot be written those that were not there before are removed. Raises KdlnetError.
    """
    written: list[Path] = []
    try:
        for source in reversed(staged):
            place = folder / source.name
            new = not os.path.lexists(place)
            write_atomic(place, source.read_bytes())
            written += [place] if new else []
        write_json(certificate, facts)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
