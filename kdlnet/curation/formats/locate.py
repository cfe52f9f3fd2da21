"""Image files by the names that annotation files give them.

Those names are relative to the annotation, to the images or to the machine on which they were
drawn; with slashes or backslashes, in another case or another Unicode form; with or without suffix.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kdlnet.curation.formats.homes import Homes
from kdlnet.data.digest import copies
from kdlnet.data.labels import LabelProblem
from kdlnet.data.names import parts_of
from kdlnet.errors import DataError
from kdlnet.images.folder import files_below, images_below
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import plain


class ImageIndex:
    """The image files below a folder, or ``among`` them those of a dataset, wherever they lie.

    ``homely``: each annotation is of one image, so that those beside it tell in which folders that
    may lie. A name belongs to an image of a dataset if its folder is called alike, too; what it
    leads to may be a copy of the image, as where the dataset was itself written from another.
    """

    def __init__(
        self, root: Path, among: Iterable[Path] | None = None, *, homely: bool = False
    ) -> None:
        self.root = root
        self.files = list(images_below(root) if among is None else among)
        self._homely = homely and among is None
        self._least = 1 if among is None else 2  # last parts of a name that have to agree
        self._known = set(self.files)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            self._by_name[plain(file.name)].append(file)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            self._by_stem[plain(file.stem)].append(file)
        self._by_end: dict[int, dict[tuple[str, ...], dict[Path, list[Path]]]] = {}

    def find(self, named: Sequence[tuple[str, Path]]) -> list[Path | str]:
        """The file of each (name, its annotation), or the reason why there is none.

        A name that leads out of the root to an image is not followed: "elsewhere". One that leads
        to a file from the annotation or from the root is that file; so is one
        that does from the folder from which most names of the annotation's folder do. Any other
        is found by its last parts among the files that no name leads to, so that an image which
        is missing is never taken for one of the same name in another folder. A name without a
        suffix has that of the images that are so called, if it is one; else it is the image which
        alone of these is near, beside the annotation or where half of its folder's are or more.
        ``homely`` names that lead nowhere are looked for near their annotation first, and then stay
        in their :class:`Homes`, by what is found so far.
        """
        wanted = [(self._completed(name), annotation.parent) for name, annotation in named]
        found = [self._exact(name, near) for name, near in wanted]
        homes = Homes(self.files if self._homely else (), (file for _, file in named))
        if self._homely:
            for file, (_, near) in zip(found, wanted, strict=True):
                if isinstance(file, Path):
                    homes.serve(near, file)
            self._find_nearby(wanted, found, homes)
        bases = self._bases([pair for pair, file in zip(wanted, found, strict=True) if not file])
        for position, (name, near) in enumerate(wanted):
            if found[position] is None and near in bases:
                file = self._from(bases[near], name)
                found[position] = file if file and homes.may_hold(file, near) else None
        taken = {file for file in found if isinstance(file, Path)}
        for position, (name, near) in enumerate(wanted):
            if found[position] is None:
                found[position] = self._alike(name, near, taken, homes)
        self._settle_suffixes(wanted, found, taken)
        claims: dict[Path | str | None, set[str]] = defaultdict(set)
        for file, (name, _) in zip(found, wanted, strict=True):
            if isinstance(file, Path) and file not in taken:
                claims[file].add(name)
        return [
            "ambiguous" if isinstance(file, Path) and len(claims[file]) > 1 else file or "no image"
            for file in found
        ]

    def knows(self, name: str) -> bool:
        """Whether an image is so called, in any folder, with any suffix where ``name`` has none."""
        parts = parts_of(name)
        return bool(parts) and bool(self._by_name.get(parts[-1]) or self._suffixes(name))

    def shown(self, name: str) -> str:
        """``name`` for a report; one without a suffix with the images that it fits, if several."""
        files = sorted(str(file.relative_to(self.root)) for file in self._bare(name))
        if len(files) < 2:
            return name
        others = files[1] if len(files) == 2 else f"{len(files) - 1} more"
        return f"{name}, fits {files[0]} and {others}"

    def unused(self, used: Iterable[Path], reason: str) -> Iterator[LabelProblem]:
        """A problem for each image file that is not among ``used``."""
        taken = set(used)
        for file in self.files:
            if file not in taken:
                yield LabelProblem(file, 0, reason, file.name, "dropped")

    def _completed(self, name: str) -> str:
        suffixes = self._suffixes(name)
        return name + suffixes.pop() if len(suffixes) == 1 else name

    def _suffixes(self, name: str) -> set[str]:
        return {file.suffix for file in self._bare(name)}

    def _bare(self, name: str) -> list[Path]:
        """The images that a ``name`` without a suffix fits best; none for another."""
        parts = parts_of(name)
        if not parts or Path(parts[-1]).suffix in IMAGE_SUFFIXES:
            return []
        bare = {file: file.with_suffix("") for file in self._by_stem.get(parts[-1], ())}
        alike = most_alike(name, list(bare.values()))
        return [file for file in bare if bare[file] in alike]

    def _settle_suffixes(
        self, wanted: Sequence[tuple[str, Path]], found: list[Path | str | None], taken: set[Path]
    ) -> None:
        """Puts into ``found`` the image that a name without a suffix means: see :meth:`find`."""
        names = Counter(near for _, near in wanted)
        homes = {near: Counter({near: names[near]}) for near in names}
        for file, (_, near) in zip(found, wanted, strict=True):
            if isinstance(file, Path):
                homes[near][file.parent] += 1
        for position, (name, near) in enumerate(wanted):
            if found[position] == "ambiguous":
                nearer = [file for file in self._bare(name) if file.parent in homes[near]]
                most = len(nearer) == 1 and 2 * homes[near][nearer[0].parent] >= names[near]
                if most and nearer[0] not in taken:
                    found[position] = nearer[0]

    def _exact(self, name: str, near: Path) -> Path | str | None:
        """The file that ``name`` leads to, "elsewhere" for one outside of the folder."""
        outside = False
        bare = self._homely and len(parts_of(name)) == 1  # every lot may have an image of that name
        for written in (name, name.replace("\\", "/")):
            for folder in (near,) if bare else (near, self.root):
                file = Path(os.path.normpath(folder / written))
                if file in self._known:
                    return file
                if not file.is_relative_to(self.root) and _is_image(file):
                    outside = True
                    copied = self._least > 1 and copies(self._by_name[plain(file.name)], [file])
                    if copied:
                        return copied[0][0]
        return "elsewhere" if outside else None

    def _bases(self, names: Iterable[tuple[str, Path]]) -> dict[Path, Path]:
        """The folder from which most names of each annotation folder lead to a file."""
        counts: dict[Path, Counter[Path]] = defaultdict(Counter)
        for name, near in set(names):
            counts[near].update(self._ending(parts_of(name)).keys())
        bases = {}
        for near, found in counts.items():
            if base := _most(found):
                bases[near] = base
        return bases

    def _from(self, base: Path, name: str) -> Path | None:
        written = base / name.replace("\\", "/")
        if written in self._known:  # before one that differs in case
            return written
        return next(iter(self._ending(parts_of(name)).get(base, ())), None)

    def _find_nearby(
        self, wanted: Sequence[tuple[str, Path]], found: list[Path | str | None], homes: Homes
    ) -> None:
        """Puts into ``found`` what is in the one folder near annotations that no name leads to.

        That is the folder around theirs if it has half of the names or more, else the one near it
        that has the most. Pictures of the same names may lie there as well, as in ``thumbs``.
        """
        lacking: dict[Path, list[int]] = defaultdict(list)
        for position, (_, near) in enumerate(wanted):
            if found[position] is None and not homes.known(near):
                lacking[near].append(position)
        for near, positions in lacking.items():
            folders = homes.near(near)
            if near in folders:  # whose names lead to them
                continue
            folders |= {near.parent, self.root}
            called = [self._ending(parts_of(wanted[position][0])[-1:]) for position in positions]
            counts = Counter(folder for each in called for folder in folders & each.keys())
            around = 0 < len(called) <= 2 * counts[near.parent]
            home = near.parent if around else _most(counts)
            for position, each in zip(positions, called, strict=True):
                files = each.get(home, []) if home else []
                if len(files) == 1:
                    found[position] = files[0]
                    homes.serve(near, files[0])

    def _ending(self, parts: Sequence[str]) -> Mapping[Path, list[Path]]:
        """The files whose ways end in ``parts``, by the folder that these lead on from."""
        count = len(parts)
        if count and count not in self._by_end:
            ends = self._by_end[count] = defaultdict(lambda: defaultdict(list))
            folders: dict[Path, Path] = {}  # one object for each, which is compared at once
            for file in self.files:
                if len(file.parts) > count:
                    end, folder = tuple(map(plain, file.parts[-count:])), file.parents[count - 1]
                    ends[end][folders.setdefault(folder, folder)].append(file)
        return self._by_end[count].get(tuple(parts), {}) if count else {}

    def _alike(self, name: str, near: Path, taken: set[Path], homes: Homes) -> Path | str:
        parts = parts_of(name)
        if len(self._suffixes(name)) > 1:
            return "ambiguous"
        folders = homes.of(near)
        namesakes = self._by_name[parts[-1]] if parts else []
        if folders is not None:
            called = self._ending(parts[-1:])
            namesakes = [file for folder in folders for file in called.get(folder, ())]
        if len(parts) > 1:
            least = min(self._least, len(parts))
            alike = most_alike(name, namesakes)
            namesakes = [file for file in alike if _common_end(file, parts) >= least]
        best = [file for file in namesakes if file not in taken]
        return best[0] if len(best) == 1 else "ambiguous" if best else "no image"


def most_alike(name: str, files: Sequence[Path]) -> list[Path]:
    """Those of ``files`` that share the most last parts with ``name``, and at least the last."""
    parts = parts_of(name)
    common = [_common_end(file, parts) for file in files]
    most = max(common, default=0)
    return [file for count, file in zip(common, files, strict=True) if count == most > 0]


def _most(counts: Counter[Path]) -> Path | None:
    """The one that was counted most often, None where there are several."""
    most = max(counts.values(), default=0)
    first = [folder for folder, count in counts.items() if count == most > 0]
    return first[0] if len(first) == 1 else None


def annotation_files(source: Path, *suffixes: str) -> list[Path]:
    """``source`` itself if it is a file, else the files below it with these suffixes, sorted.

    Raises DataError when there is none, and for a folder that cannot be listed: images without
    their annotation would pass for good parts.
    """
    if source.is_file():
        return [source]
    below = files_below(source)
    files = [file for file in below if file.suffix.lower() in suffixes and file.is_file()]
    if not files:
        kind = " or ".join(suffixes)
        raise DataError(f"no {kind} file below {str(source)!r}: name the folder of the export")
    return sorted(files)


def _is_image(file: Path) -> bool:
    try:
        return file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _common_end(file: Path, parts: Sequence[str]) -> int:
    count = 0
    for ours, theirs in zip(reversed(file.parts), reversed(parts), strict=False):
        if plain(ours) != theirs:
            break
        count += 1
    return count
