"""A requirement becomes thresholds in a copy of the weights; the original and its tensors stay."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdlnet.errors import ConfigError, DataError, KdlnetError, WeightsError
from kdlnet.events import Message
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.metrics.binomial import Rate
from kdlnet.metrics.operating_point import MARGIN
from kdlnet.metrics.verdict import ClassRule, VerdictRule
from kdlnet.verbs.calibrate import Calibration, Costs, Goal, Unsure, calibrate
from kdlnet.verbs.export import EXPORTERS, export
from kdlnet.verbs.fuse import fuse
from kdlnet.verbs.split import split_dataset

from ..support.weights_file import make_file

NAMES = ("square", "disc")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of noise in val and 20 in test; every third one is called a good part."""
    folder = tmp_path_factory.mktemp("noise")
    for split, count in (("val", 24), ("test", 20)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng([number, count])
            pixels = (rng.integers(0, 256, (64, 64, 3)) * rng.uniform(0.1, 1)).astype(np.uint8)
            name = f"lot{number % 2}_{number}"
            Image.fromarray(pixels).save(folder / "images" / split / f"{name}.png")
            row = f"{number % 2} 0.5 0.5 0.4 0.4\n" if number % 3 else ""
            (folder / "labels" / split / f"{name}.txt").write_text(row)
    text = "train: images/val\nval: images/val\ntest: images/test\nnames: [square, disc]\n"
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def run(file: Path, data: Path, out: Path, goal: Goal, **more: object) -> Calibration:
    return calibrate(file, goal, data=str(data), out=out, device="cpu", **more)  # type: ignore[arg-type]


def test_predict_does_with_the_copy_what_was_reported(
    file: Path, data: Path, tmp_path: Path
) -> None:
    before = file.read_bytes()
    goal = Goal("overkill", 0.25)
    result = run(file, data, tmp_path / "c.pt", goal, unsure=Unsure(recall=0.9), lot_by="^(lot.)_")
    assert file.read_bytes() == before
    copy = load_weights(tmp_path / "c.pt")
    assert copy.rule == result.rule and copy.calibration == result.facts()
    for outcome in (result.chosen, result.reported):
        assert outcome is not None
        images = sorted((data.parent / "images" / outcome.split).iterdir())
        said = [one.verdict for one in Predictor.load(tmp_path / "c.pt").predict(images)]
        good = [not (data.parent / "labels" / outcome.split / f"{image.stem}.txt").stat().st_size
                for image in images]  # fmt: skip
        whole = outcome.verdicts.overall
        for verdict in ("OK", "UNSURE", "NG"):
            of_good = sum(one == verdict and kind for one, kind in zip(said, good, strict=True))
            assert whole.good[verdict] == of_good
            assert whole.defective[verdict] == said.count(verdict) - of_good
        assert list(outcome.verdicts.per_lot) == ["lot0", "lot1"]
    assert result.chosen.verdicts.overall.overkill == Rate(2, 8)  # at most a quarter of 8
    overkill, recall = result.chosen.checks
    assert overkill.met and not overkill.proved
    assert str(overkill) == (
        "overkill (good parts that are NG): 0.250 (2 of 8; 95 % interval 0.032 to 0.651); "
        "at most 0.25 is met, NOT PROVED: it takes 13 parts without a failure"
    )
    assert recall.rate.count >= 0.9 * 16 and recall.needed == 36


def test_a_lower_threshold_that_is_not_lower_is_told(
    file: Path, data: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message) and "UNSURE" in event.text:
            told.append(event.text)

    goal = Goal("recall", 0.9)
    more = {"report": "none", "on_event": hear, "overwrite": True}
    result = run(file, data, tmp_path / "c.pt", goal, unsure=Unsure(recall=0.5), **more)
    assert result.rule.of(0).unsure is None
    assert len(told) == 1 and told[0].startswith("no part is UNSURE: the threshold for recall 0.5")
    run(file, data, tmp_path / "c.pt", Goal("recall", 0.5), unsure=Unsure(recall=0.9), **more)
    assert len(told) == 1
    kept = run(tmp_path / "c.pt", data, tmp_path / "d.pt", Goal("recall", by_class={"disc": 0.1}))
    assert kept.rule.of(1).unsure is not None
    run(tmp_path / "c.pt", data, tmp_path / "e.pt", Goal("recall", 0.5), **more)
    assert len(told) == 2 and told[1].startswith("no part is UNSURE any more: the stored threshold")


def test_pictures_of_one_part_are_no_parts_of_their_own(
    file: Path, data: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Message) and event.level == "warning":
            told.append(event.text)

    more = {"report": "none", "on_event": hear, "overwrite": True}
    goal, shares = Goal("recall", 0.9), {"train": 0.5, "val": 0.5}
    for group_by, alike in (("_(.)", True), (r"/(\w+/lot._\d+)", False), (None, False)):
        told.clear()
        split_dataset(str(data), tmp_path / "set", shares=shares, group_by=group_by, overwrite=True)
        run(file, tmp_path / "set" / "data.yaml", tmp_path / "c.pt", goal, **more)
        images = len((tmp_path / "set" / "val.txt").read_text().split())
        assert bool(told) == alike
        if alike:
            assert told[0].startswith(f"the {images} images of val are ") and "prove" in told[0]


def test_tensors_are_copied_as_they_are_stored(file: Path, data: Path, tmp_path: Path) -> None:
    """Released weights hold half precision; a copy of them is no larger."""
    content = torch.load(file, weights_only=True)
    content["state"] = {
        k: v.half() if v.is_floating_point() else v for k, v in content["state"].items()
    }
    content["training"] = {"epoch": 3}
    torch.save(content, tmp_path / "half.pt")
    run(tmp_path / "half.pt", data, tmp_path / "c.pt", Goal("recall", 0.5), report="none")
    copied = torch.load(tmp_path / "c.pt", weights_only=True)
    assert copied["training"] == {} and copied["state"].keys() == content["state"].keys()
    for name, value in content["state"].items():
        assert copied["state"][name].dtype == value.dtype
        assert torch.equal(copied["state"][name], value)


@pytest.mark.parametrize("kind", [".pt", ".safetensors"])
def test_weights_that_change_while_they_are_measured_get_no_thresholds(
    file: Path, data: Path, tmp_path: Path, kind: str
) -> None:
    """A training that still runs writes its best.pt anew: nobody has measured that network."""
    weights, out = tmp_path / f"best{kind}", tmp_path / f"c{kind}"
    save_weights(weights, load_weights(file))

    def train_on(event: object) -> None:
        better = load_weights(file)
        for values in better.detector.parameters():
            values.data *= 1.01
        save_weights(weights, better)

    with pytest.raises(WeightsError, match="changed or moved while it was measured"):
        run(weights, data, out, Goal("recall", 0.5), report="none", on_event=train_on)
    assert not out.exists()


def test_weights_that_were_copied_anew_are_the_same(file: Path, data: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(file, tmp_path / "w.pt"))

    def restore(event: object) -> None:
        weights.unlink()
        weights.write_bytes(file.read_bytes())

    result = run(weights, data, tmp_path / "c.pt", Goal("recall", 0.5), on_event=restore)
    assert result.path.is_file()


def test_what_came_into_the_place_of_the_copy_is_left_alone(
    file: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c.pt"

    def another(event: object) -> None:
        out.write_bytes(b"another calibration's")

    with pytest.raises(KdlnetError, match="exists: name another --out or add --overwrite"):
        run(file, data, out, Goal("recall", 0.5), report="none", on_event=another)
    assert out.read_bytes() == b"another calibration's"


def test_a_split_to_report_on_is_looked_for_before_the_work(
    file: Path, data: Path, tmp_path: Path
) -> None:
    events: list[object] = []
    with pytest.raises(DataError, match="unknown split 'tset'"):
        run(
            file,
            data,
            tmp_path / "c.pt",
            Goal("recall", 0.5),
            report="tset",
            on_event=events.append,
        )
    assert not events


def test_fused_and_exported_files_carry_it_on(file: Path, data: Path, tmp_path: Path) -> None:
    safe = tmp_path / "a.safetensors"
    save_weights(safe, load_weights(file))
    result = run(safe, data, tmp_path / "c.safetensors", Goal("recall", 0.75, per_class=True))
    again = run(tmp_path / "c.safetensors", data, tmp_path / "d.safetensors", Goal("recall", 0.9))
    assert load_weights(tmp_path / "d.safetensors").calibration == again.facts()
    assert result.rule.of(0) != result.rule.of(1)
    fuse(tmp_path / "c.safetensors", out=tmp_path / "f.pt")
    names = ["c.safetensors", "f.pt"]
    if all(map(importable, EXPORTERS["onnx"].packages)):
        export(tmp_path / "f.pt", out=tmp_path / "e.onnx")
        names.append("e.onnx")
    images = sorted((data.parent / "images" / "val").iterdir())
    said = []
    for name in names:
        runtime = open_runtime(tmp_path / name)
        assert runtime.rule == result.rule and runtime.calibration == result.facts()
        said.append([one.verdict for one in Predictor.load(tmp_path / name).predict(images)])
    assert all(one == said[0] for one in said)


def importable(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def test_sizes_change_and_other_classes_keep_their_thresholds(
    file: Path, data: Path, tmp_path: Path
) -> None:
    base = VerdictRule((ClassRule(0.3, 0.1), ClassRule(0.8, min_length=2.0)))
    ruled = replace(load_weights(file), thresholds=base.to_dict(NAMES))
    save_weights(tmp_path / "ruled.pt", ruled)
    goal = Goal("recall", by_class={"disc": 0.5})
    sizes = {"min_area": {"": 4.0, "disc": 1.0}}
    rule = run(tmp_path / "ruled.pt", data, tmp_path / "c.pt", goal, sizes=sizes).rule
    assert rule.of(0) == ClassRule(0.3, 0.1, 4.0)
    assert rule.of(1) == ClassRule(rule.of(1).score, None, 1.0, 2.0) and rule.of(1).score != 0.8


def test_cost_and_f1(file: Path, data: Path, tmp_path: Path) -> None:
    costs = Costs(1.0, 1.0, 0.005)
    result = run(file, data, tmp_path / "c.pt", Goal("cost", costs=costs))
    assert result.chosen.verdicts.overall.overkill.count == 0  # defects are too rare to pay for
    escape = result.chosen.verdicts.overall.escape.value
    assert escape is not None
    assert result.chosen.expected_cost == pytest.approx(0.005 * escape)
    dear = run(file, data, tmp_path / "d.pt", Goal("cost", costs=Costs(1e6, 1.0, 0.005)))
    assert dear.chosen.verdicts.overall.escape.count == 0
    assert dear.chosen.checks == []


def labelled_by_its_finds(file: Path, data: Path, tmp_path: Path) -> list[Prediction]:
    """All boxes that ``file`` finds on val; the better half of each class are its true boxes."""
    for folder in ("images", "labels"):
        shutil.copytree(data.parent / folder / "val", tmp_path / folder)
    images = sorted((tmp_path / "images").iterdir())
    found = list(Predictor.load(file, device="cpu", score_threshold=0.001).predict(images))
    scores = np.concatenate([one.scores for one in found])
    labels = np.concatenate([one.labels for one in found])
    middle = np.array([np.median(scores[labels == label]) for label in (0, 1)])
    for image, one in zip(images, found, strict=True):
        true = one.scores > middle[one.labels]
        corners = one.boxes[true] / 64
        sides, middles = corners[:, 2:] - corners[:, :2], (corners[:, 2:] + corners[:, :2]) / 2
        rows = np.concatenate([one.labels[true, None], middles, sides], axis=1)
        np.savetxt(tmp_path / "labels" / f"{image.stem}.txt", rows, fmt=["%d", *["%.6f"] * 4])
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [square, disc]\n")
    return found


def test_boxes_that_the_rule_finds_are_counted(file: Path, data: Path, tmp_path: Path) -> None:
    """A threshold for parts may lose most of the boxes: 1 of each part is enough for a recall."""
    labelled_by_its_finds(file, data, tmp_path)
    facts = []
    for name, goal in (("f1", Goal("f1")), ("recall", Goal("recall", 0.9))):
        result = run(file, tmp_path / "data.yaml", tmp_path / f"{name}.pt", goal)
        drawn = Predictor.load(result.path).predict(sorted((tmp_path / "images").iterdir()))
        truths, found, false = 0, 0, 0
        for one in drawn:
            text = (tmp_path / "labels" / f"{Path(one.name).stem}.txt").read_text()
            rows = np.array(text.split(), float).reshape(-1, 5)
            truths += len(rows)
            free = [(row[0], *(64 * row[1:3] - 32 * row[3:]), *(64 * row[3:])) for row in rows]
            for box, label in zip(one.boxes, one.labels, strict=True):  # by falling score
                overlaps = [iou(box, true[1:]) * (true[0] == label) for true in free] or [0]
                best = int(np.argmax(overlaps))
                hit = overlaps[best] >= 0.5
                found, false = found + hit, false + (not hit)
                free = free[:best] + free[best + 1 :] if hit else free
        counts = result.chosen.boxes
        assert (counts.found, counts.missed, counts.extra) == (found, truths - found, false)
        assert counts.f1 == pytest.approx(2 * found / (truths + found + false))
        facts.append(counts.f1)
        stored = load_weights(result.path).calibration
        assert stored["chosen_on"]["boxes"] == asdict(counts)
    assert 0 < facts[1] < facts[0]


def iou(box: np.ndarray, other: tuple[float, ...]) -> float:
    """Of ``box`` x1, y1, x2, y2 and ``other`` x, y, w, h."""
    x, y, width, height = other
    across = min(box[2], x + width) - max(box[0], x)
    down = min(box[3], y + height) - max(box[1], y)
    shared = max(across, 0) * max(down, 0)
    return float(shared / ((box[2] - box[0]) * (box[3] - box[1]) + width * height - shared))


@pytest.mark.parametrize("per_class", [False, True])
def test_the_best_f1_keeps_from_the_scores_of_boxes(
    file: Path, data: Path, tmp_path: Path, per_class: bool
) -> None:
    """Else the last box that counts is lost where an export differs by rounding."""
    found = labelled_by_its_finds(file, data, tmp_path)
    scores = np.concatenate([one.scores for one in found])
    labels = np.concatenate([one.labels for one in found])
    goal = Goal("f1", per_class=per_class)
    rule = run(file, tmp_path / "data.yaml", tmp_path / "c.pt", goal).rule
    for label in (0, 1):
        mine, threshold = scores[(labels == label) | (not per_class)], rule.of(label).score
        last, first_left_out = mine[mine >= threshold].min(), mine[mine < threshold].max()
        margin = min((last - first_left_out) / 2, MARGIN)
        assert last - threshold == pytest.approx(margin, abs=1e-7)  # a digit of float32
        assert last > threshold > first_left_out


@pytest.mark.parametrize("kind", ["good", "defective", "empty"])
def test_splits_that_cannot_support_a_choice(file: Path, tmp_path: Path, kind: str) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        row = "0 0.5 0.5 0.4 0.4\n" if kind == "defective" else ""
        (tmp_path / "labels" / f"{number}.txt").write_text(row)
    data = tmp_path / "data.yaml"
    data.write_text("train: images\nval: images\nnames: [square, disc]\n")
    goal = Goal("overkill", 0.1) if kind == "defective" else Goal("recall", 0.9)
    words = "no part is good" if kind == "defective" else "no part shows a defect"
    with pytest.raises(DataError, match=f"split 'val' of .*{words}"):
        run(file, data, tmp_path / "c.pt", goal)
    assert not (tmp_path / "c.pt").exists()
    if kind == "defective":
        with pytest.raises(DataError, match="defect of 'disc'"):
            run(file, data, tmp_path / "c.pt", Goal("recall", 0.9, per_class=True))
        result = run(file, data, tmp_path / "c.pt", Goal("recall", 0.9))
        assert result.reported is None and set(result.chosen.verdicts.unknown) == {"overkill"}


def test_nothing_is_lost(file: Path, data: Path, tmp_path: Path) -> None:
    goal, before = Goal("recall", 0.5), file.read_bytes()
    for out in (file, tmp_path / "c.txt", file.parent / ".." / file.parent.name / file.name):
        with pytest.raises(KdlnetError, match="name another file"):
            run(file, data, out, goal, overwrite=True)
    notes = tmp_path / "notes.pt"
    notes.write_text("mine")
    with pytest.raises(KdlnetError, match="exists"):
        run(file, data, notes, goal)
    with pytest.raises(KdlnetError, match="no whole file of kdlnet and was left alone"):
        run(file, data, notes, goal, overwrite=True)
    assert notes.read_text() == "mine" and file.read_bytes() == before
    said: list[object] = []
    with pytest.raises(KdlnetError, match="cannot write"):
        run(file, data, notes / "below.pt", goal, on_event=said.append)
    assert said == []
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"\x08\x08more")
    with pytest.raises(KdlnetError, match=r"with the suffix \.onnx"):
        run(onnx, data, tmp_path / "c.pt", goal)


@pytest.mark.parametrize(
    ("goal", "unsure", "words"),
    [
        (Goal("recall", 1.5), None, r"recall 1\.5 is out of range: allowed is above 0"),
        (Goal("recall", float("nan")), None, "recall nan"),
        (Goal("overkill", 1.0), None, "overkill 1"),
        (Goal("recall", by_class={"sqare": 0.9}), None, "did you mean 'square'"),
        (Goal("recall"), None, "no limit"),
        (Goal("recal", 0.9), None, "unknown goal 'recal'; did you mean 'recall'"),  # type: ignore[arg-type]
        (Goal("f1", 0.9), None, r"limit 0\.9 of the goal 'f1', which takes none"),
        (Goal("f1", by_class={"disc": 0.9}), None, "which takes none"),
        (Goal("recall", "0.9"), None, "recall '0.9' is no number"),  # type: ignore[arg-type]
        (Goal("cost"), None, "no costs for the goal"),
        (Goal("cost", costs=Costs(-1, 1, 0.1)), None, "cost escape -1 is out of range"),
        (Goal("cost", costs=Costs(1, "1", 0.1)), None, "cost overkill '1' is no number"),
        (Goal("recall", 0.9, costs=Costs(1, 1, 0.1)), None, "costs belong to the goal cost"),
        (Goal("recall", 0.9), 0.99, "unsure 0.99 is no Unsure"),
        (Goal("cost", costs=Costs(1, 1, 2)), None, "defect rate 2"),
        (Goal("cost", per_class=True, costs=Costs(1, 1, 0.1)), None, "leave --per-class out"),
        (Goal("recall", 0.9), Unsure(), "one of the two"),
        (Goal("recall", 0.9), Unsure(share=2.0), "unsure share 2"),
    ],
)
def test_what_is_out_of_range(
    file: Path, data: Path, tmp_path: Path, goal: Goal, unsure: Unsure | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run(file, data, tmp_path / "c.pt", goal, unsure=unsure)


def test_sizes_out_of_range(file: Path, data: Path, tmp_path: Path) -> None:
    for sizes, words in (
        ({"min_area": {"": -1.0}}, "min_area -1.0"),
        ({"min_count": {"disc": 1.5}}, "min_count 1.5"),
        ({"min_count": {"dsc": 1.0}}, "unknown class"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(file, data, tmp_path / "c.pt", Goal("recall", 0.9), sizes=sizes)


def test_weights_without_a_calibration_have_none(file: Path) -> None:
    weights: Weights = load_weights(file)
    assert weights.calibration == {} and open_runtime(file).calibration == {}
