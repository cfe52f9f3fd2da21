"""Tables of labels as CSV: rows below one that names the columns."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kdlnet.data.columns import NO_TEXT, WANTED, Columns, columns_of, names_ids
from kdlnet.data.names import bare_name, may_be_one
from kdlnet.errors import DataError
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import decode

TABLE_SUFFIXES = (".csv", ".tsv")

_FOR_EXCEL = re.compile(r"sep=([,;\t])\s*", re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")  # .xlsx and .ods, .xls, .gz

Rows = Sequence[tuple[int, list[str]]]
"""Each with its line in the file, counted from 1."""


@dataclass(frozen=True)
class Table:
    """A table of labels; ``heads`` are its first row, as it is written.

    ``ended`` says whether the line of its last row has an end. ``fault`` are words that follow the
    file's name: why letters may be others, "" for UTF-8.
    """

    file: Path
    heads: Sequence[str]
    columns: Columns
    rows: Rows
    ended: bool
    fault: str

    def images(self) -> list[str]:
        """The images that are named, each once."""
        rows = [self.columns.padded(cells) for _, cells in self.rows]
        return list(dict.fromkeys(filter(None, map(self.columns.image_of, rows))))

    def ids(self) -> bool:
        """Whether its images may be none: ids, and no name of a file among them."""
        files = (Path(name).suffix.lower() in IMAGE_SUFFIXES for name in self.images())
        return names_ids(self.heads[self.columns.image]) and not any(files)

    def drawn(self) -> set[str]:
        """The images that are named, none where nothing is drawn in any of them, or cut off."""
        rows = [self.columns.padded(cells) for _, cells in self.rows]
        drawn = any(any(self.columns.box_of(cells)) for cells in rows) or self.short[0]
        return set(self.images()) if drawn else set()

    @cached_property
    def short(self) -> tuple[set[int], set[int]]:
        """Lines of the rows that end before what was drawn: those cut off, those of good parts.

        Programs that leave out empty cells at the end of a row do it in all rows, and a file is cut
        off once. So rows that say more than their image are those of good parts where there are
        several, and all that are not short have something drawn: boxes in other images, while run
        lengths have a row for each class.
        """
        columns, rows = self.columns, dict(self.rows)
        cut = {line for line, cells in rows.items() if len(cells) <= columns.telling}
        good = {line for line in cut if not columns.ends_with_image(rows[line])}
        if rows and not self.ended:
            line, cells = list(rows.items())[-1]
            good.discard(line)
            if not cells[-1] and len(cells) == columns.telling + 1:  # what is in it was to come
                cut.add(line)
        whole = [columns.padded(cells) for line, cells in rows.items() if line not in cut]
        drawn = [columns.image_of(cells) for cells in whole if any(columns.box_of(cells))]
        named = {line: columns.image_of(columns.padded(rows[line])) for line in good}
        if not columns.runs:
            good = _others(named, drawn)
        if len({named[line] for line in good}) == 1 or len(drawn) < len(whole):
            good = set()
        return cut - good, good


def _others(named: Mapping[int, str], images: Iterable[str]) -> set[int]:
    """The lines that name none of ``images``, also written otherwise."""
    alike = defaultdict(set)
    for image in images:
        alike[bare_name(image)].add(image)
    return {
        line
        for line, name in named.items()
        if not any(may_be_one(name, image) for image in alike.get(bare_name(name), ()))
    }


class NoLabels(ValueError):
    """Why a table with these ``heads`` is none of labels, in words that follow the file's name."""

    def __init__(self, why: str, heads: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.heads = heads


def is_example(file: Path) -> bool:
    """Whether it is one that Kaggle gives of answers (``..._v2`` too): masks that nobody drew."""
    return file.stem.casefold().startswith("sample_submission")


def read_table(file: Path, called: Mapping[str, str] | None = None) -> Table:
    """The table of labels in ``file``; where it has boxes, a column of classes may lack.

    ``called`` are the names of columns as :func:`columns_of` has them.
    Raises DataError for one that cannot be read, and NoLabels where its columns are others.
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
    # Before the rest is read: a log of something else may be large.
    try:
        columns = columns_of(heads, called)
    except ValueError as error:
        raise NoLabels(str(error), heads) from None
    rows = list(found)
    ended = text.rstrip(" \t,;").endswith(("\n", "\r"))  # blank rows at the end say nothing
    return Table(file, heads, columns, rows, ended, fault)


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
        if first and NO_TEXT.search(next(_lines(text), "")):
            raise NoLabels(f"is no text; {WANTED}") from None
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
