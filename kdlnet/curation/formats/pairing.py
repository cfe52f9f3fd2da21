"""Which annotation file belongs to which image, where each image has a file of its own name.

A file serves one image. What names and folders leave open is reported, never guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

from kdlnet.curation.formats.homes import Folders, Homes, common_start
from kdlnet.curation.formats.locate import most_alike
from kdlnet.errors import DataError
from kdlnet.utils.text import plain

_Places = Callable[[Path], Iterable[Path | None]]  # folders of files by one of images, None: all

KEYS: tuple[Callable[[str], str], ...] = (str, plain)
"""How stems are compared, one way after the other."""


@dataclass(frozen=True)
class Pairs:
    """``file_of`` maps images to their annotation files.

    ``unclear`` are images and files of which several fit each other equally, and images called
    like a file that has lost its own; that file stays :meth:`free`. ``unlisted`` are images whose
    file says that it belongs to another one.
    """

    file_of: dict[Path, Path] = field(default_factory=dict)
    unclear: set[Path] = field(default_factory=set)
    unlisted: set[Path] = field(default_factory=set)

    def free(self, images: Sequence[Path], files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
        """The images and the files that nothing has been decided about."""
        known = {*self.file_of, *self.file_of.values(), *self.unclear, *self.unlisted}
        return [i for i in images if i not in known], [f for f in files if f not in known]


def pair(
    images: Sequence[Path],
    files: Sequence[Path],
    roots: tuple[Path, Path],
    named: Mapping[Path, Sequence[str]],
) -> Pairs:
    """Pairs images with files of the same stem; ``roots`` are the folders both are below.

    A file beside the image comes first, then one in the mirrored folder, then the one in the most
    alike folder; in each an equal stem before one that differs in case or Unicode form. Where
    several images are left for one file, ``named`` decides: the image names that stand in it.

    A file whose folder serves another one has lost its image: it is not a namesake's elsewhere.

    Raises DataError for an image that two files fit equally.
    """
    pairs = Pairs()
    homes = Homes(images, files, below=True)
    places: tuple[_Places, ...] = (
        lambda folder: (_same_below(folder, roots),),
        mirrors((file.parent for file in files), roots),
        lambda folder: (None,),
    )
    for number, place in enumerate(places):
        found: dict[Path, Path] = {}
        for key in KEYS:
            free_images, free_files = pairs.free(images, files)
            for file, claimants in _claims(free_images, free_files, key, place):
                near = [c for c in claimants if homes.may_hold(c, file.parent)]
                chosen = _chosen(near, named.get(file, ()))
                if chosen is None:
                    pairs.unclear.update((file, *claimants) if near else claimants)
                else:
                    pairs.file_of[chosen] = found[chosen] = file
                    pairs.unlisted.update(image for image in claimants if image != chosen)
        if number + 1 < len(places):
            for image, file in found.items():
                homes.serve(file.parent, image)
    return pairs


def _chosen(images: list[Path], names: Sequence[str]) -> Path | None:
    """Of ``images`` that may be a file's the one that it names, None where that is left open."""
    if len(images) > 1:
        best = (most_alike(name, images) for name in names)
        return next((files[0] for files in best if len(files) == 1), None)
    return images[0] if images else None


def _claims(
    images: Sequence[Path],
    files: Sequence[Path],
    key: Callable[[str], str],
    places: _Places,
) -> Iterable[tuple[Path, list[Path]]]:
    """Each file with the images whose nearest it is, among those of one key in ``places``."""
    claims: dict[Path, list[Path]] = defaultdict(list)
    for image, candidates in namesakes(images, files, key, places):
        if candidates:
            claims[_nearest(image, candidates)].append(image)
    return claims.items()


def namesakes(
    images: Iterable[Path],
    files: Iterable[Path],
    key: Callable[[str], str],
    places: _Places,
    stem: Callable[[Path], str] = lambda file: file.stem,
) -> Iterator[tuple[Path, list[Path]]]:
    """Each image with the files in its ``places`` whose ``stem`` has the ``key`` of its own."""
    by_key: dict[tuple[Path | None, str], list[Path]] = defaultdict(list)
    for file in files:
        for place in (file.parent, None):
            by_key[place, key(stem(file))].append(file)
    for image in images:
        near = (by_key.get((place, key(image.stem)), ()) for place in places(image.parent))
        yield image, list(chain.from_iterable(near))


def _nearest(image: Path, candidates: list[Path]) -> Path:
    first, *others = sorted(candidates, key=lambda file: _likeness(image, file), reverse=True)
    if others and _likeness(image, first) == _likeness(image, others[0]):
        raise DataError(
            f"image {str(image)!r} fits two annotations, {str(first)!r} and "
            f"{str(others[0])!r}: give them folders of the same name as the image's, or convert "
            "one folder of annotations alone, with --images for that of the images"
        )
    return first


def mirrors(folders: Iterable[Path], roots: tuple[Path, Path]) -> Callable[[Path], list[Path]]:
    """Those of ``folders`` where files lie as the images of a folder do, each below its root.

    Or as ``Annotations/a`` does for ``images/a``: alike but for one folder that says what is in it.
    """
    known = Folders(folders)

    @cache
    def of(folder: Path) -> list[Path]:
        return sorted({*known.near(folder), _same_below(folder, roots)})

    return of


def _same_below(folder: Path, roots: tuple[Path, Path]) -> Path:
    return roots[1] / folder.relative_to(roots[0])


def _likeness(image: Path, file: Path) -> tuple[int, int, int]:
    """Equal folder names counted from the file up, then from the root down, then equal depth."""
    ours, theirs = image.parent.parts, file.parent.parts
    return (
        common_start(ours[::-1], theirs[::-1]),
        common_start(ours, theirs),
        -abs(len(ours) - len(theirs)),
    )
