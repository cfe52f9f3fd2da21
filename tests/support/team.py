"""The processes that ``--devices`` starts."""

from __future__ import annotations

from pathlib import Path


def members(team: int) -> list[int]:
    """The processes that the team started, by their rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            words = (place / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError, ValueError):
            continue
        if parent == team:
            ranks = [word for word in words if word.startswith(b"RANK=")]
            found[int(ranks[0].removeprefix(b"RANK=")) if ranks else -1] = int(place.name)
    return [found[rank] for rank in sorted(found)]
