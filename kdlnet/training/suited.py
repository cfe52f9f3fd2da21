"""Settings chosen from the dataset where nobody gave them: docs/defaults.md has the rules.

What was given stays. The size of images and boxes is read from file headers and label files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.config import TrainConfig
from kdlnet.data.catalog import list_images
from kdlnet.data.labels import Split
from kdlnet.errors import DataError
from kdlnet.events import Listener, Message
from kdlnet.images.read import image_size
from kdlnet.inference.weights import load_weights
from kdlnet.training.parts import find_data
from kdlnet.types import ImageSize
from kdlnet.utils.device import find_device
from kdlnet.utils.words import counted

_HEADERS = 400  # of so many images the size is read, spread over the split
_LARGEST, _SMALLEST = 640, 128  # sides of the network input
_ENOUGH = 32.0  # pixels of the input: boxes larger than this gain little from more
_LEAST = 12.0  # and of smaller ones too little is left: tiles
_TILE_INPUT, _IN_TILE = 320, 20.0  # a tile's side in the input, and of its small boxes
_SEEN = 120_000  # samples that a training sees
_EPOCHS = (20, 300)
_GOOD = 0.25  # share of good parts from which defects are copied onto them
_SHOWN = 0.85  # share of tiles with a defect: empty ones are soon learned
_VALIDATIONS = (10, 60)
_PASSES = 2  # of so many tiles of val while one is trained on: a step goes forth and back


@dataclass(frozen=True)
class Survey:
    """What the rules look at: a training split in numbers.

    ``boxes`` are all of them. Of the images that were looked at ``sizes`` (N, 2) are H, W,
    ``sides`` (T,) the square roots of the boxes' areas and ``longest`` (T,) their longer sides, in
    pixels; ``good`` is the share of images without a box.
    """

    images: int
    boxes: int
    sizes: NDArray[np.float64]
    sides: NDArray[np.float64]
    longest: NDArray[np.float64]
    good: float

    @property
    def small(self) -> float:
        """Nine of ten boxes are at least this large."""
        return float(np.percentile(self.sides, 10))

    @property
    def shape(self) -> tuple[float, float]:
        """H, W of the image in the middle."""
        height, width = np.median(self.sizes, axis=0)
        return float(height), float(width)


def suited(config: TrainConfig, found: Split, init: Path | None, on_event: Listener) -> TrainConfig:
    """``config`` with values that suit its training split ``found`` wherever it was given none.

    With ``init`` the model is that of these weights. Lines through ``on_event`` say what was chosen
    and why.
    """
    survey = _survey(found)
    if survey is None:
        return config
    given = _given(config)
    values: dict[str, Any] = {}
    if "model.name" not in given:
        values["model"] = _model(config, given, init, on_event)
    if not given & {"image_size", "tile.size"}:
        size, tile, why = _seen_at(survey)
        values |= {"image_size": size, "tile": {"size": tile}}
        _say(on_event, f"{why}; --image-size, --tile")
    samples = _samples(survey, config.changed(**values).tile.size)
    if "batch" not in given and samples < 128:
        values["batch"] = 8 if samples >= 32 else 4
        _say(on_event, f"batch {values['batch']}: about {counted(samples, 'sample')}; --batch")
    if config.time is None and "epochs" not in given:
        low, high = _EPOCHS
        values["epochs"] = min(high, max(low, ceil(_SEEN / samples)))
        _say(
            on_event,
            f"{values['epochs']} epochs of about {counted(samples, 'sample')}; --epochs, --time",
        )
    if "val_every" not in given:
        values["val_every"] = _val_every(config.changed(**values), survey, on_event)
    augment: dict[str, float] = {}
    if "augment.copy_paste" not in given and survey.good >= _GOOD:
        augment["copy_paste"] = 0.5
        text = f"defects copied onto other images: {survey.good:.0%} are good parts"
        _say(on_event, f"{text}; --set augment.copy_paste=0")
    if "augment.quarter_turns" not in given and _turns(config.changed(**values)):
        augment["quarter_turns"] = 1.0
        _say(on_event, "tiles turned by quarters; --set augment.quarter_turns=0")
    if augment:
        values["augment"] = augment
    if "sampling.defects" not in given and config.changed(**values).tile.size is not None:
        values["sampling"] = {"defects": _SHOWN}
        _say(on_event, f"{_SHOWN:.0%} of what is seen shows a defect; --set sampling.defects=0.5")
    return config.changed(**values)


def _model(
    config: TrainConfig, given: set[str], init: Path | None, on_event: Listener
) -> dict[str, str]:
    """What a model that nobody named is: that of ``init``, or the one for the device."""
    if init is not None:
        weights = load_weights(init, start=True)
        _say(on_event, f"{weights.model}: the model of {str(init)!r}; --model")
        block = {} if "model.block" in given else {"block": weights.arguments.block}
        return {"name": weights.model, **block}
    if find_device(config.device).type == "cpu":
        _say(on_event, "lightnet-n: the quick model, and it has a start; --model")
        return {"name": "lightnet-n"}
    return {}


def _val_every(config: TrainConfig, survey: Survey, on_event: Listener) -> int:
    """Epochs from one validation, which sees all tiles of val, to the next."""
    fewest, most = _VALIDATIONS
    usual = max(1, config.epochs // most)
    tile = config.tile.size
    if tile is None:
        return usual
    images = list_images(find_data(config), config.data.val_split)
    tiles = len(images) * _tiles(survey, tile)
    rare = min(ceil(tiles / (_PASSES * _samples(survey, tile))), config.epochs // fewest)
    if rare <= usual:
        return usual
    text = f"measured on val every {rare} epochs: it has about {tiles} tiles"
    _say(on_event, f"{text}; --set val_every={usual}")
    return rare


def _turns(config: TrainConfig) -> bool:
    """Whether its views are square tiles: small pieces of something large have no upper edge."""
    height, width = config.image_size
    return config.tile.size is not None and height == width


def _say(on_event: Listener, text: str) -> None:
    on_event(Message(f"chosen  {text}"))


def _given(config: TrainConfig) -> set[str]:
    """The dotted keys that were given."""
    found = set(config.model_fields_set)
    for name in ("model", "tile", "augment", "sampling"):
        found |= {f"{name}.{key}" for key in getattr(config, name).model_fields_set}
    return found


def _survey(split: Split) -> Survey | None:
    """The split in numbers; None where no image or no box can be read, which training tells."""
    marked = [row for row, labels in enumerate(split.labels) if len(labels.labels)]
    rows = _spread(range(len(split.paths)))
    if not set(rows) & set(marked):  # so rare that none of these shows one
        rows = _spread(marked)
    sizes, boxes = [], []
    for row in rows:
        try:
            size = image_size(split.paths[row])
        except DataError:
            continue
        sizes.append(size)
        boxes.append(_sides(split.labels[row].boxes, size))
    found = np.concatenate(boxes) if boxes else np.zeros((0, 2))
    if not len(found):
        return None
    good = 1 - len(marked) / len(split.paths)
    sides, longest = np.sqrt(found.prod(axis=1)), found.max(axis=1)
    shape = np.array(sizes, dtype=np.float64)
    count = sum(len(split.labels[row].labels) for row in marked)
    return Survey(len(split.paths), count, shape, sides, longest, good)


def _spread(rows: Sequence[int]) -> list[int]:
    """Up to _HEADERS of ``rows``, from the first to the last."""
    chosen = np.linspace(0, len(rows) - 1, min(_HEADERS, len(rows))).round().astype(int)
    return [rows[place] for place in chosen]


def _sides(boxes: NDArray[np.float64], size: ImageSize) -> NDArray[np.float64]:
    """Widths and heights (T, 2) in pixels of boxes (T, 4) as shares of the image."""
    height, width = size
    sides: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]) * np.array([width, height])
    return sides


def _seen_at(survey: Survey) -> tuple[list[int], list[int] | None, str]:
    """The network input (H, W), the tile or None, and a line that says why."""
    height, width = survey.shape
    longest = max(height, width)
    scale = min(1.0, _LARGEST / longest)
    scale = min(scale, max(_ENOUGH / survey.small, _SMALLEST / longest))
    facts = f"images {width:.0f} pixels wide and {height:.0f} high, nine of ten boxes of"
    facts = f"{facts} {survey.small:.0f} pixels or more"
    if survey.small * scale < _LEAST and longest > _LARGEST:
        tile = max(_TILE_INPUT * survey.small / _IN_TILE, 1.25 * np.percentile(survey.longest, 95))
        side = min(_whole(tile), _whole(longest))
        why = f"tiles of {side} pixels, seen at {_TILE_INPUT}"
        return [_TILE_INPUT, _TILE_INPUT], [side, side], f"{why}: {facts}"
    sides = [_whole(height * scale), _whole(width * scale)]
    if max(sides) < 1.5 * min(sides):
        sides = [max(sides)] * 2
    return sides, None, f"image size {sides[0]}x{sides[1]}: {facts}"


def _whole(side: float) -> int:
    """The multiple of 32 that is nearest, at least 32."""
    return max(32, 32 * round(side / 32))


def _samples(survey: Survey, tile: Sequence[int] | None) -> int:
    """About how many samples an epoch shows: with tiles those with a box and as many without."""
    if tile is None:
        return survey.images
    return min(survey.images * _tiles(survey, tile), 2 * survey.boxes)


def _tiles(survey: Survey, tile: Sequence[int]) -> int:
    """About how many tiles cover an image."""
    height, width = (ceil(side / (0.8 * tile[0])) for side in survey.shape)
    return height * width
