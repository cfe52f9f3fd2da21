"""Which images belong together: by a rule on their names, by a table or because they look alike."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kdlnet.curation.duplicates import DuplicatePair, clusters, find_copies, find_duplicates
from kdlnet.data.catalog import DatasetInfo
from kdlnet.errors import DataError
from kdlnet.events import Listener, ignore
from kdlnet.utils.manifest import Entry, report_of
from kdlnet.utils.table import csv_text, path_cell
from kdlnet.utils.text import decode

DUPLICATES = "duplicates"
COPIES = "copies"  # in every pixel: different parts on one fixture look like one scene
GROUPS = "groups.csv"
"""File in the folder of a split or of a check: the group of each image."""
BY_PIXELS = {DUPLICATES: find_duplicates, COPIES: find_copies}
ROOT = "root"
"""Key in the report of a split: the folder of the dataset that it divides, from its own."""
_COLUMNS = ("image", "group")


def name_below(image: Path, root: Path) -> str:
    """``image`` relative to ``root`` with forward slashes: the same on every machine.

    Images outside ``root`` start with ``..``; on another drive (Windows) they are absolute.
    """
    try:
        return Path(os.path.relpath(image, root)).as_posix()
    except ValueError:
        return image.as_posix()


def image_names(info: DatasetInfo, images: Sequence[Path]) -> list[str]:
    """How rules and tables know ``images``: by their paths from :func:`naming_root`."""
    root = naming_root(info.root)
    return [name_below(image, root) for image in images]


def naming_root(folder: Path) -> Path:
    """The folder from which images of the dataset in ``folder`` are named: the same one.

    Of what ``kdlnet data split`` made it is that of the dataset which was divided: what fits one
    fits the other.
    """
    place, division = division_of(folder)
    return Path(os.path.normpath(place / division[ROOT])) if division else place


def division_of(folder: Path) -> tuple[Path, Entry]:
    """Where the report of the `kdlnet data split` that wrote ``folder`` lies, and what it says.

    Of another folder it is that one, and nothing.
    """
    for place in (folder, folder.parent) if folder.name.startswith("fold-") else (folder,):
        report = report_of(place)
        if isinstance(report.get(ROOT), str):
            return place, report
    return folder, {}


def find_groups(
    group_by: str | None,
    names: Sequence[str],
    paths: Sequence[Path],
    on_event: Listener = ignore,
) -> list[str]:
    """The group of each image; ``names`` are their ``paths`` relative to the dataset.

    ``group_by`` is "duplicates" or "copies" (:func:`groups_of_duplicates`), a CSV file
    (:func:`groups_by_table`) or a regular expression (:func:`groups_by_rule`). None: every image
    is its own group. For the first two every image is decoded, which ``on_event`` reports. Raises
    DataError as those do.
    """
    if group_by is None:
        return list(names)
    if group_by in BY_PIXELS:
        return groups_of_duplicates(names, BY_PIXELS[group_by](paths, on_event))
    if group_by.lower().endswith(".csv"):
        return groups_by_table(names, paths, Path(group_by))
    return groups_by_rule(names, group_by)


def table_of_groups(names: Sequence[str], groups: Sequence[object]) -> bytes:
    """The CSV that :func:`groups_by_table` reads: ``names`` are relative to the dataset."""
    rows = (
        (path_cell(name), path_cell(str(group))) for name, group in zip(names, groups, strict=True)
    )
    return csv_text([_COLUMNS, *rows]).encode("utf-8", "backslashreplace")


def groups_of_duplicates(names: Sequence[str], pairs: Sequence[DuplicatePair]) -> list[str]:
    """Images that ``pairs`` connect are one group, named by its first image; others are alone."""
    groups = list(names)
    for cluster in clusters(pairs, len(names)):
        for position in cluster:
            groups[position] = names[cluster[0]]
    return groups


def groups_by_rule(names: Sequence[str], rule: str, flag: str = "--group-by") -> list[str]:
    """What the one group of the regular expression ``rule`` finds in each name.

    ``names`` are paths relative to the dataset. The rule is searched in the file name, or in the
    whole path when it contains a ``/``. ``flag`` is named in errors.

    Raises DataError for a faulty expression, one without exactly one group, and names that it
    does not match.
    """
    try:
        expression = re.compile(rule)
    except re.error as error:
        raise DataError(f"{flag} '{rule}' is not a regular expression: {error}") from None
    if expression.groups != 1:
        raise DataError(
            f"{flag} '{rule}' has {expression.groups} groups: put what names the part into "
            r"the only one, for example '^(\d+)_' for 05_scratch_12.jpg"
        )
    texts = names if "/" in rule else [name.rsplit("/", 1)[-1] for name in names]
    found = [expression.search(text) for text in texts]
    parts = [match[1] or "" if match else "" for match in found]
    unmatched = [name for name, part in zip(names, parts, strict=True) if not part]
    if unmatched:
        raise DataError(
            f"{flag} '{rule}' finds no group in {len(unmatched)} of {len(names)} names, first "
            f"{unmatched[0]!r}: widen the rule"
        )
    return parts


def lots_of(info: DatasetInfo, images: Sequence[Path], rule: str | None) -> list[str] | None:
    """The lot of each of ``images`` by ``rule``; None where there is no rule."""
    if rule is None:
        return None
    return groups_by_rule(image_names(info, images), rule, "--lot-by")


def groups_by_table(names: Sequence[str], paths: Sequence[Path], file: Path) -> list[str]:
    """The group of each image as a CSV with the columns ``image`` and ``group`` says.

    The column ``image`` holds paths relative to the dataset, as ``names`` are, absolute ones, as
    ``paths`` are, or file names where only one image has that name. Rows of other images are
    passed over. Columns are parted by commas or semicolons.

    Raises DataError for a file that cannot be read, another head, and images without a row.
    """
    rows = _read_table(file)
    # As the table is UTF-8, it holds escapes where a name is not.
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    bare = [name.rsplit("/", 1)[-1] for name in names]
    repeated = {name for name, count in Counter(bare).items() if count > 1}
    groups = []
    missing = []
    for name, path, short in zip(names, paths, bare, strict=True):
        group = rows.get(name) or rows.get(path.as_posix(), "")
        if not group and short not in repeated:
            group = rows.get(short, "")
        groups.append(group)
        if not group:
            missing.append(name)
    if missing:
        raise DataError(
            f"{str(file)!r} gives no group for {len(missing)} of {len(names)} images, first "
            f"{missing[0]!r}: add a row for each, with its path in the dataset"
        )
    return groups


def _read_table(file: Path) -> dict[str, str]:
    try:
        text = _text(file.read_bytes())
        stream, delimiter = io.StringIO(text, newline=""), _delimiter(text)
        reader = csv.DictReader(stream, skipinitialspace=True, delimiter=delimiter)
        heads = [head.strip() for head in reader.fieldnames or ()]
        if not set(_COLUMNS) <= set(heads):
            shown = ", ".join(heads) or "nothing"
            raise DataError(
                f"{str(file)!r} starts with {shown}: its first line must be image,group"
            )
        reader.fieldnames = heads
        rows: dict[str, str] = {}
        for row in reader:
            image, group = ((row[column] or "").strip() for column in _COLUMNS)
            image = Path(image).as_posix()
            if rows.setdefault(image, group) != group:
                raise DataError(
                    f"{str(file)!r}, line {reader.line_num}: image {image!r} is in the groups "
                    f"{rows[image]!r} and {group!r}: keep one"
                )
        return rows
    except OSError as error:
        raise DataError(f"cannot read groups from {str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{str(file)!r} {error}") from None
    except csv.Error as error:
        raise DataError(f"{str(file)!r} is not a CSV: {error}") from None


def _text(data: bytes) -> str:
    """UTF-8, else as Excel saves a CSV on Windows. Raises ValueError for neither.

    A name that is read wrongly is no image's, and each needs a row: nothing is grouped by it.
    """
    try:
        return decode(data)
    except ValueError:
        if b"\0" in data:  # UTF-16
            raise
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8 or Windows-1252: save it as CSV UTF-8") from None


def _delimiter(text: str) -> str:
    """The semicolon, as Excel writes it in many countries, in the first line, else the comma."""
    heads = next(csv.reader(text.splitlines()[:1], skipinitialspace=True, delimiter=";"), [])
    return ";" if set(_COLUMNS) <= {head.strip() for head in heads} else ","
