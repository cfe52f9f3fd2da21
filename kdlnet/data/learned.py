"""The images that weights have learned from, each known by its bytes."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet.data.digest import images_digest
from kdlnet.images.read import image_bytes

_SIZE = 8  # bytes a fingerprint: a million against a million meet by chance once in 10^7 times
_READERS = 4


@dataclass(frozen=True)
class Learned:
    """``images`` are fingerprints of files, whatever their names and wherever they lie.

    ``splits`` are digests of whole lists of images (:func:`~kdlnet.data.digest.images_digest`),
    all that files of older versions hold.
    """

    images: frozenset[bytes] = frozenset()
    splits: frozenset[str] = frozenset()

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Learned:
        """What has learned from these files. Raises DataError for one that cannot be read."""
        return cls(frozenset(_fingerprints(paths)))

    @classmethod
    def of_header(cls, value: Any) -> Learned:
        """From what :meth:`to_header` made, a list of an older version, or None.

        Raises ValueError, TypeError or AttributeError where it is none of them.
        """
        if value is None:
            return cls()
        if isinstance(value, list):
            return cls(splits=frozenset(map(str, value)))
        packed = b64decode(value.get("images", ""), validate=True)
        if len(packed) % _SIZE:
            raise ValueError(f"{len(packed)} bytes of fingerprints")
        images = frozenset(packed[i : i + _SIZE] for i in range(0, len(packed), _SIZE))
        return cls(images, frozenset(map(str, value.get("splits", ()))))

    def to_header(self) -> dict[str, Any]:
        """Builtins, ready for JSON: 11 bytes an image, all of them however many there are."""
        packed = b64encode(b"".join(sorted(self.images))).decode()
        return {"images": packed, "splits": sorted(self.splits)}

    def __or__(self, other: Learned) -> Learned:
        return Learned(self.images | other.images, self.splits | other.splits)

    def count(self, paths: Sequence[Path]) -> int | None:
        """How many of these files were learned from, None where that is not known.

        Raises DataError for one that cannot be read.
        """
        if self.splits and images_digest(paths) in self.splits:
            return len(paths)
        if not self.images:
            return None
        return sum(one in self.images for one in _fingerprints(paths))


def _fingerprints(paths: Sequence[Path]) -> list[bytes]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(_fingerprint, paths))


def _fingerprint(path: Path) -> bytes:
    return hashlib.sha256(image_bytes(path)).digest()[:_SIZE]
