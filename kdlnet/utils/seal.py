"""A file that carries its own checksum, so that one damaged byte is noticed before it is used."""

from __future__ import annotations

import hashlib
import re

SEAL = {"sha256": "0" * 64}
"""Goes into the JSON header of a file that is to be sealed."""

# In a header that is itself a string within JSON or XML the quotes are escaped.
_QUOTE = rb'(?:\\?"|&quot;)'
_PLACE = re.compile(rb"sha256" + _QUOTE + rb": " + _QUOTE + rb"(.{64})", re.DOTALL)


def sealed(content: bytes) -> bytes:
    """``content``, which holds SEAL, with its own checksum in the place of the zeros."""
    found = _PLACE.search(content)
    if found is None:
        raise ValueError("no place for a checksum")
    return content[: found.start(1)] + _checksum(content, found) + content[found.end(1) :]


def is_damaged(content: bytes) -> bool:
    """Whether bytes were changed since they were sealed; False where there is no checksum."""
    found = _PLACE.search(content)
    return found is not None and found[1] != _checksum(content, found)


def _checksum(content: bytes, place: re.Match[bytes]) -> bytes:
    """SHA-256 in hexadecimal of ``content`` with zeros at ``place``."""
    digest = hashlib.sha256(content[: place.start(1)])
    digest.update(b"0" * 64)
    digest.update(memoryview(content)[place.end(1) :])
    return digest.hexdigest().encode()
