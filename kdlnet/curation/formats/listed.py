"""Files that list the images of a set, each with what was drawn in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kdlnet.curation.formats.boxes import Annotation, import_annotations
from kdlnet.curation.formats.imported import ImportOptions, ImportResult, sort_out, unsure
from kdlnet.curation.formats.locate import ImageIndex
from kdlnet.curation.formats.parse import split_named
from kdlnet.curation.formats.runs import RunMask
from kdlnet.curation.formats.shapes import Shape
from kdlnet.data.labels import LabelProblem
from kdlnet.data.names import bare_name, may_be_one
from kdlnet.errors import DataError


@dataclass
class ListedImage:
    """What ``file`` says of the image ``name``; ``written`` is (H, W), 0 where not said.

    ``split`` is None where not said, "" where it is none of ours.
    """

    name: str
    written: tuple[int, int]
    file: Path
    shapes: list[Shape] = field(default_factory=list)
    problems: list[LabelProblem] = field(default_factory=list)
    masks: list[RunMask] = field(default_factory=list)
    split: str | None = None

    @property
    def bare(self) -> bool:
        """Whether nothing was drawn in it, as far as all is known."""
        return not (self.shapes or self.masks or self.problems)


def index_of(source: Path, options: ImportOptions) -> ImageIndex:
    """The images that files in ``source``, a folder or one file, may list."""
    return ImageIndex(options.images or (source.parent if source.is_file() else source))


def import_listed(source: Path, index: ImageIndex, images: Sequence[ListedImage]) -> ImportResult:
    """The ``images`` with their boxes, by what files in ``source``, a folder or one file, say.

    Their files are those of ``index``. Those without a split, of a file called
    ``instances_train.json``, or in a folder ``train``, are of that split. An image without
    annotations is a good part; image files that are not listed are left out. Raises DataError when
    two files list the same image.
    """
    places = index.find([(image.name, image.file) for image in images])
    found: dict[Path, ListedImage] = {}
    missing: list[ListedImage] = []
    faults = []
    for image, place in zip(images, places, strict=True):
        if isinstance(place, str):
            faults.append(LabelProblem(image.file, 0, place, index.shown(image.name), "dropped"))
            missing.append(image)
        elif place in found:
            _merge(place, found[place], image)
        else:
            found[place] = image
    doubt_namesakes(found.values(), missing)
    annotations = [
        Annotation(
            place,
            image.file,
            image.shapes,
            image.written,
            _split(source, image.file) if image.split is None else image.split,
            image.problems,
            image.masks,
        )
        for place, image in sorted(found.items())
    ]
    unused = index.unused(found, "not listed")
    result = sort_out([*import_annotations(annotations), *faults, *unused])
    return replace(result, warnings=told_taken(index, images, places))


def told_taken(
    index: ImageIndex, images: Sequence[ListedImage], places: Sequence[Path | str]
) -> tuple[str, ...]:
    """A line where names fit several images and one was taken: it may be the mask."""
    told = [
        f"{shown}: taken is {str(place.relative_to(index.root))!r}"
        for image, place in zip(images, places, strict=True)
        if isinstance(place, Path) and (shown := index.shown(image.name)) != image.name
    ]
    if not told:
        return ()
    return (
        f"names that fit several images: {len(told)}, first {told[0]}; if that is wrong, name the "
        "folder of the images with --images",
    )


def doubt_bare(images: Iterable[ListedImage], file: Path, lost: int) -> None:
    """Gives the ``images`` without annotations an :func:`unsure` where ``lost`` have no image.

    One of these may be what was drawn in one of those.
    """
    for image in images if lost else ():
        if image.bare:
            image.problems.append(unsure(file, lost))


def doubt_namesakes(found: Iterable[ListedImage], missing: Iterable[ListedImage]) -> None:
    """Like :func:`doubt_bare`, by those ``missing`` that may be the same image by another name."""
    drawn = defaultdict(list)
    for image in missing:
        if not image.bare:
            drawn[image.file, bare_name(image.name)].append(image.name)
    for image in found:
        names = drawn.get((image.file, bare_name(image.name)), ())
        doubt_bare([image], image.file, sum(may_be_one(image.name, name) for name in names))


def _merge(place: Path, first: ListedImage, again: ListedImage) -> None:
    """Adds to ``first`` what is said of the same image by another name.

    What was drawn for another size is dropped: it would be misplaced.
    """
    if again.file != first.file:
        raise DataError(
            f"image {str(place)!r} is listed in {str(first.file)!r} and {str(again.file)!r}: "
            "give the file or folder to convert as SOURCE, and that of the images with --images"
        )
    first.problems += again.problems
    if first.split is None:
        first.split = again.split
    elif again.split not in (None, first.split):
        value = f"{first.split!r} and {again.split!r}"
        first.problems.append(LabelProblem(first.file, 0, "two splits", value, "dropped"))
    if all(first.written) and all(again.written) and first.written != again.written:
        height, width = again.written
        drawn: list[Shape | RunMask] = [*again.shapes, *again.masks]
        first.problems += [
            LabelProblem(first.file, each.line, "two sizes", f"{width}x{height}", "dropped")
            for each in drawn
        ]
        return
    first.shapes += again.shapes
    first.masks += again.masks
    first.written = first.written if all(first.written) else again.written


def _split(source: Path, file: Path) -> str | None:
    folders = reversed(file.relative_to(source).parent.parts)
    return next(filter(None, map(split_named, (file.stem, *folders))), None)
