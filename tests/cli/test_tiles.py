"""``--tile``, ``--overlap``, ``--roi`` and ``--window`` through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Command, FakeEngine


def test_train_takes_tiles_as_settings(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet("train --data set --tile 480x640 --overlap 0.1 --set data.window=0-4095")
    assert run.code == 0, run.err
    config = engine.call["config"]
    assert (config.tile.size, config.tile.overlap) == ((480, 640), 0.1)
    assert config.data.window == (0, 4095)


def test_val_takes_what_replaces_the_contract(kdlnet: Command, engine: FakeEngine) -> None:
    run = kdlnet("val a.pt --data set --tile 320 --overlap 0.3 --window 100-900.5")
    assert run.code == 0, run.err
    options = engine.call
    assert (options["tile"], options["overlap"]) == ((320, 320), 0.3)
    assert options["window"] == (100, 900.5)
    engine.calls.clear()
    assert kdlnet("val a.pt --data set --tile off").code == 0
    assert engine.call["tile"] == "off" and "window" not in engine.call


@pytest.mark.parametrize("verb", ["train", "distill --teacher a.pt"])
def test_trainings_take_a_region_of_interest(
    kdlnet: Command, engine: FakeEngine, verb: str, dataset: Path, weights: Path
) -> None:
    line = f"{verb} --roi 8,16,72,80 --epochs 1 --image-size 64 --device cpu --out run --data"
    if verb == "train":
        run = kdlnet(line, dataset)
        assert run.code == 0 and engine.call["config"].data.roi == (8, 16, 72, 80), run.err
        return
    run = kdlnet(line.replace("a.pt", str(weights)), dataset)
    assert run.code == 1 and "the student would see roi [8, 16, 72, 80]" in run.err


def test_what_replaces_the_region_of_interest(kdlnet: Command, engine: FakeEngine) -> None:
    assert kdlnet("val a.pt --data set --roi 8,16,72,80").code == 0
    assert engine.call["roi"] == (8, 16, 72, 80)
    engine.calls.clear()
    assert kdlnet("val a.pt --data set --roi off").code == 0
    assert engine.call["roi"] == "off"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--tile 5", "tile '5': give pixels of the original image, 32 or more"),
        ("--tile big", "or off for whole images"),
        ("--overlap 0.3", "there are no tiles to overlap; give --tile"),
        ("--tile 64 --overlap 0.95", "overlap 0.95 is out of range: allowed is 0 to 0.9"),
        ("--window 9-3", "window '9-3': give the lower value first"),
        ("--window 4095", "for example 0-4095"),
        ("--roi 1,2,3", "region of interest '1,2,3': give X1,Y1,X2,Y2, its corners"),
        ("--roi 9,9,20,20", "32 or more a side, for example 100,50,1720,980, or off"),
    ],
)
def test_wrong_values_are_answered_in_one_line(
    kdlnet: Command, weights: Path, dataset: Path, options: str, words: str
) -> None:
    for verb in (f"predict {dataset}", f"bench --data {dataset}", f"val --data {dataset}"):
        run = kdlnet(f"{verb} {options} --device cpu --weights", weights)
        assert run.code == 1 and words in run.error


def test_wrong_values_of_train(kdlnet: Command) -> None:
    run = kdlnet("train --data set --tile 8")
    assert run.code == 1 and "tile '8'" in run.error
    assert "overlap" in kdlnet("train --data set --tile 64 --overlap 2").error


def test_predict_tells_its_tiles(kdlnet: Command, weights: Path, dataset: Path) -> None:
    run = kdlnet(
        f"predict {dataset} --tile 64 --roi 0,0,90,80 --out here --save json --device cpu -q "
        "--weights",
        weights,
    )
    assert run.code == 0, run.err
    contract = json.loads(Path("here/predictions.json").read_text())["preprocess"]
    assert contract["tiling"] == {"size": [64, 64], "overlap": 0.2}
    assert contract["roi"] == [0, 0, 90, 80]
