"""Names of images as tools for labels write them: with more or fewer folders and suffixes."""

from __future__ import annotations

from pathlib import Path

from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import plain


def parts_of(name: str) -> list[str]:
    """Folders and the last part of a name as they are compared, parted by / or \\."""
    return [plain(part) for part in name.replace("\\", "/").split("/") if part not in {"", "."}]


def last_part(name: str) -> str:
    """The name without its folders, in one case; "" for one without any part."""
    return "".join(parts_of(name)[-1:])


def bare_name(name: str) -> str:
    """The last part of a name without the suffix of an image, in one case."""
    last = last_part(name)
    return Path(last).stem if Path(last).suffix in IMAGE_SUFFIXES else last


def may_be_one(name: str, other: str) -> bool:
    """Whether two names agree in their last parts, as far as the shorter one goes.

    Where one has no suffix, that of the other does not count.
    """
    parts, others = parts_of(name), parts_of(other)
    bare = [bare_name(name)], [bare_name(other)]
    if parts[-1:] == bare[0] or others[-1:] == bare[1]:
        parts[-1:], others[-1:] = bare
    least = min(len(parts), len(others))
    return least > 0 and parts[-least:] == others[-least:]
