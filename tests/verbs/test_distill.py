"""Distillation through the same loop as training."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kdlnet.config import TrainConfig, build_config, load_config
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import EpochDone, Message, StepDone, ignore
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training.parts import prepare_run
from kdlnet.training.run import supervised_step
from kdlnet.training.series import saved_series
from kdlnet.training.steps import DistillStep
from kdlnet.training.taught import distill_loss
from kdlnet.training.teacher import load_teachers
from kdlnet.types import Preprocess
from kdlnet.verbs.distill import distill, teacher_defaults
from kdlnet.verbs.train import train

from ..support.interrupt import StopAt
from ..support.squares import make_dataset


def _teacher(
    folder: Path,
    names: tuple[str, ...] = ("square", "disc"),
    model: str = "lightnet-n",
    size: int = 64,
) -> Path:
    arguments = ModelArguments(len(names))
    detector = build_model(model, arguments, seed=9)
    for _ in range(3):
        detector(torch.rand(4, 3, size, size))
    weights = Weights(detector.eval(), model, arguments, names, Preprocess((size, size)))
    save_weights(folder / "teacher.pt", weights)
    return folder / "teacher.pt"


def _changed(config: TrainConfig, **values: object) -> TrainConfig:
    return build_config({**config.to_dict(), "epochs": 2, **values})


def _state(file: Path) -> dict[str, torch.Tensor]:
    content = torch.load(file, weights_only=True)
    return {**content["state"], **content["training"]["detector"]}


def test_the_student_learns_both_and_says_so(config: TrainConfig, tmp_path: Path) -> None:
    events: list[object] = []
    elsewhere = load_weights(_teacher(tmp_path))
    elsewhere.metrics = {"ap": 0.0, "ap50": 0.95}  # on the images that it was trained with
    teacher = tmp_path / "teacher.pt"
    save_weights(teacher, elsewhere)
    before = teacher.read_bytes()
    result = distill(
        _changed(config, epochs=1), teachers=[teacher], out=tmp_path / "run", on_event=events.append
    )
    assert teacher.read_bytes() == before
    steps = [event for event in events if isinstance(event, StepDone)]
    assert {"class", "box", "bins", "kd_class", "kd_bins"} <= set(steps[0].parts)
    assert steps[0].parts["kd_class"] > 0 and steps[0].parts["kd_bins"] > 0
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert f"<title>Distillation on {Path(config.data.names[0]).parent.name}<" in page
    assert "What did the student gain?" in page and page.count("AP on val; AP50") == 2
    assert "kd_class" in (result.folder / "results.csv").read_text()
    texts = [event.text for event in events if isinstance(event, Message)]
    assert any("teacher" in text and "AP50" in text for text in texts)
    assert any("finds next to nothing itself" in text for text in texts)
    student, teacher, gain = (float(x) for x in re.findall(r"[-+]?\d\.\d{3}", texts[-1]))
    assert student == pytest.approx(result.metrics["ap"], abs=5e-4)
    assert gain == pytest.approx(student - teacher, abs=2e-3)
    assert "0.950" not in page
    values = re.findall(r'<p class="value">([\d.]+)</p>', page)
    assert [float(value) for value in values] == [teacher, student]
    (row,) = json.loads((result.folder / "teachers.json").read_text())
    assert row["split"] == "val" and row["weights"] == str(tmp_path / "teacher.pt")


@pytest.mark.parametrize("generations", [1, 2])
def test_released_weights_teach_by_their_name(
    config: TrainConfig, tmp_path: Path, generations: int
) -> None:
    with pytest.raises(WeightsError, match=r"lightnet-n-neu-det.*'square'"):
        distill(
            config,
            teachers=[Path("lightnet-n-neu-det")],
            init=Path("lightnet-n-neu-det"),
            generations=generations,
            out=tmp_path / "run",
        )


def test_with_weight_zero_it_is_training_to_the_bit(config: TrainConfig, tmp_path: Path) -> None:
    short = _changed(config, epochs=1)
    changed = _changed(short, epochs=1, distill={"class_weight": 0, "bins_weight": 0})
    taught = distill(changed, teachers=[_teacher(tmp_path)], out=tmp_path / "a")
    plain = train(changed, out=tmp_path / "b")
    one, two = _state(taught.last), _state(plain.last)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    # And with a weight it is not.
    other = distill(short, teachers=[_teacher(tmp_path)], out=tmp_path / "c")
    assert not all(torch.equal(one[key], value) for key, value in _state(other.last).items())


def test_resume_with_a_teacher_is_bit_equal(config: TrainConfig, tmp_path: Path) -> None:
    """It does not start from weights again, either."""
    teacher = _teacher(tmp_path)
    given: dict[str, Any] = {"teachers": [teacher], "init": teacher}
    whole = distill(_changed(config), **given, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        distill(_changed(config), **given, out=tmp_path / "cut", on_event=StopAt(1))
    with pytest.raises(ConfigError, match="kdlnet distill --resume"):
        train(config, resume=tmp_path / "cut")
    away = teacher.rename(tmp_path / "away.pt")
    with pytest.raises(WeightsError, match=r"of this run does not exist: bring it back .*--init"):
        distill(config, resume=tmp_path / "cut")
    shutil.copy(whole.best, teacher)
    with pytest.raises(WeightsError, match=r"of this run is another file than the one"):
        distill(config, resume=tmp_path / "cut")
    away.rename(teacher)
    resumed = distill(config, resume=tmp_path / "cut")
    one, two = _state(whole.last), _state(resumed.last)
    assert all(torch.equal(one[key], two[key]) for key in one)
    rows = [_rows(result.folder) for result in (whole, resumed)]
    assert rows[0] == rows[1] and "kd_ratio" in rows[0][0]


def _rows(folder: Path) -> list[dict[str, str]]:
    """The log, but for what the clock says."""
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"], row["images_per_second"]
    return rows


def test_first_losses_are_golden(config: TrainConfig, tmp_path: Path) -> None:
    """Four steps by hand on fixed batches. A change of these numbers is a change of the method."""
    torch.manual_seed(0)  # the teacher's statistics come from random images
    parts = prepare_run(config.changed(amp="off"), None, None, ignore)
    loss = distill_loss(config)
    file = _with_opinions(_teacher(tmp_path))
    teacher = load_teachers([file], parts, loss.uses_features, ignore)
    step = DistillStep(supervised_step(parts), teacher, loss, count=lambda: 1)
    optimizer = torch.optim.SGD(parts.detector.parameters(), lr=0.01)
    losses, taught = [], []
    for n in range(4):
        output = step(parts.train.batch(range(4 * (n % 3), 4 * (n % 3) + 4)), n / 4)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.loss.item())
        taught.append([output.parts[name].item() for name in ("kd_class", "kd_bins")])
    assert losses == pytest.approx([row[0] for row in GOLDEN], rel=5e-3)
    assert taught == [pytest.approx(row[1:], rel=5e-3) for row in GOLDEN]


def _with_opinions(file: Path) -> Path:
    """The teacher of ``file`` with scores that differ by point and class."""
    weights = load_weights(file)
    generator = torch.Generator().manual_seed(1)
    for parameter in weights.detector.head.class_logits.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator)
    save_weights(file, weights)
    return file


GOLDEN = [  # the loss, and of it what the teacher's classes and bins say
    [1.88118, 0.0241555, 0.00154959],
    [1.71551, 0.0205821, 0.00132287],
    [1.70112, 0.0119971, 0.000767013],
    [1.82137, 0.00351683, 0.000223111],
]


def test_classes_in_another_order_are_matched_by_name(config: TrainConfig, tmp_path: Path) -> None:
    """The same teacher with its class rows swapped teaches the same, but for rounding."""
    swapped = load_weights(_teacher(tmp_path))
    swapped.names = ("disc", "square")
    for layer in swapped.detector.head.class_logits:
        layer.weight.data = layer.weight.data.flip(0)
        layer.bias.data = layer.bias.data.flip(0)
    save_weights(tmp_path / "swapped.pt", swapped)
    results = [
        distill(_changed(config, epochs=1), teachers=[tmp_path / name], out=tmp_path / name[:-3])
        for name in ("teacher.pt", "swapped.pt")
    ]
    one, two = (_state(result.last) for result in results)
    assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in one)


@pytest.mark.parametrize(
    ("teacher", "reason"),
    [
        ({"names": ("square", "ring")}, "does not know the class 'disc'"),
        ({"model": "lightnet-n-p2"}, "has strides"),
        (
            {"size": 96},
            r"with image_size \[96, 96\], the student would see image_size \[64, 64\]: use",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_stops_before_anything_is_written(
    config: TrainConfig, tmp_path: Path, teacher: dict[str, object], reason: str
) -> None:
    file = _teacher(tmp_path, **teacher)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=reason):
        distill(config, teachers=[file], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_student_takes_structure_and_size_from_its_teacher(tmp_path: Path) -> None:
    base = teacher_defaults(_teacher(tmp_path, size=96))
    made = build_config(base)
    assert made.model.name == "lightnet-n" and made.image_size == (96, 96)


def test_each_student_teaches_the_next(config: TrainConfig, tmp_path: Path) -> None:
    result = distill(_changed(config, epochs=1), generations=2, out=tmp_path / "run")
    assert result.folder == tmp_path / "run" / "student-2"
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if p.is_dir()) == [
        "student-1",
        "student-2",
        "teacher",
    ]
    settings = [
        torch.load(tmp_path / "run" / name / "weights" / "last.pt", weights_only=True)["training"][
            "config"
        ]
        for name in ("teacher", "student-1", "student-2")
    ]
    assert [len(values["distill"]["teachers"]) for values in settings] == [0, 1, 1]
    assert settings[2]["distill"]["teachers"][0].endswith("student-1/weights/best.pt")
    assert len({values["seed"] for values in settings}) == 3


def test_through_the_teachers_head_and_features(config: TrainConfig, tmp_path: Path) -> None:
    settings = {"cross": True, "pkd_weight": 1.0, "cwd_weight": 1.0, "box_weight": 1.0}
    events: list[object] = []
    teacher = _teacher(tmp_path)
    result = distill(
        _changed(config, epochs=1, distill=settings),
        teachers=[teacher],
        out=tmp_path / "run",
        on_event=events.append,
    )
    first = next(event for event in events if isinstance(event, StepDone))
    assert {"kd_class", "kd_bins", "kd_box", "kd_pkd", "kd_cwd", "kd_ratio"} <= set(first.parts)
    assert result.last.is_file()
    other = _teacher(tmp_path, model="lightnet")
    with pytest.raises(WeightsError, match=r"features of .* channels"):
        distill(_changed(config, distill=settings), teachers=[other], out=tmp_path / "wide")
    with pytest.raises(WeightsError, match="one --teacher"):
        distill(_changed(config, distill=settings), teachers=[teacher] * 2, out=tmp_path / "two")
    assert not (tmp_path / "wide").exists() and not (tmp_path / "two").exists()


def test_balance_sets_the_ratio_of_the_gradients(config: TrainConfig, tmp_path: Path) -> None:
    events: list[object] = []
    settings = {"balance": 0.25, "schedule": "constant"}
    distill(
        _changed(config, epochs=1, distill=settings),
        teachers=[_teacher(tmp_path)],
        out=tmp_path / "run",
        on_event=events.append,
    )
    done = [event for event in events if isinstance(event, EpochDone)][-1]
    assert done.row["kd_ratio"] == pytest.approx(0.25, rel=1e-4)
    with pytest.raises(ConfigError, match="compile=false"):
        distill(
            _changed(config, compile=True, distill=settings),
            teachers=[_teacher(tmp_path)],
            out=tmp_path / "compiled",
        )


def test_a_teacher_that_lost_its_accuracy_is_warned_of(config: TrainConfig, tmp_path: Path) -> None:
    weights = load_weights(_teacher(tmp_path))
    weights.metrics = {"ap": 0.9}
    save_weights(tmp_path / "proud.pt", weights)
    events: list[object] = []
    distill(
        _changed(config, epochs=1),
        teachers=[tmp_path / "proud.pt"],
        out=tmp_path / "run",
        on_event=events.append,
    )
    warnings = [e.text for e in events if isinstance(e, Message) and e.level == "warning"]
    assert any("had AP 0.900 when it was saved" in text for text in warnings)


def test_a_series_goes_on_where_it_was_cut(config: TrainConfig, tmp_path: Path) -> None:
    """Cut in its second training, and moved: the first is left, the rest is as if never cut.

    Every training starts from the given weights, that after the cut too.
    """
    init = _teacher(tmp_path)
    short = _changed(config)
    events: list[object] = []
    whole = distill(short, generations=2, init=init, out=tmp_path / "whole", on_event=events.append)
    assert _told(events, "started from") == 3
    assert _told(events, "no --teacher given") == 1
    with pytest.raises(KeyboardInterrupt):
        distill(short, generations=2, init=init, out=tmp_path / "begun", on_event=StopAt(3))
    (tmp_path / "begun").rename(tmp_path / "cut")
    teacher = tmp_path / "cut" / "teacher" / "weights" / "last.pt"
    written = teacher.stat().st_mtime_ns
    events.clear()
    resumed = distill(config, resume=tmp_path / "cut", on_event=events.append)
    assert _told(events, "started from") == 1  # the second student; the first one goes on
    assert _told(events, "no --teacher given") == 0
    assert teacher.stat().st_mtime_ns == written
    assert resumed.folder == tmp_path / "cut" / "student-2"
    one, two = _state(whole.last), _state(resumed.last)
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(DataError, match=r"does not exist.*--data"):
        distill(_changed(config, data={"name": str(tmp_path / "gone")}), resume=tmp_path / "cut")
    (tmp_path / "cut" / "series.json").write_text('{"generations": "many"}')
    with pytest.raises(ConfigError, match="was changed: key generations"):
        distill(config, resume=tmp_path / "cut")


def test_a_finished_teacher_of_a_series_learns_nothing_of_images_that_came_later(
    config: TrainConfig, tmp_path: Path
) -> None:
    """Its student has begun under it: another best.pt would be the end of the series."""
    data = make_dataset(tmp_path / "own", 8)
    own = _changed(config, data={"name": str(data)}, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        distill(own, out=tmp_path / "run", on_event=StopAt(3))
    teacher = tmp_path / "run/teacher/weights/best.pt"
    before = teacher.read_bytes()
    shutil.rmtree(tmp_path / "own")
    make_dataset(tmp_path / "own", 16)
    resumed = distill(TrainConfig(), resume=tmp_path / "run")
    assert teacher.read_bytes() == before
    assert resumed.folder == tmp_path / "run" / "student"
    assert load_weights(resumed.last).training["state"]["epoch"] == 2


def test_a_series_of_before_there_were_starts_and_blur_goes_on_without(
    config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        distill(_changed(config, epochs=1), out=tmp_path / "run", on_event=StopAt(1))
    file = tmp_path / "run" / "config.yaml"
    text = file.read_text()
    for line in ("  start: released\n", "  blur: 0.5\n"):
        assert line in text
        text = text.replace(line, "")
    file.write_text(text)
    found = saved_series(tmp_path / "run")
    assert found is not None
    assert (found[0].model.start, found[0].augment.blur) == ("none", 0)


def test_the_gain_is_over_the_best_of_several_teachers(config: TrainConfig, tmp_path: Path) -> None:
    """As the page says, not over the mean of their answers."""
    events: list[object] = []
    one, two = _teacher(tmp_path), tmp_path / "two.pt"
    shutil.copy(one, two)
    mirrored = _changed(config, epochs=1, distill={"mirrored": True})
    result = distill(mirrored, teachers=[one, two], out=tmp_path / "a", on_event=events.append)
    best = max(row["ap"] for row in json.loads((result.folder / "teachers.json").read_text()))
    said = f"student AP {result.metrics['ap']:.3f}, best teacher {best:.3f} on val: "
    assert _told(events, said) == 1


def _told(events: list[object], start: str) -> int:
    """How many lines begin so."""
    texts = [event.text for event in events if isinstance(event, Message)]
    return sum(text.startswith(start) for text in texts)


def test_the_students_own_average_teaches(config: TrainConfig, tmp_path: Path) -> None:
    """No other training is made; resume is bit-equal; with weights of 0 it is plain training."""
    settings = _changed(config, distill={"own_average": True})

    whole = distill(settings, out=tmp_path / "whole")
    assert whole.folder == tmp_path / "whole"
    assert "kd_class" in (whole.folder / "results.csv").read_text()
    with pytest.raises(KeyboardInterrupt):
        distill(settings, out=tmp_path / "cut", on_event=StopAt(1))
    resumed = distill(config, resume=tmp_path / "cut")
    one, two = _state(whole.last), _state(resumed.last)
    assert all(torch.equal(one[key], two[key]) for key in one)
    plain = _state(train(_changed(config), out=tmp_path / "plain").last)
    assert not all(torch.equal(one[key], plain[key]) for key in one)
    with pytest.raises(ConfigError, match="own teacher"):
        distill(settings, teachers=[_teacher(tmp_path)], out=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_all_trainings_of_a_series_start_from_the_given_weights(
    config: TrainConfig, tmp_path: Path
) -> None:
    """Without a step taken they are what they started from."""
    init = _teacher(tmp_path)
    still = _changed(config, epochs=1, optim={"lr": 1e-12, "weight_decay": 0.0})
    distill(still, generations=2, init=init, out=tmp_path / "run")
    given = load_weights(init).detector
    for run in ("teacher", "student-1", "student-2"):
        found = load_weights(tmp_path / "run" / run / "weights" / "last.pt").detector
        for (name, one), two in zip(given.named_parameters(), found.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-6, msg=f"{run}: {name}")


@pytest.mark.parametrize("missing", ["init", "teachers"])
def test_weights_that_are_missing_leave_no_folder(
    config: TrainConfig, tmp_path: Path, missing: str
) -> None:
    file, out = tmp_path / "none.pt", tmp_path / "out"
    places: dict[str, Any] = {"init": file} if missing == "init" else {"teachers": [file]}
    with pytest.raises(WeightsError, match=r"none\.pt"):
        distill(config, generations=2, out=out, **places)
    assert not out.exists()


def test_a_larger_model_is_trained_as_the_teacher(config: TrainConfig, tmp_path: Path) -> None:
    """Also after a cut, from nothing."""
    with pytest.raises(KeyboardInterrupt):
        distill(
            _changed(config, epochs=1),
            teacher_model="lightnet",
            out=tmp_path / "run",
            on_event=StopAt(1),
        )
    teacher, student = (tmp_path / "run" / name / "weights" for name in ("teacher", "student"))
    assert load_weights(teacher / "last.pt").model == "lightnet"
    shutil.rmtree(tmp_path / "run" / "teacher")
    result = distill(config, resume=tmp_path / "run")
    assert result.folder == tmp_path / "run" / "student"
    assert load_weights(teacher / "best.pt").model == "lightnet"
    assert load_weights(result.best).model == "lightnet-n"
    start = [
        torch.load(place / "last.pt", weights_only=True)["training"]["config"]
        for place in (teacher, student)
    ]
    assert start[0]["seed"] != start[1]["seed"]
    (taught_by,) = start[1]["distill"]["teachers"]
    assert taught_by.endswith("teacher/weights/best.pt")


@pytest.mark.parametrize(
    ("model", "changes", "places", "message"),
    [
        ("lightnet-p2", {}, {}, r"has strides \(4, 8, 16, 32\), the student 'lightnet-n' \(8, "),
        ("lightnet", {"cross": True}, {}, "need the same structure"),
        ("lightnet", {"own_average": True}, {}, "distill.own_average"),
        (
            "lightnet",
            {},
            {"init": Path("w.pt")},
            "--init, which every training of",
        ),
        ("lightnet", {}, {"teachers": [Path("t.pt")]}, "the trained teacher 't.pt': leave one out"),
        ("lightnet-x", {}, {}, "unknown model 'lightnet-x'"),
        (None, {"own_average": True}, {"generations": 2}, "the student is its own teacher"),
        (None, {"balance": 0.5}, {}, "set compile=false"),
    ],
)
def test_what_cannot_work_is_refused_before_a_teacher_is_trained(
    config: TrainConfig,
    tmp_path: Path,
    model: str | None,
    changes: dict[str, Any],
    places: dict[str, Any],
    message: str,
) -> None:
    settings = _changed(config, distill=changes, compile="balance" in changes)
    with pytest.raises(ConfigError, match=message):
        distill(settings, teacher_model=model, out=tmp_path / "run", **places)
    assert not (tmp_path / "run").exists()


def test_the_settings_of_a_distillation_serve_again(config: TrainConfig, tmp_path: Path) -> None:
    """Its config.yaml names the teacher: distill takes it, train has none and can be resumed."""
    teacher = _teacher(tmp_path)
    first = distill(_changed(config, epochs=1), teachers=[teacher], out=tmp_path / "first")
    settings = load_config(first.folder / "config.yaml")
    again = distill(settings, out=tmp_path / "again")
    one, two = _state(first.last), _state(again.last)
    assert all(torch.equal(one[key], two[key]) for key in one)
    plain = train(settings, out=tmp_path / "plain")
    assert not load_config(plain.folder / "config.yaml").distill.taught
    assert train(config, resume=plain.folder).reason == "epochs"


def test_a_teacher_is_named_as_short_as_can_be(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[object] = []
    teacher = _teacher(tmp_path)
    distill(_changed(config, epochs=1), teachers=[teacher], out=Path("run"), on_event=events.append)
    texts = [event.text for event in events if isinstance(event, Message)]
    assert any(text.startswith("teacher 'teacher.pt': AP ") for text in texts)
