"""Columns of tables of labels, known by their names.

Boxes are corners, or the left top corner and the size; or masks are run lengths, as in the
segmentation competitions of Kaggle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
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
_FORMS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), _SIZED, *_RUNS)
# Where a table has both, height and width are those of the box.
_IMAGE_SIZES = (("imageheight", "imagewidth"), ("height", "width"))
_SCORE = frozenset({"score", "confidence"})
_SPLIT = frozenset({"split", "subset", "partition"})
_ALIKE = (_IMAGE | _IMAGE_ID | _ID, _CLASS | _CLASS_ID, _SPLIT, frozenset(n for (n,) in _RUNS))
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
    """Raises DataError for what no column is, see :func:`columns_of`."""
    sides = [name for form in _FORMS[:3] for name in form]
    names = ["image", "class", "split", *sides, "EncodedPixels", "image_height", "image_width"]
    for name, head in called.items():
        if _plain(name) not in map(_plain, names):
            raise DataError(f"--column {name}={head}: {unknown('column', name, names)}")


def called_so(head: str, heads: Sequence[str]) -> list[int]:
    """Where ``head`` is among ``heads``, in another case if need be."""
    exact = [position for position, each in enumerate(heads) if each == head]
    folded = head.casefold()
    return exact or [p for p, each in enumerate(heads) if each.casefold() == folded]


def _known(heads: Sequence[str], called: Mapping[str, str]) -> list[str]:
    """Names of the columns as they are compared; what is ``called`` otherwise is that alone."""
    known = list(map(_plain, heads))
    for name, head in called.items():
        given, plain = called_so(head, heads), _plain(name)
        alike = next((group for group in _ALIKE if plain in group), {plain})
        if given:
            known = ["" if each in alike else each for each in known]
        for position in given:
            known[position] = plain
    return known


def columns_of(heads: Sequence[str], called: Mapping[str, str] | None = None) -> Columns:
    """The columns of a table; ``called`` are heads by what they are, ``{"class": "cell_type"}``.

    Raises ValueError, in words that follow the file's name, where one is missing or unclear.
    """
    known = _known(heads, called or {})
    told = _told(heads)

    def only(what: str, names: Set[str]) -> int:
        found = [position for position, head in enumerate(known) if head in names]
        if not found:
            raise ValueError(f"has no column of {what}: {told}")
        if len(found) > 1:
            both = " and ".join(repr(heads[position]) for position in found[:2])
            raise ValueError(
                f"has several columns of {what}, {both}: rename or delete one, or say which with "
                "--column"
            )
        return found[0]

    for score in (head for head, each in zip(heads, known, strict=True) if each in _SCORE):
        raise ValueError(
            f"has the column {score!r}, and what a model finds is no label: delete the column if "
            "a person looked at each box"
        )
    forms = [form for form in _FORMS if set(form) <= set(known)]
    runs = not set(forms).isdisjoint(_RUNS)
    name: int | None = None
    if runs and _IMAGE.isdisjoint(known) and not _BOTH.isdisjoint(known):
        image = name = only("images", _BOTH)
    else:
        named = (_IMAGE, _IMAGE_ID, *((_ID,) if runs else ()))
        image = only("images", next((n for n in named if not n.isdisjoint(known)), _IMAGE))
        if not forms or not (_CLASS | _CLASS_ID).isdisjoint(known):
            name = only("classes", _CLASS_ID if _CLASS.isdisjoint(known) else _CLASS)
    if not forms:
        raise ValueError(f"has no columns of boxes: {told}")
    if len(forms) > 1:
        both = " and ".join(" ".join(form) for form in forms)
        raise ValueError(f"has boxes as {both}: delete the columns of one")
    box = [only(side, {side}) for side in forms[0]]
    sides = next((pair for pair in _IMAGE_SIZES if set(pair) <= set(known)), ())
    size = [only(side, {side}) for side in sides]
    split = None if _SPLIT.isdisjoint(known) else only("splits", _SPLIT)
    return Columns(len(heads), image, name, forms[0], box, size, split)


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
