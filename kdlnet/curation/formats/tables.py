"""Tables with one box a row below a row that names the columns, as CSV.

The form of many published sets and of exports for TensorFlow. Boxes are pixels from 0: two
corners, or the left top corner and the size.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from kdlnet.curation.formats.imported import ImportOptions, ImportResult
from kdlnet.curation.formats.listed import ListedImage, doubt_bare, import_listed
from kdlnet.curation.formats.locate import annotation_files
from kdlnet.curation.formats.parse import whole_number
from kdlnet.curation.formats.runs import numbers_of
from kdlnet.curation.formats.shapes import Shape, Unusable
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import decode

# Names of columns, as _plain has them.
_IMAGE = frozenset(
    {"image", "imagename", "imagefile", "imagepath", "filename", "file", "filepath", "path"}
)
_IMAGE_ID = frozenset({"imageid"})
_CLASS = frozenset({"class", "classname", "label", "labelname", "name", "category", "categoryname"})
_SIZED = ("x", "y", "w", "h")
_BOXES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), _SIZED)
# Where a table has both, height and width are those of the box.
_IMAGE_SIZES = (("imageheight", "imagewidth"), ("height", "width"))
_SCORE = frozenset({"score", "confidence"})
_SPLIT = frozenset({"split", "subset", "partition"})
_WANTED = (
    "the first row has to name image (or filename, path), class (or label, name, category) and "
    "xmin, ymin, xmax, ymax (or x1, y1, x2, y2; or x, y, w, h: left top corner and size)"
)

_FOR_EXCEL = re.compile(r"sep=([,;\t])\s*", re.IGNORECASE)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls

_Rows = Sequence[tuple[int, list[str]]]
"""Each with its line in the file, counted from 1."""


@dataclass(frozen=True)
class _Columns:
    """Positions in a row of ``count`` cells.

    ``sized``: the last two of ``box`` are its width and height. ``size`` is (height, width) of
    the image, () where the table does not say.
    """

    count: int
    image: int
    name: int
    box: Sequence[int]
    sized: bool
    size: Sequence[int]


@dataclass(frozen=True)
class _Table:
    file: Path
    columns: _Columns
    rows: _Rows


def import_csv(source: Path, options: ImportOptions) -> ImportResult:
    """The images that the tables in ``source``, a folder or one file, list, with their boxes.

    Columns are known by their names and parted by commas, semicolons or tabs. The boxes of a file
    called ``train_labels.csv``, or in a folder ``train``, are of that split. An image whose row
    has neither class nor box is a good part; image files that no row names are left out.

    Raises DataError when there is no table, one is broken, none has the columns, or two list the
    same image.
    """
    tables, warnings = _read_tables(source)
    lost: list[LabelProblem] = []
    images = [image for table in tables for image in _images(table, lost)]
    result = import_listed(source, options, images)
    return replace(result, lost=tuple(lost), warnings=warnings)


def _read_tables(source: Path) -> tuple[list[_Table], tuple[str, ...]]:
    """The tables of boxes, and a line for what is passed over: other ones, columns of splits."""
    tables: list[_Table] = []
    faults, splits = [], []
    for file in annotation_files(source, ".csv", ".tsv"):
        rows = _rows(file)
        try:
            tables.append(_Table(file, _columns(rows), rows[1:]))
        except ValueError as error:
            faults.append(f"table {str(file)!r} {error}")
        else:
            splits += [(file, head) for head in rows[0][1] if _plain(head) in _SPLIT]
    if not tables:
        raise DataError(faults[0])
    return tables, (
        *(f"passed over: {fault}" for fault in faults),
        *(
            f"passed over: the column {head!r} of table {str(file)!r}: give lists of images as "
            "--split train=LIST --split val=LIST"
            for file, head in splits
        ),
    )


def _rows(file: Path) -> _Rows:
    """The rows that are not blank, a row over several lines with its last one."""
    try:
        text = _text(file.read_bytes())
        stream, delimiter = io.StringIO(text, newline=""), _delimiter(text)
        # Strict, or a quote that is never closed would swallow the rest of the file.
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except OSError as error:
        raise DataError(f"cannot read table {str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"table {str(file)!r} {error}") from None
    except csv.Error as error:
        where = f"{str(file)!r}, line {reader.line_num}"
        raise DataError(f"table {where}: no CSV: {error}") from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    return rows[1:] if rows and _FOR_EXCEL.fullmatch(delimiter.join(rows[0][1])) else rows


def _text(data: bytes) -> str:
    """Raises ValueError in words that follow the file's name."""
    if data.startswith(_WORKBOOKS):
        raise ValueError("is a workbook or an archive: save it as CSV UTF-8")
    return decode(data)


def _delimiter(text: str) -> str:
    """What a line ``sep=;`` says, which Excel obeys and does not show, else what is there most."""
    head = next(filter(str.strip, text.splitlines()), "")
    told = _FOR_EXCEL.fullmatch(head)
    return told[1] if told else max(",;\t", key=head.count)


def _columns(rows: _Rows) -> _Columns:
    """Raises ValueError, in words that follow the file's name, where one is missing or unclear."""
    heads = rows[0][1] if rows else []
    known = list(map(_plain, heads))
    told = f"its columns are {_short(heads)!r}; {_WANTED}" if heads else f"it is empty; {_WANTED}"

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
    named = _IMAGE_ID if _IMAGE.isdisjoint(known) and _ids_are_files(rows, known) else _IMAGE
    image, name = only("images", named), only("classes", _CLASS)
    forms = [form for form in _BOXES if set(form) <= set(known)]
    if not forms:
        raise ValueError(f"has no columns of boxes: {told}")
    if len(forms) > 1:
        both = " and ".join(" ".join(form) for form in forms)
        raise ValueError(f"has boxes as {both}: delete the columns of one")
    box = [only(side, {side}) for side in forms[0]]
    sides = next((pair for pair in _IMAGE_SIZES if set(pair) <= set(known)), ())
    size = [only(side, {side}) for side in sides]
    return _Columns(len(heads), image, name, box, forms[0] == _SIZED, size)


def _plain(head: str) -> str:
    """The name of a column as it is compared: letters and digits alone, in lower case."""
    return re.sub(r"[\W_]", "", head.casefold())


def _ids_are_files(rows: _Rows, known: Sequence[str]) -> bool:
    at = [position for position, head in enumerate(known) if head in _IMAGE_ID]
    ids = (cells[position] for _, cells in rows for position in at if position < len(cells))
    return any(Path(each).suffix.lower() in IMAGE_SUFFIXES for each in ids)


def _images(table: _Table, lost: list[LabelProblem]) -> list[ListedImage]:
    """The images of one table with their shapes; rows that name none go to ``lost``."""
    file, columns = table.file, table.columns
    images: dict[str, ListedImage] = {}
    known = len(lost)
    for line, cells in table.rows:
        name = cells[columns.image] if columns.image < len(cells) else ""
        if not name:
            lost.append(LabelProblem(file, line, "no image named", _short(cells), "dropped"))
            continue
        image = images.setdefault(name, ListedImage(name, (0, 0), file))
        try:
            if len(cells) < columns.count or any(cells[columns.count :]):
                raise Unusable("incomplete")
            image.written = _size(cells, columns, image.written)
            image.shapes += _shapes(line, cells, columns)
        except Unusable as fault:
            problem = LabelProblem(file, line, str(fault), _short(cells), "dropped")
            image.problems.append(problem)
    doubt_bare(images.values(), file, len(lost) - known)
    return list(images.values())


def _shapes(line: int, cells: Sequence[str], columns: _Columns) -> list[Shape]:
    """The box of a row, none for a good part. Raises Unusable with the reason why it is no box."""
    name, sides = cells[columns.name], [cells[position] for position in columns.box]
    if not name and not any(sides):
        return []
    if any("," in side for side in sides):  # of Excel in many countries; or of thousands
        raise Unusable("decimal comma")
    numbers = numbers_of(sides, 4)
    if not name or numbers is None:
        raise Unusable("incomplete")
    x1, y1, x2, y2 = numbers
    return [Shape(line, name, (x1, y1, x1 + x2, y1 + y2) if columns.sized else (x1, y1, x2, y2))]


def _size(cells: Sequence[str], columns: _Columns, known: tuple[int, int]) -> tuple[int, int]:
    """The size (H, W) that a row gives its image, else the one ``known`` from rows before.

    Raises Unusable where the two differ: the boxes of one would be misplaced.
    """
    if not columns.size:
        return known
    height, width = (whole_number(cells[position]) for position in columns.size)
    if not (height and width):
        return known
    if all(known) and known != (height, width):
        raise Unusable("two sizes")
    return height, width


def _short(cells: Sequence[str]) -> str:
    text = ", ".join(cells)
    return text if len(text) <= 120 else text[:117] + "..."
