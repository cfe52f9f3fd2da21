"""A run on two datasets with other classes, from train to val and after a stop and a move."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kdlnet import Detector
from kdlnet.config import TrainConfig, build_config
from kdlnet.data.catalog import find_dataset
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Message
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import load_weights
from kdlnet.types import Preprocess
from kdlnet.verbs.calibrate import Goal, calibrate
from kdlnet.verbs.compare import compare
from kdlnet.verbs.train import train
from kdlnet.verbs.val import validate

from ..support.interrupt import StopAt
from ..support.squares import make_dataset
from ..support.weights_file import save_busy


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sets of the same pictures; the discs of the second are called hole."""
    folder = tmp_path_factory.mktemp("sets")
    make_dataset(folder / "a", 8)
    other = make_dataset(folder / "b", 8)
    other.write_text(other.read_text().replace("disc", "hole"))
    return folder


def _config(sets: Path, **values: object) -> TrainConfig:
    names = [str(sets / name / "data.yaml") for name in ("a", "b")]
    settings = {"model": {"name": "lightnet-n"}, "image_size": 64, "batch": 4, "epochs": 2}
    return build_config({**settings, "data": {"name": names}, "device": "cpu", **values})


def test_a_joined_run_stops_moves_and_goes_on(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets, tmp_path / "sets")
    config = _config(tmp_path / "sets")
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "run", on_event=StopAt(1))
    (tmp_path / "sets").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="if it was moved"):
        train(TrainConfig(), resume=tmp_path / "run")
    moved = _config(tmp_path / "moved")
    events: list[object] = []
    result = train(moved, resume=tmp_path / "run", on_event=events.append)
    said = [event.text for event in events if isinstance(event, Message)]
    assert any("joined 3 classes of a (2), b (2)" in line for line in said)
    assert any(line.endswith("of one name: square") for line in said)
    weights = load_weights(result.best)
    assert weights.names == ("square", "disc", "hole")


def test_on_one_set_only_boxes_of_its_own_classes_count(sets: Path, tmp_path: Path) -> None:
    result = train(_config(sets, epochs=1), out=tmp_path / "run")
    runtime = open_runtime(result.best, device="cpu")
    said: list[object] = []
    info = find_dataset(str(sets / "b"))
    dataset, _ = open_split(runtime, info, "val", None, False, said.append)
    found = detect(runtime.engine, dataset, 4)
    assert {int(label) for each in found for label in each.labels} == {0, 2}
    assert {int(label) for each in found for label in each.truth_labels} == {0, 2}
    others = [each.others for each in found if each.others is not None]
    assert len(others) == len(found)
    assert {int(label) for each in others for label in each.labels} == {1}
    (warning,) = (event for event in said if isinstance(event, Message))
    assert warning.level == "warning"
    assert warning.text.startswith(
        "b has no class disc: whether boxes of it are right is not known"
    )


def test_verdicts_on_one_set_are_those_of_predict(sets: Path, tmp_path: Path) -> None:
    """Weights of three classes on a set of two: a box of the third makes a part NG, too."""
    rules = {"square": {"score": 2.0}, "hole": {"score": 2.0}, "disc": {"score": 0.5}}
    contract, names = Preprocess((64, 64)), ("square", "hole", "disc")
    thresholds = {"score": 0.5, "classes": rules}
    file = save_busy(tmp_path / "three.pt", contract, thresholds=thresholds, names=names)
    good = [sets / "b/images/val" / f"{number}.png" for number in (0, 4)]
    measured = validate(
        file, data=str(sets / "b"), out=tmp_path / "val", device="cpu", pictures=False
    )
    found = [each.verdict for each in Detector.load(file, device="cpu").predict(good)]
    assert found == ["NG", "NG"]
    assert measured.verdicts.overall.overkill.count == 2
    assert measured.precision.per_class["disc"].ap is None
    goal = Goal("overkill", 0.0)
    result = calibrate(file, goal, data=str(sets / "b"), report="none", device="cpu")
    assert result.chosen.verdicts.overall.overkill.count == 0
    found = [each.verdict for each in Detector.load(result.path, device="cpu").predict(good)]
    assert found == ["OK", "OK"]


def test_both_sets_are_measured_together(sets: Path, tmp_path: Path) -> None:
    names = ("square", "hole", "disc")
    file = save_busy(tmp_path / "three.pt", Preprocess((64, 64)), names=names)
    both = [str(sets / name) for name in ("a", "b")]
    runs = {"a": both[0], "b": both[1], "both": both}
    found = {
        key: validate(file, data=data, out=tmp_path / key, device="cpu", pictures=False)
        for key, data in runs.items()
    }
    boxes = {
        key: {name: one.precision.per_class[name].truths for name in names}
        for key, one in found.items()
    }
    for name in names:
        assert boxes["both"][name] == boxes["a"][name] + boxes["b"][name]
    assert boxes["a"]["hole"] == boxes["b"]["disc"] == 0 < boxes["both"]["hole"]
    counts = {key: one.verdicts.overall.overkill.of for key, one in found.items()}
    assert counts["both"] == counts["a"] + counts["b"] > 0
    one = compare([file], [file], data=both, out=tmp_path / "pair", device="cpu", rounds=100)
    assert (one.images, one.data) == (16, "a+b")
    goal = Goal("overkill", 0.0)
    rule = calibrate(file, goal, data=both, report="none", device="cpu")
    assert rule.chosen.verdicts.overall.overkill.of == counts["both"]
    with pytest.raises(ConfigError, match="folds of several datasets"):
        validate(tmp_path, data=both, folds=True)
