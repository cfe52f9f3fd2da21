"""Settings chosen from the dataset where nobody gave them: docs/defaults.md has the rules.

What was given stays. The size of images and boxes is read from file headers and label files alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from kdlnet.config import TrainConfig
from kdlnet.data.labels import Split
from kdlnet.data.seen import seen_at
from kdlnet.data.survey import SplitSurvey, survey_of
from kdlnet.data.tiling import tiles_with_a_target
from kdlnet.events import Listener, Message
from kdlnet.images.tiles import tile_grid
from kdlnet.inference.transfer import model_of
from kdlnet.inference.weights import load_weights
from kdlnet.types import Tiling
from kdlnet.utils.device import find_device
from kdlnet.utils.words import counted

_CUT = 40  # of so many images with a box their tiles are looked through
_FULL_BATCHES = 128  # samples; with fewer a batch is smaller
_SEEN = 120_000  # samples that a training sees
_EPOCHS = (20, 300)
_GOOD = 0.25  # share of good parts from which defects are copied onto them
_SHOWN = 0.85  # share of tiles with a defect
_VALIDATIONS = (10, 60)
_PASSES = 2  # of so many tiles of val while one is trained on: a step goes forth and back
_MEASURING = 0.25  # of the time of training, where val has many tiles

_Choice = tuple[dict[str, Any], str]
"""Settings, and what to say of them; nothing where it goes without saying."""

_NOTHING: _Choice = {}, ""


class _Views(NamedTuple):
    """How many images or tiles an epoch shows; ``of_image`` are all of one image.

    Of tiles ``samples`` are those with a box and some without. A box is a target of each of the
    tiles that show enough of it; ``apart`` counts it once.
    """

    samples: int
    apart: int
    of_image: float


def suited(
    config: TrainConfig, found: tuple[Split, Split], init: Path | None, on_event: Listener
) -> TrainConfig:
    """``config`` with values that suit ``found``, its two splits, wherever it was given none.

    With ``init`` the model is that of these weights. Lines through ``on_event`` say what was chosen
    and why.
    """
    survey = survey_of(*found, config.data.roi)
    if survey is None:
        return config
    given = _given(config)
    if "model.name" not in given:
        config = config.changed(model=_model(config, init, on_event))
    for keys, rule in _RULES.items():
        if not given.intersection(keys):
            values, why = rule(config, survey)
            if why:
                _say(on_event, why)
            config = config.changed(**values)
    return config


def _model(config: TrainConfig, init: Path | None, on_event: Listener) -> dict[str, str]:
    """What a model that nobody named is: that of ``init``, or the one for the device."""
    if init is not None:
        model = model_of(load_weights(init, start=True), config.model)
        _say(on_event, f"{model['name']}: the model of {str(init)!r}; --model")
        return model
    if find_device(config.device).type == "cpu":
        _say(on_event, "lightnet-n: the quick model, and it has a start; --model")
        return {"name": "lightnet-n"}
    return {}


def _say(on_event: Listener, text: str) -> None:
    on_event(Message(f"chosen  {text}"))


def _given(config: TrainConfig) -> set[str]:
    """The dotted keys that were given."""
    found = set(config.model_fields_set)
    for name in ("model", "tile", "augment", "sampling"):
        found |= {f"{name}.{key}" for key in getattr(config, name).model_fields_set}
    return found


def _seen_at(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    """The network input (H, W), and the tile where too little of a box would be left."""
    upright = not config.augment.quarter_turns and config.augment.degrees <= 45
    seen = seen_at(survey, upright)
    values: dict[str, Any] = {"image_size": list(seen.image_size)}
    if seen.tile is not None:
        values["tile"] = {"size": list(seen.tile)}
    return values, f"{seen.why}; --image-size, --tile"


def _batch(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    samples = _views(config, survey).samples
    if samples >= _FULL_BATCHES:
        return _NOTHING
    batch = 8 if samples >= 32 else 4
    return {"batch": batch}, f"batch {batch}: about {counted(samples, 'sample')}; --batch"


def _epochs(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    if config.time is not None:
        return _NOTHING
    views = _views(config, survey)
    low, high = _EPOCHS
    epochs = min(high, max(low, ceil(_SEEN / views.apart)))
    why = f"{epochs} epochs of about {counted(views.samples, 'sample')}; --epochs, --time"
    return {"epochs": epochs}, why


def _val_every(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    """Epochs from one validation, which sees all tiles of val, to the next."""
    fewest, most = _VALIDATIONS
    usual = max(1, config.epochs // most)
    if config.tile.size is None:
        return {"val_every": usual}, ""
    views = _views(config, survey)
    tiles = round(survey.val_images * views.of_image)
    most_often = tiles / (_PASSES * views.samples * _MEASURING)
    rare = min(ceil(most_often), config.epochs // fewest)
    if rare <= usual:
        return {"val_every": usual}, ""
    why = f"measured on val every {rare} epochs: it has about {tiles} tiles"
    return {"val_every": rare}, f"{why}; --set val_every={usual}"


def _copy_paste(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    if survey.good < _GOOD:
        return _NOTHING
    why = f"defects copied onto other images: {survey.good:.0%} are good parts"
    return {"augment": {"copy_paste": 0.5}}, f"{why}; --set augment.copy_paste=0"


def _turns(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    """Small square pieces of something large have no upper edge."""
    height, width = config.image_size
    if config.tile.size is None or height != width:
        return _NOTHING
    return (
        {"augment": {"quarter_turns": 1.0}},
        "tiles turned by quarters; --set augment.quarter_turns=0",
    )


def _shown(config: TrainConfig, survey: SplitSurvey) -> _Choice:
    """Empty tiles are soon learned."""
    if config.tile.size is None:
        return _NOTHING
    why = f"{_SHOWN:.0%} of what is seen shows a defect; --set sampling.defects=0.5"
    return {"sampling": {"defects": _SHOWN}}, why


_RULES: dict[tuple[str, ...], Callable[[TrainConfig, SplitSurvey], _Choice]] = {
    ("image_size", "tile.size"): _seen_at,
    ("batch",): _batch,
    ("epochs",): _epochs,
    ("val_every",): _val_every,
    ("augment.copy_paste",): _copy_paste,
    ("augment.quarter_turns",): _turns,
    ("sampling.defects",): _shown,
}
"""What is chosen where none of these keys was given, in this order: later rules see the settings
that earlier ones chose."""


def _views(config: TrainConfig, survey: SplitSurvey) -> _Views:
    """About what an epoch shows. Boxes close together share a tile."""
    if config.tile.size is None:
        return _Views(survey.images, survey.images, 1.0)
    tiling = Tiling(config.tile.size, config.tile.overlap)
    grids = [tile_grid((int(height), int(width)), tiling) for height, width in survey.sizes]
    marked = [pair for pair in zip(survey.placed, grids, strict=True) if len(pair[0])]
    marked = marked[:: ceil(len(marked) / _CUT)]
    least = config.tile.min_visible
    shown = sum(len(tiles_with_a_target(boxes, tiles, least)) for boxes, tiles in marked)
    times = shown / sum(len(boxes) for boxes, _ in marked)
    of_image = fmean(map(len, grids))

    def samples(of_box: float) -> int:
        seen = survey.boxes * of_box * (1 + config.tile.background)
        return max(1, round(min(survey.images * of_image, seen)))

    return _Views(samples(times), samples(min(1.0, times)), of_image)
