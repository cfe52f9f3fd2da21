"""Annotation files of other tools, read without harm: XML, numbers and ids however written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from kdlnet.errors import DataError
from kdlnet.utils.text import decode

Element = ElementTree.Element

_DEEPEST = 100  # elements inside each other; annotations have ten
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*\bencoding\s*=\s*["']([\w.:-]+)["']""")
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_CLASS_FILES = ("classes.txt", "obj.names")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def read_xml(file: Path) -> Element:
    """The root of an XML file, tags without their namespace.

    Raises OSError, and ValueError with the reason for what is not XML, declares entities (a
    few lines of them can stand for gigabytes, or for another file) or is too deep.
    """
    builder, depth = ElementTree.TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} elements inside each other")
        builder.start(tag.rpartition(":")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition(":")[2])

    def refuse(*_: object) -> None:
        raise ValueError("it declares entities, which no annotation needs")

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(_text_of(file.read_bytes()).encode(), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
    return builder.close()


def read_json(file: Path) -> Any:
    """What a JSON file holds. Raises OSError, and ValueError with the reason for what is none."""
    data = file.read_bytes()
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        return json.loads(_decoded(data))
    except RecursionError:
        raise ValueError("too many lists inside each other") from None


def _decoded(data: bytes) -> str:
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"it {error}") from None


def _text_of(data: bytes) -> str:
    """XML in the encoding that it declares, of which expat knows a few alone."""
    declared = _DECLARED.match(data[:200])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode(declared[1].decode()).lstrip("\ufeff") if declared else _decoded(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not {error.encoding}, as it declares: save it as UTF-8") from None
    except LookupError:
        raise ValueError(f"unknown encoding {declared[1].decode() if declared else ''!r}") from None


def whole_number(value: Any) -> int:
    """A size of pixels: ``192``, ``192.0`` or ``"192"``; 0 for what is none."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = float(value)
    if not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < 2**31 else 0


def id_of(value: Any) -> str:
    """An id as text: 1, 1.0 and "1" are the same one."""
    text = str(value).strip()
    return str(int(text.partition(".")[0])) if _WHOLE.fullmatch(text) else text


def split_named(text: str) -> str | None:
    """The split that a file, folder or subset name speaks of: ``instances_train2017`` is train."""
    words = re.findall("[a-z]+", text.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def read_class_file(folder: Path) -> tuple[str, ...]:
    """Class names of a ``classes.txt`` or ``obj.names`` in ``folder``, one a line; () for none.

    Raises DataError for a file that is not UTF-8 and for a name that appears twice.
    """
    file = next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)
    if file is None:
        return ()
    try:
        lines = decode(file.read_bytes()).splitlines()
    except OSError as error:
        raise DataError(f"cannot read class names {str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"class names {str(file)!r}: the file {error}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    for twice in names:
        if names.count(twice) > 1:
            raise DataError(f"class {twice!r} appears twice in {str(file)!r}: names must differ")
    return names
