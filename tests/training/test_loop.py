"""The parts of the loop one by one: schedules, average, what counts as best, the tail."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from kdlnet.config import BEFORE, TrainConfig, build_config, load_config
from kdlnet.data.catalog import find_dataset
from kdlnet.errors import ConfigError, DataError, KdlnetError, WeightsError
from kdlnet.events import Message, ignore
from kdlnet.inference.evaluate import detect, open_split
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.metrics.curves import best_thresholds
from kdlnet.metrics.operating_point import MARGIN
from kdlnet.training import checkpoints, run_folder
from kdlnet.training.augment import Augmenter
from kdlnet.training.average import WeightAverage
from kdlnet.training.loop import LoopState
from kdlnet.training.optim import learning_rate, make_optimizer
from kdlnet.training.run_folder import RunFolder
from kdlnet.utils.files import write_yaml
from kdlnet.verbs.distill import distill
from kdlnet.verbs.train import train
from kdlnet.verbs.val import validate

from ..support.interrupt import StopAt


def test_learning_rate_at_the_corners() -> None:
    def rate(progress: float) -> float:
        return learning_rate(progress, peak=2.0, final=0.1, warmup=0.2)

    assert rate(0.0) == 0.0
    assert rate(0.1) == pytest.approx(1.0)  # half of the warm-up
    assert rate(0.2) == pytest.approx(2.0)
    assert rate(0.6) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # half of the cosine
    assert rate(1.0) == pytest.approx(0.2)
    assert learning_rate(0.0, 2.0, 0.1, warmup=0.0) == 2.0


def test_the_average_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.5)
    for value in (10.0, 20.0):
        model.weight.data.fill_(value)
        assert model.running_mean is not None
        model.running_mean.fill_(value)
        average.update(model)
    # Decay (1 + n) / (10 + n): 2 / 11, then 3 / 12.
    first = 1 * 2 / 11 + 10 * 9 / 11
    assert average.model.weight.item() == pytest.approx(first * 0.25 + 20 * 0.75)
    mean = (10 * 9 / 11) * 0.25 + 20 * 0.75
    assert average.model.running_mean.item() == pytest.approx(mean)
    average.updates = 10**6
    average.update(model)  # now the decay is the one asked for
    assert average.model.weight.item() == pytest.approx(0.5 * (first * 0.25 + 15) + 0.5 * 20)


def test_only_kernels_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decaying, other = make_optimizer(model, "adamw", 0.1, 0.9, 0.05).param_groups
    assert [p.ndim for p in decaying["params"]] == [4] and decaying["weight_decay"] == 0.05
    assert len(other["params"]) == 3 and other["weight_decay"] == 0


@pytest.mark.parametrize(
    ("scores", "best", "stale"),
    [
        ([0.1, 0.3, 0.2, 0.25], 1, 2),
        ([0.0, 0.0, 0.0], 2, 0),  # nothing found yet: that is no standstill
        ([0.0, 0.0, 0.1, 0.0], 2, 1),
        ([None, None], 1, 0),  # no truth on val: never stale
    ],
)
def test_what_counts_as_best(scores: list[float | None], best: int, stale: int) -> None:
    state = LoopState()
    for epoch, score in enumerate(scores):
        state.judge(epoch, score)
    assert (state.best_epoch, state.stale) == (best, stale)


def _changed(config: TrainConfig, **values: object) -> TrainConfig:
    return build_config({**config.to_dict(), **values})


@pytest.fixture
def mixing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Which epochs were augmented with mosaic, mixup and copy-paste, recorded."""
    seen: list[tuple[int, bool]] = []
    call = Augmenter.__call__

    def record(self, epoch, indices, mixed, device):
        seen.append((epoch, mixed))
        return call(self, epoch, indices, mixed, device)

    monkeypatch.setattr(Augmenter, "__call__", record)
    return seen


@pytest.mark.parametrize(("tail", "last_mixed"), [(0.0, 3), (0.1, 2), (0.5, 1), (1.0, -1)])
def test_the_tail_is_free_of_mosaic(
    config: TrainConfig,
    tmp_path: Path,
    mixing: list[tuple[int, bool]],
    tail: float,
    last_mixed: int,
) -> None:
    data = {"name": str(_images(tmp_path / "set"))}  # a step an epoch
    changed = _changed(config, data=data, epochs=4, val_every=4, optim={"tail": tail})
    train(changed, out=tmp_path / "run")
    assert {epoch for epoch, mixed in mixing if mixed} == set(range(last_mixed + 1))


def test_every_run_ends_with_a_validation_and_a_best_file(
    config: TrainConfig, tmp_path: Path
) -> None:
    result = train(_changed(config, epochs=3, val_every=2, patience=1), out=tmp_path / "run")
    assert result.best.is_file() and result.metrics["ap"] is not None


def test_a_detector_learns_the_toy_set(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Squares and discs are easy: a loop, loss or average that is broken does not get there."""
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)  # only its end matters
    plain = {"mosaic": 0.0, "scale": 0.1}
    changed = _changed(config, epochs=40, val_every=40, augment=plain, optim={"lr": 0.005})
    result = train(changed, out=tmp_path / "run")
    assert result.metrics["ap50"] > 0.5
    # The score with the best F1 on val is kept for predict.
    stored = load_weights(result.best).thresholds["score"]
    measured = validate(result.best, data=config.data.name, out=tmp_path / "val").operating_point
    assert measured is not None
    assert 0 < measured.score - MARGIN - 1e-6 < stored <= measured.score + 1e-6
    weights = load_weights(result.best)
    split, _ = open_split(weights, find_dataset(config.data.name), "val", None, False, ignore)
    found = detect(TorchEngine(weights.detector), split, 4)
    assert stored == pytest.approx(best_thresholds(found, weights.names)[-1], abs=1e-6)


def _images(
    folder: Path, depth: type = np.uint8, label: str | None = "0 0.5 0.5 0.5 0.5\n"
) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for n in range(4):
        image = np.full((64, 64), 100 + n, depth)
        if depth == np.uint16:
            image[:32] = 4000
        cv2.imwrite(str(folder / "images" / f"{n}.png"), image)
        if label:
            (folder / "labels" / f"{n}.txt").write_text(label)
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [a]\n")
    return folder / "data.yaml"


def _trained(config: TrainConfig, data: Path, out: Path, **values: object):
    return train(_changed(config, data={"name": str(data)}, epochs=1, **values), out=out)


def test_an_unreadable_first_image_is_left_out_like_any_other(
    config: TrainConfig, tmp_path: Path
) -> None:
    data = _images(tmp_path / "set")
    (tmp_path / "set" / "images" / "0.png").write_bytes(b"")
    events: list[object] = []
    changed = _changed(config, data={"name": str(data)}, epochs=1)
    train(changed, out=tmp_path / "run", on_event=events.append)
    texts = [event.text for event in events if isinstance(event, Message)]
    assert any("left out" in text and "0.png" in text for text in texts)


def test_no_label_at_all_is_an_error_that_says_where_they_belong(
    config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no box to learn from.*labels/0\.txt"):
        _trained(config, _images(tmp_path / "set", label=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_window_of_deep_images_is_measured_on_the_training_set(
    config: TrainConfig, tmp_path: Path
) -> None:
    result = _trained(config, _images(tmp_path / "set", np.uint16), tmp_path / "run")
    assert load_weights(result.best).preprocess.window == (0.0, 4095.0)  # 4000 takes 12 bits


def test_a_window_that_is_given_is_kept(config: TrainConfig, tmp_path: Path) -> None:
    data = {"name": str(_images(tmp_path / "set", np.uint16)), "window": [50, 5000]}
    result = train(_changed(config, data=data, epochs=1), out=tmp_path / "run")
    assert load_weights(result.best).preprocess.window == (50.0, 5000.0)
    with pytest.raises(ConfigError, match="lower value first"):
        _changed(config, data={**data, "window": [9, 3]})


@pytest.fixture(scope="module")
def _finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"data": {"name": str(dataset)}, "image_size": 64, "batch": 4, "epochs": 1}
    settings |= {"model": {"name": "lightnet-n"}, "device": "cpu"}
    return train(build_config(settings), out=tmp_path_factory.mktemp("finished") / "run").folder


@pytest.fixture
def finished(_finished: Path, tmp_path: Path) -> RunFolder:
    """A run of one epoch with the settings of ``config``."""
    return RunFolder(shutil.copytree(_finished, tmp_path / "run"))


def test_resume_needs_the_run_around_its_file(
    config: TrainConfig, finished: RunFolder, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / "last.pt"
    copy.parent.mkdir()
    copy.write_bytes(finished.last.read_bytes())
    with pytest.raises(WeightsError, match="not inside its run folder"):
        train(config, resume=copy)
    assert [path.name for path in copy.parent.iterdir()] == ["last.pt"]


def test_resume_of_a_run_without_a_checkpoint_says_to_begin_anew(
    config: TrainConfig, tmp_path: Path
) -> None:
    """As one leaves that ended, over an image that had gone, before its first step."""
    RunFolder(tmp_path).begin(config.to_dict(), "float32")
    with pytest.raises(WeightsError, match=r"no weights/last\.pt: .* that began it again$"):
        train(config, resume=tmp_path)


def test_resume_of_a_series_names_the_verb_for_it(config: TrainConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "several students")
    folder.path.mkdir()
    folder.series.write_text("{}")
    with pytest.raises(WeightsError, match=r"kdlnet distill --resume '.*several students'"):
        train(config, resume=folder.path)


def test_resume_takes_the_device_that_is_there_now(
    config: TrainConfig, finished: RunFolder
) -> None:
    moved = config.changed(device="cuda:7")
    assert checkpoints.saved_config(load_weights(finished.last), moved).device == "cuda:7"
    assert checkpoints.saved_config(load_weights(finished.last), config).device == "cpu"
    only = build_config({"data": {"name": config.data.name}})  # says nothing of the device
    assert checkpoints.saved_config(load_weights(finished.last), only).device == "cpu"
    only = build_config({"device": "cuda:7"})
    assert checkpoints.saved_config(load_weights(finished.last), only).device == "cuda:7"
    with pytest.raises(ConfigError, match="cuda:7"):
        train(moved, resume=finished.path)


def test_the_settings_name_the_device_that_a_run_goes_on_with(
    config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config.changed(epochs=2), out=tmp_path / "run", on_event=StopAt(1))
    train(config.changed(device="auto"), resume=tmp_path / "run")
    assert load_config(tmp_path / "run" / "config.yaml").device == "auto"


def test_settings_that_a_run_does_not_know_are_as_before_there_were_these(
    finished: RunFolder,
) -> None:
    """Also where a version between has gone on with the new ones: the checkpoint tells."""
    saved = load_weights(finished.last)
    values = saved.training["config"]
    values["augment"] |= {"blur": 0.25, "noise": 0.25}
    told = values["augment"]
    values["augment"] = {key: told[key] for key in told if key not in ("blur", "noise")}
    del values["sampling"], values["loss"]["mask_weight"]
    write_yaml(finished.config, values)
    old = checkpoints.saved_config(saved, TrainConfig())
    assert (old.augment.blur, old.augment.noise) == (0, 0)
    load_config(base=BEFORE, assignments=["augment.blur=0.7"])
    assert BEFORE["augment"]["blur"] == 0
    assert (old.sampling.defects, old.sampling.rare, old.loss.mask_weight) == (0, 0, 0)
    values["augment"] = told
    between = checkpoints.saved_config(saved, TrainConfig())
    assert (between.augment.blur, between.augment.noise) == (0.25, 0.25)


def test_resume_refuses_a_config_that_was_edited(config: TrainConfig, finished: RunFolder) -> None:
    file = finished.config
    file.write_text(file.read_text().replace("epochs: 1", "epochs: 9"))
    with pytest.raises(ConfigError, match=r"config\.yaml.*was changed"):
        train(config, resume=finished.path)


def test_patience_ends_a_run_that_stands_still_and_so_does_resume(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = LoopState.judge
    monkeypatch.setattr(LoopState, "judge", lambda state, epoch, _: judge(state, epoch, 0.5))
    first = train(_changed(config, patience=2, epochs=50), out=tmp_path / "run")
    rows = (first.folder / "results.csv").read_text().splitlines()
    assert first.reason == "patience" and len(rows) == 1 + 3
    before = first.last.read_bytes()
    assert train(config, resume=first.folder).reason == "patience"
    assert first.last.read_bytes() == before


@pytest.mark.parametrize("writes", [3, 4, 5])  # last.pt, then last.pt and best.pt of each epoch
def test_best_is_of_an_epoch_that_last_knows_wherever_a_kill_falls(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """What is trained once more may come out worse, by another clock or on another device."""
    figures, judge = iter([0.1, 0.2]), LoopState.judge
    monkeypatch.setattr(LoopState, "judge", lambda state, n, _: judge(state, n, next(figures)))
    save, left = run_folder.save_weights, writes

    def cut(path: Path, weights: Weights) -> None:
        nonlocal left
        save(path, weights)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "save_weights", cut)
    with pytest.raises(KeyboardInterrupt):
        train(_changed(config, epochs=3), out=tmp_path / "run")
    known = load_weights(tmp_path / "run/weights/last.pt")
    figures = iter([0.01] * 3)
    resumed = train(config, resume=tmp_path / "run")
    assert resumed.metrics["epoch"] == known.training["state"]["best_epoch"]
    best = load_weights(resumed.best)
    assert best.describe() == known.describe()
    for name, tensor in best.detector.state_dict().items():
        assert torch.equal(tensor, known.detector.state_dict()[name])


def test_a_best_that_a_person_put_there_stays_when_a_run_that_is_over_is_resumed(
    config: TrainConfig, tmp_path: Path
) -> None:
    best = train(_changed(config, epochs=1), out=tmp_path / "run").best
    written = load_weights(best)
    for metrics in ({}, {"epoch": 57, "ap": 0.5}):
        save_weights(best, replace(written, metrics=metrics))
        before = best.read_bytes()
        train(config, resume=tmp_path / "run")
        assert best.read_bytes() == before
    best.unlink()
    train(config, resume=tmp_path / "run")
    assert load_weights(best).describe() == written.describe()


def test_overwrite_does_not_delete_what_is_read(config: TrainConfig, finished: RunFolder) -> None:
    out, best = finished.path, finished.best
    with pytest.raises(KdlnetError, match="would delete"):
        train(config, out=out, overwrite=True, init=best)
    with pytest.raises(KdlnetError, match="would delete"):
        validate(best, data=config.data.name, out=out, overwrite=True)
    assert best.is_file()


def test_overwrite_of_the_usual_folder_does_not_delete_what_is_read(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = _changed(config, epochs=1)
    plain = train(short).best
    taught = distill(short, teachers=[plain]).best
    assert Path("runs") in plain.relative_to(tmp_path).parents
    with pytest.raises(KdlnetError, match="would delete"):
        train(short, overwrite=True, init=plain)
    for places in ({"teachers": [taught]}, {"teachers": [plain], "init": taught}):
        with pytest.raises(KdlnetError, match="would delete"):
            distill(short, overwrite=True, **places)  # type: ignore[arg-type]
    assert plain.is_file() and taught.is_file()
