"""Columns of tables of labels, known by their names.

Boxes are corners, or the left top corner and the size; or masks are run lengths, as in the
segmentation competitions of Kaggle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdlnet.errors import DataError, unknown
from kdlnet.images.read import IMAGE_SUFFIXES

# Names of columns, as _plain has them.
_IMAGE = frozenset(
    {"image", "imagename", "imagefile", "imagepath", "filename", "file", "filepath", "path", "img"}
)
_IMAGE_ID = frozenset({"imageid"})
_ID = frozenset({"id"})  # of a mask's image; of a box it may be its own
_CLASS = frozenset({"class", "classname", "label", "labelname", "name", "category", "categoryname"})
_CLASS_ID = frozenset({"classid"})
_BOTH = frozenset(a + b for a in _IMAGE | _IMAGE_ID for b in _CLASS | _CLASS_ID) - _IMAGE
_SIZED = ("x", "y", "w", "h")
_RUNS = (("encodedpixels",), ("rlemask",))
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), _SIZED)
_FORMS = (*_CORNERS, *_RUNS)
_SIDES = frozenset(side for form in _FORMS for side in form)
_SIZE_NAMES = ("image_height", "image_width")
# Where a table has both, height and width are those of the box.
_IMAGE_SIZES = (("imageheight", "imagewidth"), ("height", "width"))
_SCORE = frozenset({"score", "confidence"})
_SPLIT = frozenset({"split", "subset", "partition"})
_ALIKE = (_IMAGE | _IMAGE_ID | _ID, _CLASS | _CLASS_ID, _SPLIT, frozenset(n for (n,) in _RUNS))
_JOINED = "imageclass"  # the one of _BOTH that two --column with one head say
WANTED = (
    "the first row has to name image (or filename, path), class (or label, name, category) and "
    "xmin, ymin, xmax, ymax (or x1, y1, x2, y2; or x, y, w, h: left top corner and size; or "
    "EncodedPixels: run lengths); or say them by other names with --column class=HEAD"
)

NO_TEXT = re.compile(r"[\0-\x08\x0e-\x1f]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_SUFFIX = "|".join(map(re.escape, sorted(IMAGE_SUFFIXES)))
_IMAGE_AND_CLASS = re.compile(rf"(.+(?:{_SUFFIX}))_(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Positions in a row of ``count`` cells.

    ``name`` is the class, the same column as ``image`` where one has both, None where no column
    has it. ``form`` is what is in the columns ``box``. ``size`` is (height, width) of the image, ()
    where the table does not say; ``split`` is None where there is no such column.
    """

    count: int
    image: int
    name: int | None
    form: Sequence[str]
    box: Sequence[int]
    size: Sequence[int]
    split: int | None

    @property
    def sized(self) -> bool:
        """Whether the last two of ``box`` are its width and height."""
        return self.form == _SIZED

    @property
    def runs(self) -> bool:
        """Whether ``box`` is one column of run lengths, pixels from 1 down the columns first."""
        return self.form in _RUNS

    def padded(self, cells: Sequence[str]) -> list[str]:
        """A row with empty cells for those that are missing at its end."""
        return [*cells, *[""] * (self.count - len(cells))]

    @property
    def telling(self) -> int:
        """The first column that is empty for a good part and for no other.

        Run lengths have their class where there are none, too.
        """
        return min(self.box if self.runs or self.name is None else (*self.box, self.name))

    def ends_with_image(self, cells: Sequence[str]) -> bool:
        """Whether a row has its image last, and no class before or in it."""
        return len(cells) <= self.image + 1 and (self.name is None or len(cells) <= self.name)

    def image_of(self, cells: Sequence[str]) -> str:
        """The image in a row of ``count`` cells, "" for none."""
        cell = cells[self.image]
        return _divided(cell)[0] if self.image == self.name else cell

    def box_of(self, cells: Sequence[str]) -> list[str]:
        """The box or run lengths in a row of ``count`` cells, all "" for none: -1 are no runs."""
        found = [cells[position] for position in self.box]
        return [""] if self.runs and found == ["-1"] else found

    def class_of(self, cells: Sequence[str]) -> str:
        """The class in a row of ``count`` cells, "" for none."""
        if self.name is None:
            return ""
        cell = cells[self.name]
        return _divided(cell)[1] if self.image == self.name else cell


def check_called(called: Mapping[str, str]) -> None:
    """Raises DataError for what no column is, see :func:`columns_of`, and for what cannot be."""
    names = ["image", "class", "split", *sum(_CORNERS, ()), "EncodedPixels", *_SIZE_NAMES]
    heads: dict[str, str] = {}
    for name, head in called.items():
        plain = _plain(name)
        if plain not in map(_plain, names):
            raise DataError(f"--column {name}={head}: {unknown('column', name, names)}")
        if plain in heads:
            first = f"{name} is {heads[plain]!r} already"
            raise DataError(f"--column {name}={head}: {first}, leave one out")
        twice = [other for other in heads if heads[other] == head]
        if twice and {plain, *twice} != {"image", "class"}:
            first = f"{head!r} is the column of {twice[0]} already"
            raise DataError(f"--column {name}={head}: {first}, leave one out")
        heads[plain] = head
    lacking = [name for name in _SIZE_NAMES if _plain(name) not in heads]
    if len(lacking) == 1:
        raise DataError(f"--column says one side of the images: add --column {lacking[0]}=HEAD")


def called_so(head: str, heads: Sequence[str]) -> list[int]:
    """Where ``head`` is among ``heads``, in another case if need be."""
    exact = [position for position, each in enumerate(heads) if each == head]
    folded = head.casefold()
    return exact or [p for p, each in enumerate(heads) if each.casefold() == folded]


def _known(heads: Sequence[str], said: Mapping[str, Sequence[int]]) -> list[str]:
    """Names of the columns as they are compared; what is ``said`` to lie elsewhere is there alone.

    So are boxes of which all sides are said, and an image with its class where both are in one.
    """
    known = list(map(_plain, heads))
    for name, given in said.items():
        alike = next((group for group in _ALIKE if name in group), {name})
        known = ["" if each in alike else each for each in known]
        for position in given:
            known[position] = name
    if any(said.keys() >= set(form) for form in _FORMS):
        known = ["" if each in _SIDES - said.keys() else each for each in known]
    if _is_joined(said):
        known = ["" if each in _BOTH else each for each in known]
        for position in said["image"]:
            known[position] = _JOINED
    return known


def _is_joined(said: Mapping[str, Sequence[int]]) -> bool:
    return "image" in said and said["image"] == said.get("class")


def columns_of(heads: Sequence[str], called: Mapping[str, str] | None = None) -> Columns:
    """The columns of a table; ``called`` are heads by what they are, ``{"class": "cell_type"}``.

    Raises ValueError, in words that follow the file's name, where one is missing or unclear.
    """
    places = {_plain(name): called_so(head, heads) for name, head in (called or {}).items()}
    said = {name: given for name, given in places.items() if given}
    known = _known(heads, said)
    only = partial(_only, heads, known)
    for score in (head for head, each in zip(heads, known, strict=True) if each in _SCORE):
        raise ValueError(
            f"has the column {score!r}, and what a model finds is no label: delete the column if "
            "a person looked at each box"
        )
    forms = [form for form in _FORMS if set(form) <= set(known)]
    image, name = _image_and_class(heads, known, said, forms)
    if not forms:
        raise ValueError(f"has no columns of boxes: {_told(heads)}")
    if len(forms) > 1:
        both = " and ".join(" ".join(form) for form in forms)
        flags = [
            " ".join(f"--column {side}={heads[known.index(side)]}" for side in form)
            for form in forms
        ]
        which = "; or ".join(flags)
        raise ValueError(f"has boxes as {both}: delete the columns of one, or say which: {which}")
    box = [only(side, {side}) for side in forms[0]]
    sides = next((pair for pair in _IMAGE_SIZES if set(pair) <= set(known)), ())
    size = [only(side, {side}) for side in sides]
    split = None if _SPLIT.isdisjoint(known) else only("splits", _SPLIT)
    return Columns(len(heads), image, name, forms[0], box, size, split)


def _image_and_class(
    heads: Sequence[str],
    known: Sequence[str],
    said: Mapping[str, Sequence[int]],
    forms: Sequence[Sequence[str]],
) -> tuple[int, int | None]:
    """Where the image and the class are, one place for both, None for no class."""
    runs = not set(forms).isdisjoint(_RUNS)
    if runs and _IMAGE.isdisjoint(known) and not _BOTH.isdisjoint(known):
        both = _only(heads, known, "images", _BOTH)
        if not _is_joined(said) and "class" in said:
            raise ValueError(
                f"has image and class in one column, {heads[both]!r}: leave --column "
                f"class={heads[said['class'][0]]} out, or give the image a column of its own"
            )
        return both, both
    if forms and _is_joined(said):
        raise ValueError(
            f"has boxes, and image and class in one column, {heads[said['image'][0]]!r}, are read "
            "beside run lengths alone: give each a column of its own"
        )
    named = (_IMAGE, _IMAGE_ID, *((_ID,) if runs else ()))
    of_image = next((names for names in named if not names.isdisjoint(known)), _IMAGE)
    image, name = _only(heads, known, "images", of_image), None
    if not forms or not (_CLASS | _CLASS_ID).isdisjoint(known):
        of_class = _CLASS_ID if _CLASS.isdisjoint(known) else _CLASS
        name = _only(heads, known, "classes", of_class)
    return image, name


def _only(heads: Sequence[str], known: Sequence[str], what: str, names: Set[str]) -> int:
    """Where the one column is that is ``known`` by one of ``names``."""
    found = [position for position, each in enumerate(known) if each in names]
    if not found:
        raise ValueError(f"has no column of {what}: {_told(heads)}")
    first = heads[found[0]]
    if len(found) > 1 and {heads[position] for position in found} == {first}:
        raise ValueError(f"has {len(found)} columns {first!r}: rename or delete one")
    if len(found) > 1:
        raise ValueError(
            f"has several columns of {what}, {first!r} and {heads[found[1]]!r}: rename or delete "
            "one, or say which with --column"
        )
    return found[0]


def _plain(head: str) -> str:
    """The name of a column as it is compared: letters and digits alone, in lower case."""
    return re.sub(r"[\W_]", "", head.casefold())


def names_ids(head: str) -> bool:
    """Whether a column of images so called may hold ids of something else."""
    return _plain(head) in _IMAGE_ID | _ID


def _told(heads: Sequence[str]) -> str:
    if not heads:
        return f"it is empty; {WANTED}"
    if any(map(NO_TEXT.search, heads)):
        return f"it is no text; {WANTED}"
    names = not (_IMAGE | _IMAGE_ID | _CLASS).isdisjoint(map(_plain, heads))
    lacks = "it has no header row; " if not names and _are_values(heads) else ""
    return f"its columns are {short(heads)!r}; {lacks}{WANTED}"


def _are_values(cells: Sequence[str]) -> bool:
    """Whether they name no columns: a file of an image, or a number first. Years may be names."""
    files = any(Path(cell).suffix.lower() in IMAGE_SUFFIXES for cell in cells)
    return files or bool(_NUMBER.fullmatch(cells[0]))


def _divided(cell: str) -> tuple[str, str]:
    """Image and class that are written as one, ``0002cc93b.jpg_1``."""
    found = _IMAGE_AND_CLASS.fullmatch(cell)
    return (found[1], found[2]) if found else ("", "")


def short(cells: Sequence[str]) -> str:
    """The ``cells`` of a row as a report shows them."""
    text = ", ".join(cells)
    return text if len(text) <= 120 else text[:117] + "..."
