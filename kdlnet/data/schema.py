"""What a data.yaml and a datasets.yaml may say, checked so that errors name the key."""

from __future__ import annotations

import re
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kdlnet.errors import DataError
from kdlnet.utils.text import decode
from kdlnet.utils.yaml_loader import UniqueKeys

SPLITS = ("train", "val", "test")

# A few lines of YAML can stand for lists within lists without end: the innermost are not shown.
_brief = Repr()
_brief.maxlevel, _brief.maxlist, _brief.maxdict = 2, 10, 10
_brief.maxstring = _brief.maxother = 200

_Model = TypeVar("_Model", bound="DatasetFile")


class DatasetFile(BaseModel):
    """A standard data.yaml. Unknown keys are left alone: other tools keep theirs there."""

    model_config = ConfigDict(extra="ignore", strict=False)

    path: str | None = None
    train: tuple[str, ...] | None = None
    val: tuple[str, ...] | None = None
    test: tuple[str, ...] | None = None
    names: tuple[str, ...]
    nc: int | None = None
    channels: Literal[1, 3] | None = None
    kpt_shape: tuple[int, int] | None = None

    @field_validator("train", "val", "test", mode="before")
    @classmethod
    def _entries(cls, value: Any) -> Any:
        """One entry or a list of them; "" and null mean that the split is not there."""
        if isinstance(value, str):
            value = [value] if value.strip() else None
        if value and not (isinstance(value, list) and all(isinstance(e, str) for e in value)):
            raise ValueError(
                f"give a path or a list of them, numbers in quotes, not {_brief.repr(value)}"
            )
        return value or None

    @field_validator("path", mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, str):
            raise ValueError(f"give a folder, a number in quotes, not {_brief.repr(value)}")
        return value

    @field_validator("names", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, dict):
            value = _from_map(value)
        if not isinstance(value, list):
            raise ValueError("give a list of class names or a map from 0, 1, ... to names")
        for name in value:
            if isinstance(name, bool) or not isinstance(name, (str, int, float)):
                raise ValueError(f"class name {_brief.repr(name)} is not text: put it in quotes")
        names = tuple(str(name).strip() for name in value)
        if not names:
            raise ValueError("at least one class name is needed")
        if "" in names:
            raise ValueError(f"class {names.index('')} has no name: give it one")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"class name {twice[0]!r} appears twice: names must differ")
        return names

    @field_validator("kpt_shape")
    @classmethod
    def _keypoints(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and (value[0] < 1 or value[1] not in (2, 3)):
            raise ValueError(f"{list(value)} is not [how many keypoints, 2 or 3 numbers of each]")
        return value

    @model_validator(mode="after")
    def _check(self) -> DatasetFile:
        if self.nc is not None and self.nc != len(self.names):
            raise ValueError(
                f"nc is {self.nc} but names lists {len(self.names)} classes: make them agree"
            )
        if not self.splits():
            raise ValueError("no split is given: add train, val or test")
        return self

    def class_names(self) -> tuple[str, ...]:
        return self.names

    def splits(self) -> dict[str, tuple[str, ...]]:
        entries = {split: getattr(self, split) for split in SPLITS}
        return {split: entry for split, entry in entries.items() if entry}


class Layout(BaseModel):
    """How the authors publish a set: what is in the folder that `data prepare` is given.

    ``format`` is that of `data convert`; ``folders`` must all be there; ``images`` is the one
    with the images, all of them where it is not said; ``good`` holds good parts.
    """

    model_config = ConfigDict(extra="forbid")

    format: str
    folders: tuple[str, ...] = Field(min_length=1)
    images: str | None = None
    good: tuple[str, ...] = ()


class Expected(BaseModel):
    """What a complete copy holds: images, those without boxes, and boxes (rows as published)."""

    model_config = ConfigDict(extra="forbid")

    images: int
    good: int | None = None
    boxes: int | None = None


class CatalogEntry(DatasetFile):
    """One dataset of a datasets.yaml: a data.yaml with its origin and how to get it.

    ``group`` is a regular expression on the image's path; its first group says what an image
    shows. Images of one group never go to two splits. ``shares`` are those of the splits.
    ``lists`` are files of image paths, one for each split, in place of both; in the file they are
    relative to its folder.
    """

    description: str = ""
    source: str = ""
    citation: str = ""
    terms: str = ""
    prepare: str = ""
    layout: Layout | None = None
    expected: Expected | None = None
    group: str = ""
    lists: dict[Literal["train", "val", "test"], Path] = {}
    shares: dict[Literal["train", "val", "test"], float] = {"train": 0.8, "val": 0.1, "test": 0.1}

    @field_validator("group")
    @classmethod
    def _group(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        if value and groups != 1:
            raise ValueError(f"{value!r} needs one group in brackets, such as (\\d+)")
        return value


def parse_dataset(file: Path) -> DatasetFile:
    """The data.yaml in ``file``. Raises DataError naming the file and the key at fault."""
    return _validate(DatasetFile, read_yaml(file), str(file))


def parse_catalog(file: Path) -> dict[str, CatalogEntry]:
    """All entries of a datasets.yaml by name. Raises DataError as :func:`parse_dataset`."""
    entries = {}
    for name, values in read_yaml(file).items():
        if not isinstance(values, dict):
            raise DataError(f"{file}: dataset {name!r} must hold keys such as path and names")
        entry = _validate(CatalogEntry, values, f"{file}: dataset {name!r}")
        lists = {split: file.parent / path for split, path in entry.lists.items()}
        entries[str(name)] = entry.model_copy(update={"lists": lists})
    return entries


def read_yaml(file: Path) -> dict[str, Any]:
    """The map at the top of a YAML file; class names as they are spelled, such as 010 and 1.10.

    Raises DataError naming the file.
    """
    try:
        text = decode(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read dataset file {str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"dataset file {str(file)!r} {error}") from None
    try:
        values = yaml.load(text, _SpelledNames)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-31
        reason = " ".join(str(error).split()).replace('"<unicode string>", ', "")
        raise DataError(f"dataset file {str(file)!r} is not YAML: {reason}") from None
    if not isinstance(values, dict):
        raise DataError(f"dataset file {str(file)!r} must hold keys such as train, val and names")
    return values


class _SpelledNames(UniqueKeys):
    """Under the key ``names`` nothing is a number, a date or a truth value."""

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        for dataset in [root, *_values(root)]:  # of a catalog, one level down
            for key, value in dataset.value if isinstance(dataset, yaml.MappingNode) else ():
                if key.value == "names":
                    for name in _values(value):
                        # Nothing at all stays null: schema says that a name is missing.
                        if isinstance(name, yaml.ScalarNode) and name.value:
                            name.tag = "tag:yaml.org,2002:str"
        return root


def _values(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _validate(kind: type[_Model], values: dict[str, Any], where: str) -> _Model:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise DataError(f"{where}: key {key} is missing: add it") from None
        message = first["msg"].removeprefix("Value error, ")
        value = "" if first["type"] == "value_error" else f" = {_brief.repr(first['input'])}"
        at = f"key {key}{value}: " if key else ""  # none where keys disagree
        raise DataError(f"{where}: {at}{message}") from None


def _from_map(names: dict[Any, Any]) -> list[Any]:
    try:
        by_index = {int(str(index)): name for index, name in names.items()}
    except (TypeError, ValueError):
        raise ValueError("the map's keys must be the numbers 0, 1, ...") from None
    if sorted(by_index) != list(range(len(names))):
        raise ValueError(f"the map's keys must be 0 to {len(names) - 1} without gaps")
    return [by_index[index] for index in range(len(by_index))]
