"""Datasets by name or file: where their images are, what their classes are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdlnet.data.other_tools import tool_of
from kdlnet.data.schema import CatalogEntry, DatasetFile, parse_catalog, parse_dataset
from kdlnet.errors import DataError, unknown
from kdlnet.utils.given import AnyPath, Name, as_path, checked
from kdlnet.utils.paths import absolute, typed, unpack_first

CATALOG_NAME = "datasets.yaml"
ROOT_VARIABLE = "KDLNET_DATA"
_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset as described: nothing but the description has been read.

    ``source`` is the YAML file, ``root`` the folder that the split entries are relative to,
    ``splits`` the entries as written, ``channels`` what a model should read (None: not said),
    ``kpt_shape`` how many keypoints of how many numbers follow the boxes (None: none do).
    ``prepare`` is the command that makes the images available, "" if unknown. ``parts`` are the
    datasets that this one joins, none if it is one of its own, see :mod:`kdlnet.data.joined`.
    """

    name: str
    source: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    channels: int | None = None
    kpt_shape: tuple[int, int] | None = None
    description: str = ""
    citation: str = ""
    url: str = ""
    terms: str = ""
    prepare: str = ""
    parts: tuple[DatasetInfo, ...] = ()

    @property
    def sources(self) -> list[Path]:
        """The YAML files, one for each dataset that is joined."""
        return [part.source for part in self.parts or (self,)]


@checked
def find_dataset(
    name: Name, data_root: AnyPath | None = None, catalog: AnyPath | None = None
) -> DatasetInfo:
    """The dataset called ``name``: an entry of datasets.yaml, a data.yaml or a folder with one.

    datasets.yaml is ``catalog``, else the one in the working directory that knows the name, else
    the one shipped with kdlnet. An entry's images are in its ``path`` below ``data_root``,
    ``$KDLNET_DATA`` or the working directory; a data.yaml found there, as `data convert` and
    `data synth` write it, replaces the entry's classes and splits, because the label files were
    written with it.

    Raises DataError for an unknown name (closest match offered) or a faulty file (key named).
    """
    data_root, catalog = as_path(data_root), as_path(catalog)
    name = os.fspath(name)
    if data_root is not None and not data_root.is_dir():
        raise DataError(f"--data-root {str(data_root)!r} is not a folder: give the one of the sets")
    file = _dataset_file(name)
    if file is not None:
        return _from_file(file, data_root)
    entry, source, known = look_up(name, catalog)
    if entry is not None:
        return _from_entry(name, entry, source, data_root)
    give = "give a data.yaml or a folder with one"
    if Path(name).is_file():
        fault = unpack_first(Path(name)) or f"{name!r} is no YAML file: {give}"
        raise DataError(f"dataset {fault}")
    if _looks_like_path(name):
        raise DataError(f"dataset {name!r} does not exist: {give}")
    if Path(name).is_dir():
        raise _without_yaml(name)
    raise DataError(unknown("dataset", name, known, "Or give the path of a data.yaml"))


def look_up(name: str, catalog: Path | None = None) -> tuple[CatalogEntry | None, Path, list[str]]:
    """The entry of datasets.yaml called ``name``, its file, and the names that were seen so far.

    Without an entry the names are all there are. Raises DataError for a faulty file.
    """
    known: dict[str, None] = {}
    for candidate in _catalogs(catalog):
        entries = parse_catalog(candidate)
        known |= dict.fromkeys(entries)
        if name in entries:
            return entries[name], candidate, list(known)
    return None, Path(CATALOG_NAME), list(known)


def _dataset_file(name: str) -> Path | None:
    """The data.yaml that ``name`` points at; bare names belong to the catalog first."""
    path = Path(name)
    if path.suffix.lower() in _YAML_SUFFIXES and path.exists():
        return path
    if path.is_dir():
        if (path / "data.yaml").is_file():
            return path / "data.yaml" if _looks_like_path(name) or not _in_catalog(name) else None
        if _looks_like_path(name):
            raise _without_yaml(name)
    return None


def _without_yaml(name: str) -> DataError:
    """What to do with a folder that holds no data.yaml, maybe labels of another tool."""
    tool = tool_of(Path(name))
    fix = "give a folder with one"
    if tool:
        new = f"{Path(name)}-yolo"
        command = typed("kdlnet", "data", "convert", tool, name, "--out", new)
        fix = f"convert its labels first: {command}"
    return DataError(f"folder {name!r} holds no data.yaml: {fix}")


def _in_catalog(name: str) -> bool:
    return look_up(name)[0] is not None


def _looks_like_path(name: str) -> bool:
    return Path(name).suffix.lower() in _YAML_SUFFIXES or os.sep in name or "/" in name


def _catalogs(given: Path | None) -> list[Path]:
    if given is not None:
        return [given]
    package = Path(__file__).resolve().parent.parent
    places = [Path.cwd(), package, package.parent]  # a wheel ships it inside, a checkout beside
    return [place / CATALOG_NAME for place in places if (place / CATALOG_NAME).is_file()]


def _from_entry(
    name: str, entry: CatalogEntry, source: Path, data_root: Path | None
) -> DatasetInfo:
    folder = entry.path or name
    root = _first_existing([place / folder for place in _data_places(data_root)])
    described: DatasetFile = entry
    if (root / "data.yaml").is_file():
        described = parse_dataset(root / "data.yaml")
    return DatasetInfo(
        name=name,
        source=source,
        root=root,
        names=described.class_names(),
        splits=described.splits(),
        channels=described.channels or entry.channels,
        kpt_shape=described.kpt_shape,
        description=entry.description,
        citation=entry.citation,
        url=entry.source,
        terms=entry.terms,
        prepare=entry.prepare,
    )


def _from_file(file: Path, data_root: Path | None) -> DatasetInfo:
    values = parse_dataset(file)
    folder = absolute(file.parent)
    name = folder.name if file.stem == "data" else file.stem
    return DatasetInfo(
        name=name,
        source=file,
        root=_file_root(values, folder, data_root),
        names=values.class_names(),
        splits=values.splits(),
        channels=values.channels,
        kpt_shape=values.kpt_shape,
    )


def _file_root(values: DatasetFile, folder: Path, data_root: Path | None) -> Path:
    """``path`` of a data.yaml: below the data root if given, else below the file's folder."""
    if values.path is None:
        return folder
    places = [folder, *_data_places(data_root)]
    if data_root is not None:
        places = [*_data_places(data_root), folder]
    return _first_existing([place / values.path for place in places])


def _data_places(data_root: Path | None) -> list[Path]:
    if data_root is not None:
        return [absolute(data_root)]
    variable = os.environ.get(ROOT_VARIABLE)
    places = [absolute(Path(variable))] if variable else []
    return [*places, Path.cwd()]


def _first_existing(folders: Sequence[Path]) -> Path:
    found = next((folder for folder in folders if folder.is_dir()), folders[0])
    return absolute(found)
