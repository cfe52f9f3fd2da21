"""Training end to end on a toy set: golden losses, exact resume, stops, starts from weights."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from kdlnet.config import TrainConfig, build_config, load_config
from kdlnet.data import label_files
from kdlnet.errors import DataError, KdlnetError, WeightsError
from kdlnet.events import EpochDone, Message, RunFinished, RunStarted, StepDone, ignore
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.training import checkpoints
from kdlnet.training.parts import prepare_run
from kdlnet.training.run import TrainResult, supervised_step
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.schedule import RunClock
from kdlnet.training.validation import Validation
from kdlnet.utils.files import write_yaml
from kdlnet.verbs.distill import distill
from kdlnet.verbs.train import train

from ..conftest import REPOSITORY
from ..support.interrupt import StopAt
from ..support.squares import make_dataset
from ..support.weights_file import make_file


def _changed(config: TrainConfig, **values: object) -> TrainConfig:
    return build_config({**config.to_dict(), **values})


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, dataset: Path
) -> tuple[TrainResult, list[object]]:
    settings = {
        "model": {"name": "lightnet-n"},
        "data": {"name": str(dataset)},
        "image_size": 64,
        "batch": 4,
        "epochs": 3,
        "device": "cpu",
    }
    events: list[object] = []
    out = tmp_path_factory.mktemp("run") / "a"
    return train(build_config(settings), out=out, on_event=events.append), events


def test_a_run_leaves_what_it_promises(finished: tuple[TrainResult, list[object]]) -> None:
    result, events = finished
    for name in ("config.yaml", "results.csv", "environment.json", "results.png"):
        assert (result.folder / name).stat().st_size > 0
    rows = _rows(result.folder)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {"loss", "class", "box", "bins", "ap", "ap50", "lr", "seconds"} <= set(rows[0])
    started = next(event for event in events if isinstance(event, RunStarted))
    assert (started.train_images, started.val_images, started.steps_per_epoch) == (12, 12, 3)
    assert sum(isinstance(event, EpochDone) for event in events) == 3
    assert isinstance(events[-1], RunFinished) and events[-1].reason == "epochs"
    best = load_weights(result.best)
    assert best.names == ("square", "disc") and not best.training and not best.fused
    assert best.preprocess.image_size == (64, 64)


def test_first_losses_are_golden(config: TrainConfig, tmp_path: Path) -> None:
    """Four steps by hand on fixed batches. A change of these numbers is a change of the method."""
    parts = prepare_run(_changed(config, amp="off"), None, None, lambda event: None)
    step = supervised_step(parts)
    optimizer = torch.optim.SGD(parts.detector.parameters(), lr=0.01)
    losses = []
    for n in range(4):
        output = step(parts.train.batch(range(4 * (n % 3), 4 * (n % 3) + 4)), n / 4)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.loss.item())
    assert losses == pytest.approx(GOLDEN, rel=5e-3)  # 2.6e-3 with two threads


GOLDEN = [1.85547, 1.69544, 1.68204, 1.83995]


def test_resume_is_bit_equal_to_an_uninterrupted_run(
    config: TrainConfig, finished: tuple[TrainResult, list[object]], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "cut", on_event=StopAt(1))
    resumed = train(config, resume=tmp_path / "cut")
    whole = torch.load(finished[0].last, weights_only=True)
    parts = torch.load(resumed.last, weights_only=True)
    _assert_equal(whole["state"], parts["state"])
    for part in ("detector", "optimizer", "updates"):
        _assert_equal(whole["training"][part], parts["training"][part])
    rows = [_rows(result.folder) for result in (finished[0], resumed)]
    assert [_without_clock(row) for row in rows[0]] == [_without_clock(row) for row in rows[1]]


def _assert_equal(one: Any, two: Any) -> None:
    """Nested values are the same to the bit."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            _assert_equal(one[key], two[key])
    elif isinstance(one, list):
        for a, b in zip(one, two, strict=True):
            _assert_equal(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


def test_kill_9_in_a_write_leaves_the_checkpoint_before_it(
    config: TrainConfig, finished: tuple[TrainResult, list[object]], tmp_path: Path
) -> None:
    """Killed while the second epoch is written: the first is there, and all ends the same."""
    chosen = load_config(finished[0].folder / "config.yaml")
    write_yaml(tmp_path / "config.yaml", chosen.changed(model={"start": "none"}).to_dict())
    command = [sys.executable, "-m", "tests.support.stops_in_write"]
    command += [str(tmp_path / "config.yaml"), str(tmp_path / "run"), "3"]  # the first is the start
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "writing\n"
        child.kill()
    last = tmp_path / "run" / "weights" / "last.pt"
    assert len([file for file in last.parent.iterdir() if file.suffix == ".tmp"]) == 1
    assert load_weights(last).training["state"]["epoch"] == 1
    resumed = train(config, resume=tmp_path / "run")
    whole = torch.load(finished[0].last, weights_only=True)
    parts = torch.load(resumed.last, weights_only=True)
    _assert_equal(whole["state"], parts["state"])
    _assert_equal(whole["training"]["optimizer"], parts["training"]["optimizer"])


def _without_clock(row: dict[str, str]) -> dict[str, str]:
    return {key: row[key] for key in row if key not in ("seconds", "images_per_second")}


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_skipped_checkpoint_costs_time_and_nothing_else(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)
    settings = _changed(config, val_every=3)
    whole = train(settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "cut", on_event=StopAt(2))
    assert load_weights(tmp_path / "cut" / "weights" / "last.pt").training["state"]["epoch"] == 0
    assert len(_rows(tmp_path / "cut")) == 2  # results.csv has every epoch
    resumed = train(settings, resume=tmp_path / "cut")
    assert [row["epoch"] for row in _rows(resumed.folder)] == ["0", "1", "2"]
    one, two = load_weights(whole.last), load_weights(resumed.last)
    for first, second in zip(
        one.detector.state_dict().values(), two.detector.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second)


@pytest.mark.parametrize("split", ["train", "val", None])
def test_resume_tells_of_other_images_in_the_same_place(
    config: TrainConfig, tmp_path: Path, split: str | None
) -> None:
    """What was best on another val says nothing: best.pt is that of one val."""
    data = make_dataset(tmp_path / "own", 8)
    own = config.changed(data={"name": (str(data),)}, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(own, out=tmp_path / "run", on_event=StopAt(1))
    last = tmp_path / "run/weights/last.pt"
    saved = load_weights(last)
    saved.training["state"]["best"] = 0.9  # no epoch is better
    save_weights(last, saved)
    for kind in ("images", "labels") if split else ():
        for file in (tmp_path / "own" / kind / str(split)).iterdir():
            file.rename(file.with_name(f"new_{file.name}"))
    told: list[object] = []
    result = train(TrainConfig(), resume=tmp_path / "run", on_event=told.append)
    lines = [event.text for event in told if isinstance(event, Message) and event.level != "info"]
    assert result.metrics["epoch"] == (1 if split == "val" else 0)
    assert load_weights(result.best).metrics["epoch"] == result.metrics["epoch"]
    assert any("not all of the same images" in line for line in lines) == (split == "train")
    assert any("val holds other images than up to epoch 1" in line for line in lines) == (
        split == "val"
    )


@pytest.mark.parametrize("split", ["train", "val", None])
@pytest.mark.parametrize("done", [1, 2])
def test_resume_tells_of_other_labels_of_the_same_images(
    config: TrainConfig, tmp_path: Path, split: str | None, done: int
) -> None:
    """A val that was corrected chooses best.pt anew: what was best by its faults is no longer."""
    data = make_dataset(tmp_path / "own", 8)
    own = config.changed(data={"name": (str(data),)}, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(own, out=tmp_path / "run", on_event=StopAt(done))
    last = tmp_path / "run/weights/last.pt"
    saved = load_weights(last)
    saved.training["state"]["best"] = 0.9  # no epoch is better
    save_weights(last, saved)
    if split:
        file = min((tmp_path / "own/labels" / split).iterdir())
        file.write_text(file.read_text() + "0 0.5 0.5 0.21 0.23\n")
    told: list[object] = []
    result = train(TrainConfig(), resume=tmp_path / "run", on_event=told.append)
    lines = [event.text for event in told if isinstance(event, Message) and event.level != "info"]
    chosen_anew = split == "val" and done == 1
    assert load_weights(result.best).metrics["epoch"] == (1 if chosen_anew else done - 1)
    assert any("val holds other labels than up to epoch 1" in line for line in lines) == chosen_anew
    cut = split == "train" and done == 1
    assert any("has other labels than when the run stopped" in line for line in lines) == cut
    over = split == "train" and done == 2
    assert any("holds other labels than when this run came to" in line for line in lines) == over


@pytest.mark.parametrize("count", [4, 16])
@pytest.mark.parametrize("done", [1, 2])
def test_a_set_that_grew_or_shrank_changes_no_number_of_epochs(
    config: TrainConfig, tmp_path: Path, done: int, count: int
) -> None:
    """Steps tell nothing then: a finished run would begin again, a cut one end too soon or late."""
    data = make_dataset(tmp_path / "own", 8)
    own = config.changed(data={"name": (str(data),)}, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(own, out=tmp_path / "run", on_event=StopAt(done))
    before = load_weights(tmp_path / "run/weights/last.pt").detector.state_dict()
    shutil.rmtree(tmp_path / "own")
    make_dataset(tmp_path / "own", count)
    told: list[object] = []
    result = train(TrainConfig(), resume=tmp_path / "run", on_event=told.append)
    assert [row["epoch"] for row in _rows(result.folder)] == ["0", "1"]
    rate = load_config(result.folder / "config.yaml").optim.base_lr() * (4 / 16) ** 0.5
    assert float(_rows(result.folder)[-1]["lr"]) == pytest.approx(rate * 0.02)
    lines = [event.text for event in told if isinstance(event, Message) and event.level != "info"]
    assert any("it is not trained again" in line for line in lines) == (done == 2)
    assert any("planned anew" in line for line in lines) == (done == 1)
    after = load_weights(result.last).detector.state_dict()
    same = all(torch.equal(before[name], after[name]) for name in before)
    assert same == (done == 2)


def test_a_run_that_gave_up_on_one_val_does_not_begin_again_on_another(
    config: TrainConfig, tmp_path: Path
) -> None:
    data = make_dataset(tmp_path / "own", 8)
    own = config.changed(data={"name": (str(data),)}, epochs=9, patience=1)
    with pytest.raises(KeyboardInterrupt):
        train(own, out=tmp_path / "run", on_event=StopAt(2))
    last = tmp_path / "run/weights/last.pt"
    saved = load_weights(last)
    saved.training["state"] |= {"best": 0.9, "stale": 1}
    save_weights(last, saved)
    for kind in ("images", "labels"):
        for file in (tmp_path / "own" / kind / "val").iterdir():
            file.rename(file.with_name(f"new_{file.name}"))
    told: list[object] = []
    result = train(TrainConfig(), resume=tmp_path / "run", on_event=told.append)
    assert (result.reason, len(_rows(result.folder))) == ("patience", 2)
    assert not any("val holds other images" in getattr(one, "text", "") for one in told)


def test_the_last_epoch_is_always_saved(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_SHARE", 0.0)
    parts = prepare_run(config, None, None, ignore)
    optimizer = torch.optim.SGD(parts.detector.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    RunFolder(tmp_path).begin({}, "float32")
    kept = checkpoints.Checkpoints(parts, RunFolder(tmp_path), optimizer, scaler, Validation(parts))
    epochs = []
    for parts.state.epoch, over in enumerate([False, False, True]):
        kept.save(best=False, over=over)
        saved = load_weights(tmp_path / "weights" / "last.pt")
        epochs.append(saved.training["state"]["epoch"])
    assert epochs == [0, 0, 2]


def test_another_seed_gives_another_run(
    config: TrainConfig, finished: tuple[TrainResult, list[object]], tmp_path: Path
) -> None:
    other = train(_changed(config, seed=1, epochs=1), out=tmp_path / "b")
    first = torch.load(finished[0].last, weights_only=True)["training"]["state"]["rows"][0]
    assert torch.load(other.last, weights_only=True)["training"]["state"]["rows"][0] != first


def test_folders_count_up_and_are_kept(
    config: TrainConfig, finished: tuple[TrainResult, list[object]], tmp_path: Path
) -> None:
    config = _changed(config, epochs=1, val_every=1)
    one = RunFolder(shutil.copytree(finished[0].folder, tmp_path / "run"))
    before = one.best.read_bytes()
    two = train(config, out=tmp_path / "run")
    assert two.folder.name == "run-2" and one.best.read_bytes() == before
    three = train(config, out=tmp_path / "run", overwrite=True)
    assert three.folder == one.path and one.best.read_bytes() != before


def test_out_that_is_a_file_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(KdlnetError, match="is a file"):
        train(config, out=tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_overwrite_spares_a_folder_that_is_no_run(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(KdlnetError, match="left alone"):
        train(config, out=tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("verb", ["train", "distill"])
def test_label_files_are_read_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Not once to choose the settings and once to train."""
    counts: Counter[Path] = Counter()
    read = label_files.read_labels

    def counted(file: Path, *more: Any) -> Any:
        counts[file] += 1
        return read(file, *more)

    def stop(event: object) -> None:
        if isinstance(event, RunStarted):
            raise KeyboardInterrupt

    monkeypatch.setattr(label_files, "read_labels", counted)
    config = build_config({"data": {"name": str(dataset)}, "device": "cpu"})
    with pytest.raises(KeyboardInterrupt):
        if verb == "train":
            train(config, out=tmp_path / "run", on_event=stop)
        else:
            teacher = make_file(tmp_path / "teacher.pt")
            distill(config, teachers=[teacher], out=tmp_path / "run", on_event=stop)
    names = [file for file in counts if file.parent.name == "train"]
    assert len(names) == 12 and {counts[file] for file in names} == {1}


def test_a_time_budget_ends_the_run(config: TrainConfig, tmp_path: Path) -> None:
    events: list[object] = []
    result = train(_changed(config, time=1.0), out=tmp_path / "run", on_event=events.append)
    assert result.reason == "time" and result.best.is_file()
    assert 1.0 <= events[-1].seconds < 10  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (8.0, "at the pace of the first the time is worth about 2 epochs, few for a training"),
        (2.4, "the time was over in the first epoch: give it more"),
        (42.0, None),  # an epoch has three steps, of 1.3 s each
    ],
)
def test_a_time_worth_few_epochs_is_told_after_the_first(
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    said: str | None,
) -> None:
    def read(clock: RunClock, step: int) -> float:
        clock.progress = min(1.0, 1.3 * step / seconds)
        return clock.progress

    monkeypatch.setattr(RunClock, "read", read)
    events: list[object] = []
    train(_changed(config, time=seconds), out=tmp_path / "run", on_event=events.append)
    told = [
        event.text for event in events if isinstance(event, Message) and "the time" in event.text
    ]
    assert [text.startswith(said or "") for text in told] == [True] * (said is not None)


def test_accumulation_equals_fewer_updates(config: TrainConfig, tmp_path: Path) -> None:
    changed = _changed(config, epochs=1, optim={"accumulate": 3})
    result = train(changed, out=tmp_path / "run")
    training = torch.load(result.last, weights_only=True)["training"]
    assert training["updates"] == 1 and training["state"]["step"] == 3


def test_a_loss_that_is_not_finite_stops_with_advice(config: TrainConfig, tmp_path: Path) -> None:
    changed = _changed(config, optim={"lr": 1e9, "warmup": 0.0, "clip_norm": 0.0, "name": "sgd"})
    with pytest.raises(KdlnetError, match=r"not a finite number.*optim\.lr"):
        train(changed, out=tmp_path / "run")


def test_init_matches_class_rows_by_name(
    finished: tuple[TrainResult, list[object]], config: TrainConfig, tmp_path: Path
) -> None:
    other = make_other_classes(Path(config.data.name), tmp_path)
    changed = _changed(config, data={"name": str(other)}, epochs=1, optim={"lr": 1e-12})
    events: list[object] = []
    result = train(changed, out=tmp_path / "run", init=finished[0].best, on_event=events.append)
    texts = [event.text for event in events if isinstance(event, Message)]
    assert "1 of 2 classes taken over" in texts[0] and "dent" in texts[1]
    old, new = load_weights(finished[0].best).detector, load_weights(result.last).detector
    torch.testing.assert_close(
        new.head.class_logits[0].weight[1], old.head.class_logits[0].weight[0], rtol=0, atol=1e-6
    )
    torch.testing.assert_close(new.neck.down[0].dense, old.neck.down[0].dense, rtol=0, atol=1e-6)


def test_few_steps_and_few_boxes_are_named_before_training(tmp_path: Path) -> None:
    file = make_dataset(tmp_path / "set", count=48, size=32)  # 24 squares and 12 discs in val
    events: list[object] = []
    config = build_config(
        {
            "model": {"name": "lightnet-n"},
            "data": {"name": str(file)},
            "image_size": 32,
            "device": "cpu",
        }
    )
    prepare_run(config, None, None, events.append)
    begun, short, rare = [event for event in events if isinstance(event, Message)]
    assert begun.text.startswith("no start comes with kdlnet for lightnet-n with blocks summed: ")
    assert short.text.startswith("300 steps in 100 epochs, few from scratch: try --epochs 1334 ")
    assert rare.level == "warning"
    assert rare.text.startswith("few boxes in val: disc 12; ")
    init = Path(__file__).parents[2] / "weights" / "lightnet-n-neu-det.safetensors"
    long = _changed(config, epochs=1334)
    for settings, start in ((long, None), (config, init), (_changed(config, time=60), None)):
        events.clear()
        prepare_run(settings, None, start, events.append)
        assert not any("few from scratch" in str(event) for event in events)


def test_the_usual_rate_is_lower_from_weights(
    finished: tuple[TrainResult, list[object]], config: TrainConfig
) -> None:
    for optim, init, lr in [
        ({}, None, 0.006),
        ({}, finished[0].best, 0.002),
        ({"name": "sgd"}, None, 0.02),
        ({"lr": 0.5}, finished[0].best, 0.5),
    ]:
        parts = prepare_run(_changed(config, optim=optim), None, init, ignore)
        assert parts.config.optim.lr == pytest.approx(lr)


def make_other_classes(file: Path, folder: Path) -> Path:
    """The same images, with the classes dent (new) and square (known, in another place)."""
    text = file.read_text().replace("[square, disc]", "[dent, square]")
    made = folder / "other.yaml"
    made.write_text(f"path: {file.parent}\n{text}")
    return made


def test_starting_from_what_does_not_fit_is_refused(
    finished: tuple[TrainResult, list[object]], config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="does not fit"):
        changed = _changed(config, model={"name": "lightnet-n-p2"})
        train(changed, out=tmp_path / "run", init=finished[0].best)
    assert not (tmp_path / "run").exists()
    with pytest.raises(WeightsError, match=r"no weights/last\.pt"):
        train(config, resume=tmp_path)
    with pytest.raises(WeightsError, match="no training state"):
        train(config, resume=finished[0].best)


def test_resume_refuses_other_classes(
    finished: tuple[TrainResult, list[object]], dataset: Path
) -> None:
    text = dataset.read_text()
    try:
        dataset.write_text(text.replace("disc", "ring"))
        with pytest.raises(DataError, match="ring"):
            train(build_config({}), resume=finished[0].folder)
    finally:
        dataset.write_text(text)


def test_a_run_goes_on_with_its_dataset_in_another_place(
    config: TrainConfig, tmp_path: Path
) -> None:
    """Only when the images there are the same; what they are is known without the old place."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    settings = _changed(config, epochs=2, data={"name": str(make_dataset(old, count=4))})
    whole = train(settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "cut", on_event=StopAt(1))
    old.rename(new)
    with pytest.raises(DataError, match="add its new place to --resume: --data"):
        train(build_config({}), resume=tmp_path / "cut")
    other = tmp_path / "other"
    other.mkdir()
    strangers = make_dataset(other, count=4)
    (other / "images" / "train" / "0.png").write_bytes(
        (other / "images" / "train" / "1.png").read_bytes()
    )
    before = (tmp_path / "cut" / "config.yaml").read_bytes()
    with pytest.raises(DataError, match="does not hold the images that the run began with"):
        train(build_config({"data": {"name": str(strangers)}}), resume=tmp_path / "cut")
    assert (tmp_path / "cut" / "config.yaml").read_bytes() == before
    moved = build_config({"data": {"name": str(new)}})
    result = train(moved, resume=tmp_path / "cut")
    one, two = (torch.load(run.last, weights_only=True)["state"] for run in (whole, result))
    _assert_equal(one, two)
    # From now on the run knows the place.
    assert train(build_config({}), resume=tmp_path / "cut").reason == "epochs"
    assert str(new) in (tmp_path / "cut" / "config.yaml").read_text()


@pytest.mark.parametrize("block", ["repvgg", "qarepvgg"])
def test_every_block_and_one_channel_train(config: TrainConfig, tmp_path: Path, block: str) -> None:
    model = {"name": "lightnet-n-p2", "block": block, "channels": 1}
    result = train(_changed(config, epochs=1, model=model), out=tmp_path / "run")
    assert load_weights(result.last).preprocess.channels == 1


def test_the_dataset_says_how_many_channels(
    config: TrainConfig, dataset: Path, tmp_path: Path
) -> None:
    file = tmp_path / "grey.yaml"
    file.write_text(f"path: {dataset.parent}\nchannels: 1\n{dataset.read_text()}")
    changed = _changed(config, data={"name": str(file)}, epochs=1)
    result = train(changed, out=tmp_path / "run")
    assert load_weights(result.last).arguments.channels == 1
    assert "channels: 1" in (result.folder / "config.yaml").read_text()


def test_a_processor_with_bfloat16_trains_in_it(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, told = {}, {}
    known = {"auto": {"amx_bf16": True}, "bf16": {}, "off": {}}
    for amp, capabilities in known.items():
        monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities.copy, raising=False)
        events: list[object] = []
        changed = _changed(config, epochs=1, amp=amp)
        losses[amp] = train(changed, out=tmp_path / amp, on_event=events.append).metrics["loss"]
        told[amp] = next(event.precision for event in events if isinstance(event, RunStarted))
    assert told == {"auto": "bfloat16", "bf16": "bfloat16", "off": "float32"}
    facts = {amp: json.loads((tmp_path / amp / "environment.json").read_text()) for amp in told}
    assert {amp: each["precision"] for amp, each in facts.items()} == told
    assert losses["auto"] == losses["bf16"] != losses["off"]
    assert losses["auto"] == pytest.approx(losses["off"], rel=0.02)


def test_mixed_precision_trains(config: TrainConfig, tmp_path: Path) -> None:
    events: list[object] = []
    train(_changed(config, epochs=1, amp="bf16"), out=tmp_path / "run", on_event=events.append)
    last = [event for event in events if isinstance(event, StepDone)][-1]
    assert last.parts.keys() == {"loss", "class", "box", "bins"}
    assert all(0 < value < 100 for value in last.parts.values())
    state = torch.load(tmp_path / "run" / "weights" / "last.pt", weights_only=True)["state"]
    assert all(value.isfinite().all() for value in state.values())
