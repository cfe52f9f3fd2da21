"""What tells one content of a file from the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one content of a file from the next: ``size`` in bytes, ``changed`` in ns."""

    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """That of a file as it is now. Raises OSError, ValueError for a name with a NUL."""
        facts = path.stat()
        return cls(facts.st_size, facts.st_mtime_ns)


def stamp_of(path: Path) -> Stamp | None:
    """That of a file as it is now; None where it is gone, renamed or deleted."""
    try:
        return Stamp.of(path)
    except (OSError, ValueError):
        return None
