"""LabelMe: one JSON file an image, with shapes in pixels from 0.

https://github.com/wkentaro/labelme: a rectangle is two opposite corners in any order, a circle
its centre and a point on it, a mask the first and last pixel of its box. The picture that may be
embedded in ``imageData`` is not used: it need not be the file's bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdlnet.curation.formats.boxes import Annotation, import_annotations
from kdlnet.curation.formats.homes import name_key
from kdlnet.curation.formats.imported import (
    ImportOptions,
    ImportResult,
    doubt_good_parts,
    sort_out,
)
from kdlnet.curation.formats.locate import ImageIndex, annotation_files, most_alike
from kdlnet.curation.formats.parse import read_json, whole_number
from kdlnet.curation.formats.shapes import (
    LINE,
    POINTS,
    Shape,
    Unusable,
    box_around,
    box_of_circle,
    box_of_points,
    outline_of,
)
from kdlnet.curation.formats.suggestions import (
    class_order,
    not_seen,
    unlisted,
    unseen_line,
    waiting,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.data.other_tools import SUGGESTED, is_checked, mark_of
from kdlnet.errors import DataError
from kdlnet.utils.text import plain
from kdlnet.utils.words import counted

_FLAT = {"line": LINE, "linestrip": LINE, "point": POINTS, "points": POINTS}
_LOST = ("no image", "only embedded")  # why a file that was read has no image
_Content = dict[str, Any]


@dataclass
class _Owners:
    """``file_of`` has the JSON file of each image that has one.

    ``claims`` are images that a file may speak of, with that file; ``renamed`` files that belong
    to the image of their own name though they name another one, with that.
    """

    file_of: dict[Path, Path] = field(default_factory=dict)
    claims: dict[Path, Path] = field(default_factory=dict)
    renamed: dict[Path, Path] = field(default_factory=dict)

    def unsure(self) -> Iterator[LabelProblem]:
        """A problem for each claimed image without a file: whether it is good is not known."""
        for image, file in self.claims.items():
            if image not in self.file_of:
                yield LabelProblem(image, 0, "unsure", f"named in {file.name}", "dropped")

    def lines(self, files: int) -> tuple[str, ...]:
        """A warning about the ``renamed`` among so many ``files``."""
        if not self.renamed:
            return ()
        file, other = next(iter(self.renamed.items()))
        return (
            f"{len(self.renamed)} of {counted(files, 'LabelMe file')} go with the image of their "
            f"own name beside them, though 'imagePath' names another, first {file.name!r} with "
            f"{other.name!r}: look at the boxes, and rename files that do not belong together",
        )


def import_labelme(source: Path, options: ImportOptions) -> ImportResult:
    """All images below ``source``; an image without a JSON file is a good part.

    Of a dataset's images, ``options.among``, only those that have a JSON file.

    Polygons, circles, masks, lines and rotated rectangles become their boxes, shapes of one label
    and group a single one; single points are dropped. A labels.txt in ``source`` gives the order of
    the classes and those that no image shows. A JSON file that cannot be read, or is
    another tool's, leaves the images of its name out. Of two images of one name and two suffixes
    that which its file does not name is left out. One that lies beside the image of its own
    name belongs to that, whatever its ``imagePath``; an image that is named alone is left out.

    Suggestions of a model, whose names begin with ``?``, are taken where their image is ticked, or
    all with ``options.unchecked``. Where there are ticks to make, an image that waits for its own
    is left out, and so is one without a file.

    Raises DataError when there is no LabelMe file or two speak of the same image.
    """
    index = ImageIndex(options.images or source, options.among, homely=True)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in index.files:
        by_stem[plain(image.stem)].append(image)
    contents, left_out = _read_all(source, by_stem)
    unread = [problem.file for problem in left_out]
    owners = _owners(index, by_stem, contents, left_out)
    unknown = _named_like(unread, by_stem) - set(owners.file_of)
    unsure = [problem for problem in owners.unsure() if problem.file not in unknown]
    unknown |= {problem.file for problem in unsure}
    every = index.files if options.among is None else ()
    given = [(image, file, contents[file]) for image, file in owners.file_of.items()]
    bare = [image for image in every if image not in unknown and image not in owners.file_of]
    late = [] if options.unchecked else [*waiting(given)]
    late += not_seen(bare, contents.values())
    unknown |= {problem.file for problem in late}
    images = [image for image in every if image not in unknown]
    images += sorted(set(owners.file_of) - unknown - set(images))
    annotations = [
        _annotation(image, owners.file_of.get(image), contents, options.unchecked)
        for image in images
    ]
    result = sort_out(import_annotations(annotations))
    lost = [
        problem.file
        for problem in left_out
        if (problem.reason == "unreadable" and not _named_like([problem.file], by_stem))
        or (problem.reason in _LOST and contents[problem.file]["shapes"])
    ]
    result = doubt_good_parts(result, lost, owners.file_of)
    left_out += [*unsure, *result.left_out, *late]
    found = {name for image in result.images for name in image.names}
    names = class_order(source, found, contents.values())
    unseen = [content for _, _, content in given] if options.unchecked else []
    warnings = [*owners.lines(len(contents)), *unseen_line(unseen)]
    if options.among is None and not names:
        warnings += unlisted(source, contents.values())
    return replace(result, left_out=left_out, names=names, warnings=tuple(warnings))


def _read_all(
    source: Path, by_stem: Mapping[str, list[Path]]
) -> tuple[dict[Path, _Content], list[LabelProblem]]:
    """What each file below ``source`` holds, and those that cannot be read; DataError for none."""
    contents: dict[Path, _Content] = {}
    left_out: list[LabelProblem] = []
    for file in annotation_files(source, ".json"):
        try:
            contents[file] = _read(file)
        except (OSError, ValueError) as error:
            left_out.append(LabelProblem(file, 0, "unreadable", str(error)[:60], "dropped"))
        except Unusable as fault:
            if _named_like([file], by_stem):
                left_out.append(LabelProblem(file, 0, str(fault), file.name, "dropped"))
    if not contents:
        more = (
            f"; {counted(len(left_out), 'file')} left out, first {left_out[0]}" if left_out else ""
        )
        raise DataError(
            f"no LabelMe file below {str(source)!r}: a JSON with 'shapes' is needed{more}"
        )
    return contents, left_out


def _read(file: Path) -> _Content:
    """Raises ValueError for what is not JSON, Unusable for another tool's."""
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise Unusable("another form")
    content["imageData"] = bool(content.get("imageData"))  # megabytes a file
    return content


def _named_like(files: Sequence[Path], by_stem: Mapping[str, list[Path]]) -> set[Path]:
    """The images that a file may have spoken of, had it been read: of its name and beside it.

    Where none is beside it, of its name in any folder.
    """
    found: set[Path] = set()
    for file in files:
        alike = by_stem.get(plain(file.stem), [])
        found.update([image for image in alike if image.parent == file.parent] or alike)
    return found


def _owners(
    index: ImageIndex,
    by_stem: Mapping[str, list[Path]],
    contents: dict[Path, _Content],
    left_out: list[LabelProblem],
) -> _Owners:
    """Which JSON file belongs to which image; those that belong to none go to ``left_out``."""
    alike: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for known in index.files:
        alike[name_key(known)].append(known)
    names = [(str(found.get("imagePath") or ""), file) for file, found in contents.items()]
    owners = _Owners()
    for (name, _), file, place in zip(names, contents, index.find(names), strict=True):
        image, rivals = _image_of(file, place, alike)
        if image == "ambiguous" and not rivals:
            last = name.replace("\\", "/").rpartition("/")[2]
            rivals = most_alike(name, by_stem.get(plain(Path(last).stem), ()))
        owners.claims |= dict.fromkeys(rivals, file)
        if isinstance(image, str):
            embedded = contents[file].get("imageData")
            reason = "only embedded" if embedded and image == "no image" else image
            left_out.append(LabelProblem(file, 0, reason, file.name, "dropped"))
            continue
        if image in owners.file_of:
            raise DataError(
                f"image {str(image)!r} is annotated in {str(owners.file_of[image])!r} and "
                f"{str(file)!r}: keep one"
            )
        owners.file_of[image] = file
        same = [*alike.get(name_key(image), ()), *alike.get(name_key(file), ())]
        owners.claims |= dict.fromkeys((each for each in same if each != image), file)
        if rivals:
            owners.renamed[file] = rivals[0]
    return owners


def _image_of(
    file: Path, place: Path | str, alike: Mapping[tuple[Path, str], list[Path]]
) -> tuple[Path | str, list[Path]]:
    """The image of a JSON file or why there is none, and others that it may speak of.

    ``place`` is where its ``imagePath`` leads. Where images were renumbered together with their
    files that is still the old name, so that of the file's own name beside it comes first, unless
    both names are one: beside a file in a folder of its own may lie its mask.
    """
    beside = alike.get(name_key(file), [])
    if isinstance(place, str):
        if len(beside) > 1:
            return "ambiguous", beside
        return beside[0] if beside else place, []
    rivals = beside or alike.get((place.parent, plain(file.stem)), [])
    if not rivals or place in rivals or plain(place.stem) == plain(file.stem):
        return place, []
    return (beside[0], [place]) if len(beside) == 1 else ("ambiguous", [*rivals, place])


def _annotation(
    image: Path, file: Path | None, contents: dict[Path, _Content], unchecked: bool
) -> Annotation:
    if file is None:
        return Annotation(image, None)
    content = contents[file]
    mark = mark_of(content) if unchecked or is_checked(content) else ""
    shapes, problems = [], []
    for line, shape in enumerate(content["shapes"], start=1):
        try:
            shapes.append(_shape(line, shape, mark))
        except (Unusable, ValueError, TypeError, AttributeError, OverflowError) as fault:
            reason = str(fault) if isinstance(fault, Unusable) else "incomplete"
            problems.append(LabelProblem(file, line, reason, _short(shape), "dropped"))
    written = whole_number(content.get("imageHeight")), whole_number(content.get("imageWidth"))
    return Annotation(image, file, shapes, written, problems=problems)


def _shape(line: int, shape: dict[str, Any], mark: str) -> Shape:
    """A suggestion whose name begins with ``mark``, if any, is a shape like any other.

    Raises Unusable with the reason why a shape is no box, other errors for what is no shape.
    """
    kind = shape.get("shape_type") or "polygon"  # the first versions drew nothing else
    name = str(shape.get("label") or "").strip()
    name = name.removeprefix(mark).strip()
    points = [(float(x), float(y)) for x, y in shape["points"]] if "points" in shape else []
    if not name or not points:
        raise Unusable("incomplete")
    if name.startswith(SUGGESTED):
        raise Unusable("suggestion not decided")
    group = "" if shape.get("group_id") is None else str(shape["group_id"])
    if kind in _FLAT:
        return Shape(line, name, box_of_points(points), _FLAT[kind], group)
    if kind == "circle":
        return Shape(line, name, box_of_circle(points), "circle", group)
    if kind == "mask":
        x1, y1, x2, y2 = box_around(points)
        return Shape(line, name, (x1, y1, x2 + 1, y2 + 1), "mask", group)
    drawn = {"rectangle": "box", "rotation": "rotated box"}.get(kind, "polygon")
    outline = outline_of(points) if drawn == "polygon" else None
    return Shape(line, name, box_around(points), drawn, group, outline)


def _short(shape: Any) -> str:
    if not isinstance(shape, dict):
        return str(shape)[:40]
    points: Sequence[Any] = shape.get("points") or ()
    return f"{shape.get('label')} {shape.get('shape_type')} {points}"[:60]
