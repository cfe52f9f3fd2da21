"""Tables with one box a row, or the run lengths of one mask, as CSV.

The form of many published sets, of segmentation competitions, and of exports for TensorFlow.
Boxes are pixels from 0: two corners, or the left top corner and the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kdlnet.curation.formats.imported import ImportOptions, ImportResult
from kdlnet.curation.formats.listed import ListedImage, doubt_bare, import_listed, index_of
from kdlnet.curation.formats.locate import ImageIndex, annotation_files
from kdlnet.curation.formats.parse import split_named, whole_number
from kdlnet.curation.formats.runs import RunMask, numbers_of, runs_of
from kdlnet.curation.formats.shapes import Shape, Unusable
from kdlnet.data.columns import Columns, called_so, check_called, short
from kdlnet.data.labels import LabelProblem
from kdlnet.data.tables import TABLE_SUFFIXES, NoLabels, Table, is_example, read_table
from kdlnet.errors import DataError

_Passed = tuple[str, Sequence[str]]
"""Why a table is passed over, and its heads."""


def import_csv(source: Path, options: ImportOptions) -> ImportResult:
    """The images that the tables in ``source``, a folder or one file, list, with their boxes.

    Columns are known by their names and parted by commas, semicolons or tabs. A column of splits
    counts; where it is empty, the name of the file, ``train_labels.csv``, or of its folder does.
    Every connected region of run lengths becomes one box with its outline. An image whose rows have
    neither class nor box, or classes without run lengths, is a good part; image files that no row
    names are left out.

    Raises DataError when there is no table, one is broken, none has the columns, one has classes
    beside ``class_name``, none has run lengths for a ``min_area``, or two list the same image.
    """
    index = index_of(source, options)
    tables, warnings = _read_tables(source, options, index)
    if options.min_area is not None and not any(table.columns.runs for table in tables):
        raise DataError(
            f"--min-area {options.min_area} is for run lengths, and no table of {str(source)!r} "
            "has a column EncodedPixels: leave it out"
        )
    lost: list[LabelProblem] = []
    images = [image for table in tables for image in _images(table, options, lost)]
    result = import_listed(source, index, images)
    warnings += tuple(filter(None, map(_taken_as_good, tables)))
    return replace(result, lost=tuple(lost), warnings=warnings + result.warnings)


def _read_tables(
    source: Path, options: ImportOptions, index: ImageIndex
) -> tuple[list[Table], tuple[str, ...]]:
    """The tables of labels, and a line for what is passed over: other ones, columns of splits
    of which none is known."""
    tables: list[Table] = []
    classless: list[_Passed] = []
    faults: list[_Passed] = []
    columns = []
    check_called(options.columns)
    for file in annotation_files(source, *TABLE_SUFFIXES):
        if source.is_dir() and is_example(file):
            faults.append((f"table {str(file)!r} is an example of answers, no labels", ()))
            continue
        try:
            table = read_table(file, options.columns)
        except NoLabels as error:
            faults.append((f"table {str(file)!r} {error}", error.heads))
            continue
        if table.ids() and not any(map(index.knows, table.images())):
            faults.append((_ids_without_images(table, index), table.heads))
            continue
        if not options.class_name and table.columns.name is None:
            fault = (
                f"table {str(file)!r} has no column of classes: its columns are "
                f"{short(table.heads)!r}; say which one it is with --column class=HEAD, or give "
                "--class-name"
            )
            classless.append((fault, table.heads))
            continue
        _refuse(table, options.class_name)
        if unknown := _unknown_splits(table):
            columns.append(
                f"the column {unknown!r} of table {str(file)!r} holds no train, val or test: give "
                "lists of images as --split train=LIST --split val=LIST"
            )
            table = replace(table, columns=replace(table.columns, split=None))
        tables.append(table)
    passed = [*classless, *faults]
    _check_heads(source, options.columns, tables, passed)
    if not tables:
        raise DataError(passed[0][0])
    told = [*(fault for fault, _ in passed), *columns]
    return tables, tuple(f"passed over: {fault}" for fault in told)


def _check_heads(
    source: Path, called: Mapping[str, str], tables: Sequence[Table], passed: Sequence[_Passed]
) -> None:
    """Raises DataError for a head of ``--column`` that no table of labels has, with why one was
    passed over that has it; one that no table has at all goes before."""
    known = [head for table in tables for head in table.heads]
    lacking = [(what, head) for what, head in called.items() if not called_so(head, known)]
    having = {
        head: [fault for fault, heads in passed if called_so(head, heads)] for _, head in lacking
    }
    for what, head in sorted(lacking, key=lambda each: len(having[each[1]])):
        if having[head] and not tables:
            raise DataError(having[head][0])
        if passed:
            more = f"passed over: {[*having[head], passed[0][0]][0]}"
        else:
            more = f"those of {tables[0].file.name!r} are {short(tables[0].heads)!r}"
        where = f"no table of labels in {str(source)!r} has a column {head!r}"
        raise DataError(f"--column {what}={head}: {where}; {more}")


def _refuse(table: Table, class_name: str | None) -> None:
    """Raises DataError for labels in other letters, and for classes beside ``class_name``."""
    if table.fault:
        raise DataError(f"table {str(table.file)!r} {table.fault}")
    if class_name and table.columns.name is not None:
        raise DataError(
            f"table {str(table.file)!r} has classes in {table.heads[table.columns.name]!r}: leave "
            "--class-name out, or take all of them as one with --class '*=NAME'"
        )


def _ids_without_images(table: Table, index: ImageIndex) -> str:
    has = f"table {str(table.file)!r} has a column {table.heads[table.columns.image]!r}"
    if not table.images():
        return f"{has} and no image in it"
    return (
        f"{has}, first {table.images()[0]!r}, and no image called so lies under "
        f"{str(index.root)!r}: name the folder of the images with --images"
    )


def _unknown_splits(table: Table) -> str:
    """The name of a column of splits in which no value is one."""
    at = table.columns.split
    if at is None or any(split_named(cells[at]) for _, cells in table.rows if at < len(cells)):
        return ""
    return table.heads[at]


def _taken_as_good(table: Table) -> str:
    """A line for rows that are too short to say that their part is good, "" for none."""
    _, good = table.short
    if not good:
        return ""
    return (
        f"{len(good)} rows of table {str(table.file)!r}, first line {min(good)}, end before "
        f"{table.heads[table.columns.telling]!r}, and something is drawn in all others: taken as "
        "good parts; if they were cut off, bring the whole table"
    )


def _images(table: Table, options: ImportOptions, lost: list[LabelProblem]) -> list[ListedImage]:
    """The images of one table with what was drawn; rows that name none go to ``lost``."""
    file, columns = table.file, table.columns
    images: dict[str, ListedImage] = {}
    known = len(lost)
    cut, _ = table.short
    for line, written in table.rows:
        cells = columns.padded(written)
        name = columns.image_of(cells)
        if not name:
            lost.append(LabelProblem(file, line, "no image named", short(written), "dropped"))
            continue
        image = images.setdefault(name, ListedImage(name, (0, 0), file))
        try:
            if line in cut:
                raise Unusable("cut off")
            if any(cells[columns.count :]):
                raise Unusable("incomplete")
            image.written = _size(cells, columns, image.written)
            image.split = _split(cells, columns, image.split)
            if columns.runs:
                image.masks += _masks(line, cells, columns, options)
            else:
                image.shapes += _shapes(line, cells, columns, options.class_name)
        except Unusable as fault:
            problem = LabelProblem(file, line, str(fault), short(written), "dropped")
            image.problems.append(problem)
    doubt_bare(images.values(), file, len(lost) - known)
    return list(images.values())


def _masks(
    line: int, cells: Sequence[str], columns: Columns, options: ImportOptions
) -> list[RunMask]:
    """The mask of a row, none where its class is not found. Raises Unusable as :func:`_shapes`."""
    name, (runs,) = columns.class_of(cells) or options.class_name, columns.box_of(cells)
    if not runs:
        return []
    if not name:
        raise Unusable("incomplete")
    return [RunMask(line, name, runs_of(runs), options.smallest)]


def _shapes(
    line: int, cells: Sequence[str], columns: Columns, class_name: str | None
) -> list[Shape]:
    """The box of a row, none for a good part. Raises Unusable with the reason why it is no box."""
    name, sides = columns.class_of(cells), columns.box_of(cells)
    if not name and not any(sides):
        return []
    if any("," in side for side in sides):  # of Excel in many countries; or of thousands
        raise Unusable("decimal comma")
    name = name or class_name or ""
    numbers = numbers_of(sides, 4)
    if not name or numbers is None:
        raise Unusable("incomplete")
    x1, y1, x2, y2 = numbers
    return [Shape(line, name, (x1, y1, x1 + x2, y1 + y2) if columns.sized else (x1, y1, x2, y2))]


def _size(cells: Sequence[str], columns: Columns, known: tuple[int, int]) -> tuple[int, int]:
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


def _split(cells: Sequence[str], columns: Columns, known: str | None) -> str | None:
    """The split that a row gives its image, "" for another than ours, else the one ``known`` from
    rows before. Raises Unusable where the two differ."""
    if columns.split is None or not cells[columns.split]:
        return known
    split = split_named(cells[columns.split]) or ""
    if known not in (None, split):
        raise Unusable("two splits")
    return split
