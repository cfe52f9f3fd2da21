"""The last training: a run once more, on train and val together."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from kdlnet.config import TrainConfig, load_config
from kdlnet.data.digest import images_digest
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import EpochDone, Message, RunStarted
from kdlnet.inference.weights import Weights, copy_weights, load_weights, save_weights
from kdlnet.metrics.operating_point import Goal
from kdlnet.models.zoo import build_model
from kdlnet.training import run_folder
from kdlnet.training.final import repeated
from kdlnet.training.loop import LoopState
from kdlnet.training.run_folder import RunFolder
from kdlnet.verbs.baseline import measure_gain
from kdlnet.verbs.calibrate import calibrate
from kdlnet.verbs.compare import compare
from kdlnet.verbs.distill import distill
from kdlnet.verbs.export import export
from kdlnet.verbs.fuse import fuse
from kdlnet.verbs.train import TrainResult, train
from kdlnet.verbs.val import validate

from ..support.interrupt import StopAt
from ..support.squares import make_dataset


@dataclass(frozen=True)
class Trained:
    """A run on train alone, from weights that somebody named, and its repetition."""

    before: TrainResult
    init: Path
    final: TrainResult
    events: list[object]


def _settings(run: Path, **flags: object) -> TrainConfig:
    return load_config(RunFolder(run).config, flags)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("final")
    settings = {"data.name": str(dataset), "model.name": "lightnet-n", "image_size": 64}
    config = load_config(None, {**settings, "batch": 4, "epochs": 2, "device": "cpu"})
    init = train(config, out=folder / "init").best
    before = train(config, out=folder / "before", init=init)
    copy_weights(before.best, before.best, thresholds={"score": 0.3125})
    events: list[object] = []
    config = _settings(before.folder)
    final = train(config, final=before.folder, out=folder / "final", on_event=events.append)
    return Trained(before, init, final, events)


def test_it_is_the_same_run_with_more_images(trained: Trained) -> None:
    started = next(event for event in trained.events if isinstance(event, RunStarted))
    assert (started.train_images, started.val_images) == (24, 0)
    own, other = (load_config(RunFolder(r.folder).config) for r in (trained.before, trained.final))
    assert other == own.changed(data={"with_val": True})
    assert any(f"started from {str(trained.init)!r}" in line for line in _lines(trained.events))


def test_nothing_is_measured_and_the_last_epoch_is_kept(trained: Trained) -> None:
    best, last = load_weights(trained.final.best), load_weights(trained.final.last)
    for key, value in last.detector.state_dict().items():
        assert torch.equal(value, best.detector.state_dict()[key])
    assert best.metrics == {"epoch": 1, "ap": None, "ap50": None, "ap75": None}
    with (trained.final.folder / "results.csv").open() as stream:
        assert [row["ap"] for row in csv.DictReader(stream)] == ["", ""]
    assert all(e.row["ap"] is None for e in trained.events if isinstance(e, EpochDone))


def test_it_keeps_the_thresholds_of_the_run_that_was_measured(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    assert load_weights(trained.final.best).thresholds == {"score": 0.3125}
    run = tmp_path / "run"
    shutil.copytree(trained.before.folder, run)
    chosen = calibrate(run / "weights" / "best.pt", Goal("recall", 0.5), data=str(dataset))
    result = train(_settings(run, epochs=1), final=chosen.path, out=tmp_path / "final")
    rule = load_weights(chosen.path).thresholds
    assert load_weights(result.best).thresholds == rule != {"score": 0.3125}


def test_thresholds_of_scores_that_know_good_parts_are_told(trained: Trained) -> None:
    """A training leaves what was learned of good parts, and its scores are others."""
    best, config = load_weights(trained.before.best), _settings(trained.before.folder)
    arguments = replace(best.arguments, normality=True)
    detector = build_model(best.model, arguments, seed=0)
    file = trained.before.best.with_name("best-anomaly.pt")
    save_weights(file, replace(best, arguments=arguments, detector=detector))
    events: list[object] = []
    repeated(trained.before.folder, config, None, events.append)
    assert not any("good parts" in line for line in _lines(events))
    repeated(file, config, None, events.append)
    assert "its thresholds are of other scores" in _lines(events)[-1]


def test_a_kill_before_best_was_written_leaves_the_thresholds_in_last(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the best.pt before are of an epoch that was worse."""
    run, save, seen = tmp_path / "run", run_folder.save_weights, {}

    def cut(path: Path, weights: Weights) -> None:
        number = len(seen)
        if path.name == "last.pt":
            seen[number] = weights.thresholds = {"score": 0.25 + 0.125 * number}
        elif number == 3:  # with the start before the first epoch
            raise KeyboardInterrupt
        save(path, weights)

    figures, judge = iter([0.1, 0.2]), LoopState.judge
    monkeypatch.setattr(LoopState, "judge", lambda state, n, _: judge(state, n, next(figures)))
    monkeypatch.setattr(run_folder, "save_weights", cut)
    settings = {"data.name": str(dataset), "model.name": "lightnet-n", "image_size": 64}
    with pytest.raises(KeyboardInterrupt):
        train(load_config(None, {**settings, "batch": 4, "epochs": 3, "device": "cpu"}), out=run)
    monkeypatch.undo()
    old = (run / "weights" / "best.pt").read_bytes()
    result = train(_settings(run, epochs=1), final=run, out=tmp_path / "final")
    known = load_weights(run / "weights" / "last.pt").thresholds
    assert load_weights(run / "weights" / "best.pt").thresholds != known
    assert load_weights(result.best).thresholds == known
    assert (run / "weights" / "best.pt").read_bytes() == old


def test_the_run_that_is_repeated_is_never_replaced(trained: Trained) -> None:
    run = trained.before.folder
    before = trained.before.best.read_bytes()
    with pytest.raises(DataError, match=r"--overwrite would delete .*, which is read here"):
        train(_settings(run), final=run, out=run, overwrite=True)
    assert trained.before.best.read_bytes() == before


def test_what_it_began_with_is_gone(trained: Trained, tmp_path: Path) -> None:
    run, elsewhere = trained.before.folder, trained.init.with_name("elsewhere.pt")
    trained.init.rename(elsewhere)
    try:
        with pytest.raises(WeightsError, match=r"which the run began with, .* give it with --init"):
            train(_settings(run), final=run, out=tmp_path / "a")
        events: list[object] = []
        config = _settings(run, **{"model.start": "none", "epochs": 1})
        scratch = train(config, final=run, out=tmp_path / "a", on_event=events.append)
    finally:
        elsewhere.rename(trained.init)
    assert not any("started from" in line for line in _lines(events))
    assert load_weights(scratch.last).training["init"] is None


def test_a_cut_one_goes_on_as_it_was(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        config = _settings(trained.before.folder)
        train(config, final=trained.before.folder, out=tmp_path / "a", on_event=StopAt(1))
    resumed = train(config, resume=tmp_path / "a")
    one, two = load_weights(resumed.last), load_weights(trained.final.last)
    for key, value in one.detector.state_dict().items():
        assert torch.equal(value, two.detector.state_dict()[key])
    assert one.thresholds == {"score": 0.3125}
    assert one.training["init"] == two.training["init"] == str(trained.init)
    again = train(_settings(tmp_path / "a", epochs=1), final=tmp_path / "a", out=tmp_path / "b")
    assert load_weights(again.last).training["init"] == str(trained.init)


def _flattered(file: Path, data: Path, split: str, out: Path) -> tuple[int | None, list[str]]:
    """What val counts as learned, in the file and on the page, and says of it."""
    events: list[object] = []
    place = {"out": out, "overwrite": True, "pictures": False}
    result = validate(file, data=str(data), split=split, **place, on_event=events.append)
    assert json.loads((out / "metrics.json").read_text())["learned_images"] == result.learned
    page = (out / "report.html").read_text()
    assert ("has learned from" in page) == bool(result.learned)
    return result.learned, [line for line in _lines(events) if "flatter" in line]


def test_figures_on_images_that_were_learned_say_so(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    fused, exported = tmp_path / "fused.pt", tmp_path / "exported.onnx"
    fuse(trained.final.best, out=fused)
    export(fused, out=exported, data=str(dataset))
    for file, split, learned in (
        (trained.final.best, "val", 12),
        (exported, "val", 12),
        (trained.final.best, "train", 12),
        (trained.before.best, "train", 12),
        (trained.before.best, "val", 0),
    ):
        text = f"{file} has learned from all images of {split}: figures on it flatter"
        found = _flattered(file, dataset, split, tmp_path / "v")
        assert found == (learned, [text] if learned else []), (file, split)


def test_images_are_known_one_by_one_whatever_they_are_called(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    """A split made anew: images of train under other names, beside some that no training saw."""
    mixed = make_dataset(tmp_path / "mixed", size=80)
    place = mixed.parent / "images" / "val"
    for number in range(10):
        shutil.copy(dataset.parent / f"images/train/{number}.png", place / f"m{number}.png")
        shutil.copy(dataset.parent / f"labels/train/{number}.txt", mixed.parent / "labels" / "val")
        (mixed.parent / f"labels/val/{number}.txt").rename(
            mixed.parent / f"labels/val/m{number}.txt"
        )
    best, out = trained.before.best, tmp_path / "v"
    text = f"{best} has learned from 10 of 22 images of val: figures on it flatter"
    assert _flattered(best, mixed, "val", out) == (10, [text])
    for file in place.glob("?.png"):
        file.unlink()
    for file in place.glob("1?.png"):
        file.unlink()
    text = f"{best} has learned from all images of val: figures on it flatter"
    assert _flattered(best, mixed, "val", out) == (10, [text])
    (place / "m3.png").unlink()
    assert _flattered(best, mixed, "val", out) == (9, [text])
    chosen = calibrate(best, Goal("recall", 0.5), data=str(mixed), out=tmp_path / "c.pt")
    assert chosen.to_dict()["chosen_on"]["learned_images"] == 9
    assert load_weights(chosen.path).learned == load_weights(best).learned


def test_several_sets_are_known_each(trained: Trained, dataset: Path, tmp_path: Path) -> None:
    more = make_dataset(tmp_path / "more", count=5, size=80)
    names = {"data.name": [str(dataset), str(more)], "epochs": 1}
    both = train(_settings(trained.before.folder, **names), out=tmp_path / "a")
    out = tmp_path / "v"
    assert [_flattered(both.best, data, "train", out)[0] for data in (dataset, more)] == [12, 5]
    assert [_flattered(both.best, data, "val", out)[0] for data in (dataset, more)] == [0, 0]
    config = _settings(both.folder)
    final = train(config, final=both.folder, out=tmp_path / "b")
    assert [_flattered(final.best, data, "val", out)[0] for data in (dataset, more)] == [12, 5]


def test_what_a_training_begins_with_has_learned_too(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    other = make_dataset(tmp_path / "other", count=5, size=80)
    config = _settings(trained.before.folder, **{"data.name": str(other), "epochs": 2})
    with pytest.raises(KeyboardInterrupt):
        train(config, init=trained.final.best, out=tmp_path / "a", on_event=StopAt(1))
    tuned = train(config, resume=tmp_path / "a").best
    for data, split, learned in (
        (dataset, "train", 12),
        (dataset, "val", 12),
        (other, "train", 5),
        (other, "val", 0),
    ):
        assert _flattered(tuned, data, split, tmp_path / "v")[0] == learned, (data, split)


def test_a_file_of_an_older_version_knows_whole_splits(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    old, silent = tmp_path / "old.pt", tmp_path / "silent.pt"
    images = sorted((dataset.parent / "images" / "val").iterdir())
    copy_weights(trained.before.best, old, learned=[images_digest(images)])
    copy_weights(trained.before.best, silent, learned=[])
    fuse(old, out=tmp_path / "fused.pt")
    export(old, out=tmp_path / "old.onnx", data=str(dataset))
    for file in (old, tmp_path / "fused.pt", tmp_path / "old.onnx"):
        text = f"{file} has learned from all images of val: figures on it flatter"
        assert _flattered(file, dataset, "val", tmp_path / "v") == (12, [text])
        assert _flattered(file, dataset, "train", tmp_path / "v") == (None, [])
    assert _flattered(silent, dataset, "train", tmp_path / "v") == (None, [])


def test_comparing_and_calibrating_on_them_says_so(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    events: list[object] = []
    settings = {"data": str(dataset), "on_event": events.append}
    found = compare([trained.before.best], [trained.final.best], out=tmp_path / "c", **settings)
    assert [row["learned_images"] for row in found.figures] == [0, 12]
    assert sum("figures on it flatter" in line for line in _lines(events)) == 1
    calibrate(trained.final.best, Goal("recall", 0.5), out=tmp_path / "c.pt", **settings)
    assert sum("figures on it flatter" in line for line in _lines(events)) == 2


def test_another_dataset_of_the_same_names_was_not_learned(
    trained: Trained, tmp_path: Path
) -> None:
    other = make_dataset(tmp_path / "other", size=80)
    events: list[object] = []
    validate(trained.final.best, data=str(other), out=tmp_path / "v", on_event=events.append)
    assert not any("flatter" in line for line in _lines(events))


def test_a_set_without_val_adds_what_it_has(
    trained: Trained, dataset: Path, tmp_path: Path
) -> None:
    more = make_dataset(tmp_path / "more", count=5)
    more.write_text(more.read_text().replace("val: images/val\n", ""))
    events: list[object] = []
    config = _settings(
        trained.before.folder, **{"data.name": [str(dataset), str(more)], "epochs": 1}
    )
    train(config, final=trained.before.folder, out=tmp_path / "a", on_event=events.append)
    started = next(event for event in events if isinstance(event, RunStarted))
    assert started.train_images == 12 + 12 + 5


def test_under_a_teacher(trained: Trained, dataset: Path, tmp_path: Path) -> None:
    config = load_config(RunFolder(trained.before.folder).config, {"epochs": 1})
    taught = distill(config, teachers=[trained.before.best], out=tmp_path / "a")
    copy_weights(taught.best, taught.best, thresholds={"score": 0.21})
    result = distill(_settings(taught.folder), final=taught.folder, out=tmp_path / "b")
    assert load_weights(result.best).thresholds == {"score": 0.21}
    assert load_config(RunFolder(result.folder).config).distill.teachers == (
        str(trained.before.best),
    )
    assert (result.folder / "report.html").is_file()
    with pytest.raises(ConfigError, match="has a teacher: use kdlnet distill --final"):
        train(_settings(taught.folder), final=taught.folder, out=tmp_path / "c")
    with pytest.raises(ConfigError, match="has no teacher: use kdlnet train --final"):
        distill(config, final=trained.before.folder, out=tmp_path / "c")


def test_a_teacher_that_is_another_by_now_repeats_nothing(trained: Trained, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    shutil.copy(trained.before.best, teacher)
    config = load_config(RunFolder(trained.before.folder).config, {"epochs": 1})
    run = distill(config, teachers=[teacher], out=tmp_path / "a").folder
    shutil.copy(trained.init, teacher)
    with pytest.raises(WeightsError, match=r"another file than the one .* one with --teacher"):
        distill(_settings(run), final=run, out=tmp_path / "b")
    teacher.unlink()
    with pytest.raises(WeightsError, match=r"does not exist: bring it back .* one with --teacher"):
        distill(_settings(run), final=run, out=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    named = distill(_settings(run), final=run, teachers=[trained.init], out=tmp_path / "b")
    assert load_weights(named.best).metrics["epoch"] == 0


def test_a_series_measures_and_so_cannot(trained: Trained, tmp_path: Path) -> None:
    config = _settings(trained.final.folder)
    with pytest.raises(ConfigError, match="train the teacher first"):
        distill(config, out=tmp_path / "a")
    with pytest.raises(ConfigError, match="train the teacher first"):
        measure_gain(config, seeds=[0], out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_is_no_run_is_refused(trained: Trained, tmp_path: Path) -> None:
    config = _settings(trained.before.folder)
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "series.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds several trainings"):
        train(config, final=tmp_path / "series")
    with pytest.raises(ConfigError, match="holds several trainings"):
        distill(config, final=tmp_path / "series")
    (last := tmp_path / "series" / "seed-0" / "student" / "weights" / "last.pt").parent.mkdir(
        parents=True
    )
    last.touch()
    with pytest.raises(ConfigError, match=r"of one, such as '.*series/seed-0/student'"):
        distill(config, final=tmp_path / "series")
    with pytest.raises(ConfigError, match=r"holds no weights/last\.pt"):
        train(config, final=tmp_path)


def test_a_run_of_an_older_version_is_asked_what_it_began_with(
    trained: Trained, tmp_path: Path
) -> None:
    old, config = tmp_path / "old", load_config(RunFolder(trained.before.folder).config)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=old, on_event=StopAt(1))
    content = torch.load(RunFolder(old).last, weights_only=True)
    del content["training"]["init"]
    torch.save(content, RunFolder(old).last)
    with pytest.raises(WeightsError, match="give them with --init FILE"):
        train(config, final=old)
    train(config, resume=old)
    with pytest.raises(WeightsError, match="give them with --init FILE"):
        train(config, final=old)
    shorter = config.changed(epochs=1)
    result = train(shorter, final=old, init=Path("lightnet-n-start"), out=tmp_path / "new")
    assert load_weights(result.last).training["init"].endswith("lightnet-n-start.safetensors")


def _lines(events: list[object]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message)]
