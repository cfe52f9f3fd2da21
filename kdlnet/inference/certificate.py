"""A file that was proved and its certificate: both come into place together, or neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from kdlnet.errors import KdlnetError
from kdlnet.inference.kinds import FileKind
from kdlnet.inference.targets import check_target, to_replace
from kdlnet.utils.files import as_json, check_writable, write_together

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
    """Puts copies of the ``staged`` files into ``folder``, and the certificate: all, or none.

    Beside ``facts`` it has the ``sha256`` of each, by name: it speaks of these files and no others.
    Raises KdlnetError.
    """
    copies = {folder / source.name: source.read_bytes() for source in staged}
    digests = {file.name: sha256(content).hexdigest() for file, content in copies.items()}
    write_together({certificate: as_json(facts | {"sha256": digests})} | copies)
