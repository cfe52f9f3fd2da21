"""What a model suggested in files of LabelMe, and which of it a person took over.

``predict --save labelme`` writes them: each box is a suggestion, and the image has a tick to make
once all of it is right. Where nobody made it the image may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdlnet.data.labels import LabelProblem
from kdlnet.data.other_tools import CHECKED, CLASSES, is_checked, is_suggestion, mark_of
from kdlnet.utils.words import counted

_Content = Mapping[str, Any]


def not_seen(images: Iterable[Path], contents: Iterable[_Content]) -> list[LabelProblem]:
    """A problem for each of ``images`` without a file, where any of the ``contents`` has a tick.

    Where suggestions are looked through, what was not asked about is no good part.
    """
    if not has_ticks(contents):
        return []
    return [_not_checked(image, "it has no LabelMe file") for image in images]


def has_ticks(contents: Iterable[_Content]) -> bool:
    """Whether any of the files has a tick to make, or made."""
    return any(is_checked(content) is not None for content in contents)


def waiting(contents: Iterable[tuple[Path, Path, _Content]]) -> Iterator[LabelProblem]:
    """A problem for each image, given with its file and what that holds, that waits for its tick.

    Those in which a person drew, and left no suggestion, need none.
    """
    for image, file, content in contents:
        if is_checked(content) is False and _open(content):
            yield _not_checked(image, f"tick {CHECKED!r} of {file.name} in LabelMe")


def _not_checked(image: Path, why: str) -> LabelProblem:
    return LabelProblem(image, 0, "not checked", why, "dropped")


def unseen_line(contents: Iterable[_Content]) -> Iterator[str]:
    """A line about the suggestions that are taken though nobody ticked them."""
    taken = [_suggestions(content) for content in contents if _open(content)]
    if taken:
        good = taken.count(0)
        more = f", and {counted(good, 'image')} without one as good," if good else ""
        yield (
            f"{counted(sum(taken), 'suggestion')} of {counted(len(taken) - good, 'image')} are "
            f"taken{more} though nobody ticked them: look at them before anything learns from them"
        )


def class_order(source: Path, found: set[str], contents: Iterable[_Content]) -> tuple[str, ...]:
    """The classes of labels.txt, as LabelMe takes them, then others that were ``found``.

    Those that begin with _ are none. A text that lacks a class that was found is another one's,
    unless it came with ticks to make.
    """
    try:
        lines = (source / CLASSES).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    stripped = map(str.strip, lines)
    listed = dict.fromkeys(name for name in stripped if name and not name.startswith("_"))
    if not (found <= listed.keys() or has_ticks(contents)):
        return ()
    return (*listed, *sorted(found - listed.keys()))


def unlisted(source: Path, contents: Iterable[_Content]) -> Iterator[str]:
    """A line about a list of classes that came with the ticks and is not in ``source``."""
    if has_ticks(contents):
        yield (
            f"no {CLASSES} that can be read in {str(source)!r}: a class that no image shows is "
            "none of the new dataset; give the folder that has it, as UTF-8, or --names"
        )


def _open(content: _Content) -> bool:
    checked, shapes = is_checked(content), content["shapes"]
    return not checked and (_suggestions(content) > 0 or (checked is False and not shapes))


def _suggestions(content: _Content) -> int:
    mark = mark_of(content)
    return sum(is_suggestion(shape, mark) for shape in content["shapes"])
