"""Files that list the images of a set, each with what was drawn in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kdlnet.curation.formats.boxes import Annotation, import_annotations
from kdlnet.curation.formats.imported import ImportOptions, ImportResult, sort_out, unsure
from kdlnet.curation.formats.locate import ImageIndex
from kdlnet.curation.formats.parse import split_named
from kdlnet.curation.formats.runs import RunMask
from kdlnet.curation.formats.shapes import Shape
from kdlnet.data.labels import LabelProblem
from kdlnet.data.names import bare_name, last_part, may_be_one
from kdlnet.data.outlines import Outline
from kdlnet.errors import DataError
from kdlnet.utils.words import counted

_DIFFER = (
    "image {!r} is listed in {!r} and {!r}, which say different things of it ({}): give the "
    "file or folder to convert as SOURCE, and that of the images with --images"
)


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

    def differs(self, other: ListedImage) -> str:
        """In what ``other``, of another file, says otherwise, "" where it says the same.

        One may not know the split; rows may have another order and other numbers.
        """
        if len({self.split, other.split} - {None}) > 1:
            return f"splits {self.split!r} and {other.split!r}"
        if self.written != other.written:
            return "sizes {1}x{0} and {3}x{2}".format(*self.written, *other.written)
        return "" if self._drawn() == other._drawn() else "what is drawn in it"

    def _drawn(self) -> list[str]:
        """All that is drawn in it and what was wrong with it, in an order of its own."""
        shapes = (
            repr((replace(each, line=0, outline=None), _numbers(each.outline)))
            for each in self.shapes
        )
        runs = (repr((each.name, each.runs.tolist(), each.min_area)) for each in self.masks)
        problems = (repr(replace(each, file=Path(), line=0)) for each in self.problems)
        return sorted((*shapes, *runs, *problems))


def _numbers(outline: Outline | None) -> object:
    return None if outline is None else outline.tolist()


def index_of(source: Path, options: ImportOptions) -> ImageIndex:
    """The images that files in ``source``, a folder or one file, may list."""
    return ImageIndex(options.images or (source.parent if source.is_file() else source))


def import_listed(source: Path, index: ImageIndex, images: Sequence[ListedImage]) -> ImportResult:
    """The ``images`` with their boxes, by what files in ``source``, a folder or one file, say.

    Their files are those of ``index``. Those without a split, of a file called
    ``instances_train.json``, or in a folder ``train``, are of that split. An image without
    annotations is a good part; image files that are not listed are left out. An image of which
    several files say the same counts once: some people keep a list in two places. Raises DataError
    where they differ.
    """
    places = index.find([(image.name, image.file) for image in images])
    listed, missing = _by_file(images, places)
    for image in (*listed.values(), *(image for image, _ in missing)):
        if image.split is None:
            image.split = _split(source, image.file)
    again: Counter[tuple[Path, Path]] = Counter()
    found = _each_once(listed, again)
    missing = list(_without_copies(missing, found.values(), again))
    faults = [
        LabelProblem(image.file, 0, reason, index.shown(image.name), "dropped")
        for image, reason in missing
    ]
    doubt_namesakes(found.values(), [image for image, _ in missing])
    annotations = [
        Annotation(
            place,
            image.file,
            image.shapes,
            image.written,
            image.split,
            image.problems,
            image.masks,
        )
        for place, image in sorted(found.items())
    ]
    unused = index.unused(found, "not listed")
    result = sort_out([*import_annotations(annotations), *faults, *unused])
    twice = (
        f"{str(other)!r} says of {counted(count, 'image')} what {str(first)!r} says: it counts once"
        for (first, other), count in again.items()
    )
    return replace(result, warnings=(*twice, *told_taken(index, images, places)))


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


def _by_file(
    images: Sequence[ListedImage], places: Sequence[Path | str]
) -> tuple[dict[tuple[Path, Path], ListedImage], list[tuple[ListedImage, str]]]:
    """What each file says of each place, and the images without a place with the reason."""
    listed: dict[tuple[Path, Path], ListedImage] = {}
    missing = []
    for image, place in zip(images, places, strict=True):
        if isinstance(place, str):
            missing.append((image, place))
        elif (image.file, place) in listed:
            _merge(listed[image.file, place], image)
        else:
            listed[image.file, place] = image
    return listed, missing


def _each_once(
    listed: Mapping[tuple[Path, Path], ListedImage], again: Counter[tuple[Path, Path]]
) -> dict[Path, ListedImage]:
    """The image at each place; what other files say of it, too, is counted in ``again``.

    Raises DataError where that is something else.
    """
    found: dict[Path, list[ListedImage]] = defaultdict(list)
    for (file, place), image in listed.items():
        for other in found[place]:
            if difference := other.differs(image):
                files = str(other.file), str(file)
                raise DataError(_DIFFER.format(str(place), *files, difference))
        found[place].append(image)
    for first, *others in found.values():
        for other in others:
            _count_again(first, other, again)
    return {place: first for place, (first, *_) in found.items()}


def _without_copies(
    missing: Iterable[tuple[ListedImage, str]],
    found: Collection[ListedImage],
    again: Counter[tuple[Path, Path]],
) -> Iterator[tuple[ListedImage, str]]:
    """Those ``missing`` but of files that only say again what others say, counted in ``again``.

    An image that is listed twice goes to the list that is nearer.
    """
    called, owners = defaultdict(list), {image.file for image in found}
    for image in found:
        called[last_part(image.name)].append(image)
    for image, reason in missing:
        twins = () if image.file in owners else called[last_part(image.name)]
        if twin := next((each for each in twins if not each.differs(image)), None):
            _count_again(twin, image, again)
        else:
            yield image, reason


def _count_again(first: ListedImage, other: ListedImage, again: Counter[tuple[Path, Path]]) -> None:
    """Counts an image of which ``other`` says the same; it may alone know the split."""
    first.split = other.split if first.split is None else first.split
    again[first.file, other.file] += 1


def _merge(first: ListedImage, again: ListedImage) -> None:
    """Adds to ``first`` what its file says of the same image by another name.

    What was drawn for another size is dropped: it would be misplaced.
    """
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
