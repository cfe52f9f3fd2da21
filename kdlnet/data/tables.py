"""Tables of labels below a row that names the columns, as CSV: their columns and rows.

Boxes are corners, or the left top corner and the size; or masks are run lengths, as in the
segmentation competitions of Kaggle.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import decode

TABLE_SUFFIXES = (".csv", ".tsv")

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
_WANTED = (
    "the first row has to name image (or filename, path), class (or label, name, category) and "
    "xmin, ymin, xmax, ymax (or x1, y1, x2, y2; or x, y, w, h: left top corner and size; or "
    "EncodedPixels: run lengths)"
)

_FOR_EXCEL = re.compile(r"sep=([,;\t])\s*", re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")  # .xlsx and .ods, .xls, .gz
_NO_TEXT = re.compile(r"[\0-\x08\x0e-\x1f]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_SUFFIX = "|".join(map(re.escape, sorted(IMAGE_SUFFIXES)))
_IMAGE_AND_CLASS = re.compile(rf"(.+(?:{_SUFFIX}))_(.+)", re.IGNORECASE)

Rows = Sequence[tuple[int, list[str]]]
"""Each with its line in the file, counted from 1."""


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

    def cut_off(self, cells: Sequence[str]) -> bool:
        """Whether a row ends with its image, and says nothing of it."""
        return len(cells) == self.image + 1 <= (self.box[0] if self.name is None else self.name)

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


@dataclass(frozen=True)
class Table:
    """A table of labels; ``heads`` are its first row, as it is written.

    ``fault`` and ``ids`` are words that follow the file's name: why letters may be others, "" for
    UTF-8; and why its images may be none, "" where they are more than ids without a suffix.
    """

    file: Path
    heads: Sequence[str]
    columns: Columns
    rows: Rows
    fault: str
    ids: str

    def images(self) -> set[str]:
        """The images that are named."""
        rows = [self.columns.padded(cells) for _, cells in self.rows]
        return {self.columns.image_of(cells) for cells in rows} - {""}

    def drawn(self) -> set[str]:
        """The images that are named, none where nothing is drawn in any of them."""
        rows = [self.columns.padded(cells) for _, cells in self.rows]
        if not any(any(self.columns.box_of(cells)) for cells in rows):
            return set()
        return self.images()


def is_example(file: Path) -> bool:
    """Whether it is one that Kaggle gives of answers (``..._v2`` too): masks that nobody drew."""
    return file.stem.casefold().startswith("sample_submission")


def read_table(file: Path) -> Table:
    """The table of labels in ``file``; where it has boxes, a column of classes may lack.

    Raises DataError for one that cannot be read, and ValueError, in words that follow the file's
    name, where its columns are not those of labels.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read table {str(file)!r}: {error.strerror}") from None
    if data.startswith(_WORKBOOKS):
        raise DataError(f"table {str(file)!r} is a workbook or an archive: save it as CSV UTF-8")
    try:
        text, fault = decode(data), ""
    except ValueError as error:
        # The columns of labels are ASCII: known without the mark and the zeros of UTF-16.
        text, fault = data.lstrip(b"\xff\xfe").decode("latin-1").replace("\0", ""), str(error)
    found = _rows(file, text)
    heads = next(found, (0, []))[1]
    columns = _columns(heads)  # before the rest is read: a log of something else may be large
    rows = list(found)
    return Table(file, heads, columns, rows, fault, _ids(heads, columns, rows))


def _rows(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, a row over several lines with its last one."""
    delimiter = _delimiter(text)
    # A cell may hold as much as the file does, such as the run lengths of a large mask.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    # Strict, or a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(_lines(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    first = True
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not (first and _FOR_EXCEL.fullmatch(delimiter.join(cells))):
                yield reader.line_num, cells
            first = False
    except csv.Error as error:
        if first and _NO_TEXT.search(next(_lines(text), "")):
            raise ValueError(f"is no text; {_WANTED}") from None
        where = f"{str(file)!r}, line {reader.line_num}"
        raise DataError(f"table {where}: no CSV: {error}") from None


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, of any system, one after the other."""
    return (found[0] for found in _LINE.finditer(text))


def _delimiter(text: str) -> str:
    """What a line ``sep=;`` says, which Excel obeys and does not show, else what is there most."""
    head = next(filter(str.strip, _lines(text)), "")
    told = _FOR_EXCEL.fullmatch(head)
    return told[1] if told else max(",;\t", key=head.count)


def _columns(heads: Sequence[str]) -> Columns:
    """Raises ValueError, in words that follow the file's name, where one is missing or unclear."""
    known = list(map(_plain, heads))
    told = _told(heads)

    def only(what: str, names: Set[str]) -> int:
        found = [position for position, head in enumerate(known) if head in names]
        if not found:
            raise ValueError(f"has no column of {what}: {told}")
        if len(found) > 1:
            both = " and ".join(repr(heads[position]) for position in found[:2])
            raise ValueError(f"has several columns of {what}, {both}: rename or delete one")
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


def _told(heads: Sequence[str]) -> str:
    if not heads:
        return f"it is empty; {_WANTED}"
    if any(map(_NO_TEXT.search, heads)):
        return f"it is no text; {_WANTED}"
    names = not (_IMAGE | _IMAGE_ID | _CLASS).isdisjoint(map(_plain, heads))
    lacks = "" if names or not any(map(_is_value, heads)) else "it has no header row; "
    return f"its columns are {short(heads)!r}; {lacks}{_WANTED}"


def _is_value(head: str) -> bool:
    """Whether it stands in a row, and names no column: a file of an image, or a number."""
    return bool(_NUMBER.fullmatch(head)) or Path(head).suffix.lower() in IMAGE_SUFFIXES


def _ids(heads: Sequence[str], columns: Columns, rows: Rows) -> str:
    """Words as of :func:`_columns` for ids none of which is the name of a file, else ""."""
    at = columns.image
    ids = (cells[at] for _, cells in rows if at < len(cells))
    files = any(Path(each).suffix.lower() in IMAGE_SUFFIXES for each in ids)
    known = files or _plain(heads[at]) not in _IMAGE_ID | _ID
    return "" if known else f"has no column of images: {_told(heads)}"


def _divided(cell: str) -> tuple[str, str]:
    """Image and class that are written as one, ``0002cc93b.jpg_1``."""
    found = _IMAGE_AND_CLASS.fullmatch(cell)
    return (found[1], found[2]) if found else ("", "")


def short(cells: Sequence[str]) -> str:
    """The ``cells`` of a row as a report shows them."""
    text = ", ".join(cells)
    return text if len(text) <= 120 else text[:117] + "..."
