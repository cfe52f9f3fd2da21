"""Where the data of a run lies, and its results go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdlnet.config import TrainConfig
from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.dataset import load_split, load_splits
from kdlnet.data.joined import find_datasets, with_split
from kdlnet.data.labels import Split
from kdlnet.data.listing import list_images
from kdlnet.data.roi import inside
from kdlnet.errors import DataError


def run_place(config: TrainConfig, kind: str) -> tuple[Path, list[Path], list[Path]]:
    """The usual folder of a run of ``kind``, the dataset's files, and the images to keep out of."""
    info = find_data(config)
    splits = {config.data.train_split, config.data.val_split}
    images = [path for split in splits for path in list_images(info, split)]
    return Path("runs") / kind / info.name, info.sources, images


def find_data(config: TrainConfig) -> DatasetInfo:
    """The dataset of a run. Raises DataError where there is none."""
    root = None if config.data.root is None else Path(config.data.root)
    return find_datasets(config.data.name, root)


def run_splits(config: TrainConfig) -> tuple[Split, Split]:
    """What a run learns from and what it is measured on. Raises DataError without one of them."""
    info, data = find_data(config), config.data
    if data.with_val:
        both = with_split(info, data.train_split, data.val_split)
        val = load_split(info, data.val_split, data.strict)
        train = load_split(both, data.train_split, data.strict)
    else:
        train, val = load_splits(info, [data.train_split, data.val_split], data.strict)
    return inside(train, data.roi), inside(val, data.roi)


def at_place_of(place: TrainConfig, config: TrainConfig) -> TrainConfig:
    """``config`` with its dataset and its device as ``place`` has them, if it says so."""
    changes: dict[str, Any] = {}
    if place.data.name:
        changes["data"] = {"name": place.data.name, "root": place.data.root}
    if "device" in place.model_fields_set:
        changes["device"] = place.device
    return config.changed(**changes)


def with_absolute_data(config: TrainConfig) -> TrainConfig:
    """Dataset paths made absolute, so that a run can be resumed from any folder."""
    root = config.data.root
    names = map(_absolute, config.data.names, find_data(config).sources)
    changes: dict[str, Any] = {"name": tuple(names)}
    if root is not None:
        changes["root"] = str(Path(root).absolute())
    return config.changed(data=changes)


def _absolute(name: str, source: Path) -> str:
    """The ``name`` of a dataset, absolute where it is the path of ``source``."""
    path = Path(name)
    file = path / "data.yaml" if path.is_dir() else path
    same = file.is_file() and file.resolve() == source.resolve()
    return str(path.absolute()) if same else name


def with_data_found_again(config: TrainConfig) -> TrainConfig:
    """The same for a run that goes on. Raises DataError that says what to do after a move."""
    try:
        return with_absolute_data(config)
    except DataError as error:
        moved = "if it was moved, add its new place to --resume: --data"
        raise DataError(f"{error}; {moved}") from None
