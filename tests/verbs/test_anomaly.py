"""A copy of the weights knows the good parts of train; the original and its boxes stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import DetectionDataset
from kdlnet.data.learned import Learned
from kdlnet.errors import DataError, KdlnetError, WeightsError
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference import good_parts
from kdlnet.inference.evaluate import open_split
from kdlnet.inference.good_parts import learn_normality
from kdlnet.inference.transfer import transfer
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.models.normality import LEVELS, LOGITS, MOST, Normality, around
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Preprocess, Tiling
from kdlnet.verbs.anomaly import Anomaly, anomaly
from kdlnet.verbs.calibrate import Goal, calibrate
from kdlnet.verbs.export import export

from ..support.weights_file import NAMES, make_file, save_busy

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good parts are grey noise; a defect is a square of stripes in it."""
    folder = tmp_path_factory.mktemp("parts")
    for split, count in (("train", 60), ("val", 36)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng([number, count])
            pixels = rng.integers(100, 130, (64, 64, 3)).astype(np.uint8)
            row = ""
            if number % 6 == 5:
                pixels[16:48:2, 16:48] = 255
                row = "0 0.5 0.5 0.5 0.5\n"
            Image.fromarray(pixels).save(folder / "images" / split / f"{number:02d}.png")
            (folder / "labels" / split / f"{number:02d}.txt").write_text(row)
    text = "train: images/train\nval: images/val\nnames: [square, disc]\n"
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def run(file: Path, data: Path, out: Path, on_event: Listener = ignore) -> Anomaly:
    return anomaly(file, data=str(data), out=out, device="cpu", on_event=on_event)


def opened(data: Path, split: str, contract: Preprocess, file: Path) -> DetectionDataset:
    weights = load_weights(file)
    return open_split(weights, find_dataset(str(data)), split, contract, False, ignore)[0]


def test_scores_rise_by_how_unlike_the_good_parts_an_image_is(
    file: Path, data: Path, tmp_path: Path
) -> None:
    before = file.read_bytes()
    result = run(file, data, tmp_path / "a.pt")
    assert file.read_bytes() == before
    assert (result.good, result.compared, result.images, result.defective) == (50, 30, 36, 6)
    old, new = load_weights(file), load_weights(tmp_path / "a.pt")
    assert new.arguments.normality and not old.arguments.normality
    assert new.thresholds == result.thresholds and new.metrics["ap"] == result.after.ap
    val = opened(data, "val", new.preprocess, file)
    images = val.batch(range(len(val))).images
    with torch.no_grad():
        raw, plain = new.detector(images), old.detector(images)
    gained = raw.logits - plain.logits
    assert gained.flatten(1).std(1).max() < 1e-4  # one number for all points and classes
    assert torch.equal(raw.bins, plain.bins)
    defective = torch.tensor([len(val.truth(image)[0]) > 0 for image in range(len(val.paths))])
    of_image = gained[:, 0, 0] / LOGITS
    torch.testing.assert_close(of_image[defective], torch.full((6,), MOST), atol=1e-4, rtol=0)
    assert abs(of_image[~defective].mean()) < 0.1
    assert 0.8 < of_image[~defective].std() <= 1.05


def test_the_distance_is_that_of_mahalanobis(file: Path, data: Path) -> None:
    """Against numpy, from all positions of all good images at once."""
    weights = load_weights(file)
    train, val = (opened(data, split, weights.preprocess, file) for split in ("train", "val"))
    found = learn_normality(weights.detector, train, val, 7, CPU, ignore)
    good = [i for i in range(len(train.paths)) if not len(train.truth(i)[0])]
    assert found.learned == good
    images = val.batch([5]).images
    with torch.no_grad():
        learned = weights.detector.backbone(train.batch(good).images)[-LEVELS:]
        asked = weights.detector.backbone(images)
    for level, (of_good, of_one) in enumerate(zip(learned, asked[-LEVELS:], strict=True)):
        rows = around(of_good).movedim(1, -1).flatten(0, -2).double().numpy()
        covariance = np.cov(rows.T, bias=True)
        covariance += (
            np.eye(len(covariance)) * good_parts._SHRINKAGE * covariance.trace() / len(covariance)
        )
        away = around(of_one).movedim(1, -1).flatten(0, -2).double().numpy() - rows.mean(0)
        squares = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
        expected = 0.5 * np.log(squares.max() / len(covariance))
        assert found.normality.distances(asked)[0, level] == pytest.approx(expected, abs=1e-4)


def test_a_tile_that_a_defect_reaches_into_is_not_good(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect spans pixels 16 to 48 of 64: it is in all four tiles of 40, in no corner of 16."""
    monkeypatch.setattr(good_parts, "LEAST", 1)
    monkeypatch.setattr(good_parts, "LEAST_SCALE", 2)
    contract = Preprocess((32, 32), tiling=Tiling((16, 16), 0.0))
    file = save_busy(tmp_path / "tiles.pt", contract)
    weights = load_weights(file)
    sets = [opened(data, split, contract, file) for split in ("train", "val")]
    found = learn_normality(weights.detector, *sets, 64, CPU, ignore)
    assert found.learned == list(range(60))  # each has good tiles
    rows = good_parts._good(sets[0], "train", 1)
    assert len(rows) == 50 * 16 + 10 * 12  # of a defective part those around the middle four


def test_of_many_good_parts_some_are_looked_at(
    file: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(good_parts, "MOST", 25)
    weights = load_weights(file)
    sets = [opened(data, split, weights.preprocess, file) for split in ("train", "val")]
    found = learn_normality(weights.detector, *sets, 16, CPU, ignore)
    assert len(found.learned) == 25 and len(found.compared) == 25
    assert found.learned[0] < 10 and found.learned[-1] > 50  # of 60, not the first ones
    again = learn_normality(weights.detector, *sets, 16, CPU, ignore)
    assert again.learned == found.learned


def test_too_few_good_parts_are_counted(file: Path, data: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.yaml"
    text = f"path: {data.parent}\ntrain: images/val\nval: images/val\nnames: [square, disc]\n"
    few.write_text(text)
    with pytest.raises(DataError, match="train has 30 images without a defect, 50 or more"):
        run(file, few, tmp_path / "a.pt")
    few.write_text(text.replace("train: images/val", "train: images/train"))
    run(file, few, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").is_file()


@pytest.mark.parametrize("split", ["train", "val"])
def test_good_parts_that_look_all_alike_teach_nothing(
    file: Path, data: Path, tmp_path: Path, split: str
) -> None:
    """One picture many times over has no variance, and its distances no spread."""
    (tmp_path / "images" / "same").mkdir(parents=True)
    for number in range(50):
        Image.new("RGB", (64, 64)).save(tmp_path / f"images/same/{number}.png")
    other = {"train": "val", "val": "train"}[split]
    text = f"{split}: images/same\n{other}: {data.parent}/images/train\nnames: [square, disc]\n"
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=f"good parts of {split} look all alike to the network"):
        run(file, tmp_path / "data.yaml", tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()


def test_images_that_lack_a_class_of_the_weights_are_not_good(
    file: Path, data: Path, tmp_path: Path
) -> None:
    text = data.read_text().replace("images/", f"{data.parent}/images/").replace(", disc", "")
    (tmp_path / "data.yaml").write_text(text)
    line = "train has 0 images .*: 50 more without a box are not labelled for all classes"
    with pytest.raises(DataError, match=line):
        run(file, tmp_path / "data.yaml", tmp_path / "a.pt")


def test_sizes_and_counts_of_the_verdict_stay(data: Path, tmp_path: Path) -> None:
    large = {"score": 0.3, "min_area": 4.0, "min_count": 2}
    rules = {"score": 0.3, "classes": {"square": large, "disc": {"score": 0.4, "unsure": 0.2}}}
    save_busy(tmp_path / "sizes.pt", Preprocess((64, 64)), thresholds=rules)
    new = run(tmp_path / "sizes.pt", data, tmp_path / "a.pt").thresholds
    score = new["score"]
    assert new["classes"]["square"] == {"score": score, "min_area": 4.0, "min_count": 2}
    assert new["classes"]["disc"] == {"score": score}


def test_what_is_there_and_what_are_no_weights_is_refused(
    file: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.pt").write_bytes(b"mine")
    with pytest.raises(KdlnetError, match="exists: name another --out"):
        run(file, data, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == b"mine"
    (tmp_path / "best.onnx").write_bytes(b"\x08\x08onnx")
    with pytest.raises(WeightsError):
        run(tmp_path / "best.onnx", data, tmp_path / "b.pt")


def test_it_is_learned_anew_and_the_images_are_remembered(
    file: Path, data: Path, tmp_path: Path
) -> None:
    """Twice is as once: what was there does not enter the scores that it is learned beside."""
    run(file, data, tmp_path / "a.pt")
    run(tmp_path / "a.pt", data, tmp_path / "b.pt")
    first, second = (load_weights(tmp_path / name) for name in ("a.pt", "b.pt"))
    state = second.detector.state_dict()
    for key, value in first.detector.state_dict().items():
        assert torch.equal(state[key], value), key
    assert not first.learned.images  # nobody knows what the network has learned from
    lines: list[str] = []
    goal = Goal("overkill", 0.1)
    calibrate(tmp_path / "a.pt", goal, data=str(data), out=tmp_path / "c.pt", device="cpu")
    run(
        tmp_path / "c.pt",
        data,
        tmp_path / "d.pt",
        lambda event: lines.append(event.text) if isinstance(event, Message) else None,
    )
    assert any("kdlnet calibrate chooses anew" in line for line in lines)
    assert load_weights(tmp_path / "d.pt").calibration == {}


def test_good_parts_count_as_learned_beside_the_images_of_the_training(
    file: Path, data: Path, tmp_path: Path
) -> None:
    images = sorted((data.parent / "images/train").iterdir())
    own = Learned.of([images[5]])  # defective
    save_weights(tmp_path / "own.pt", replace(load_weights(file), learned=own))
    run(tmp_path / "own.pt", data, tmp_path / "a.pt")
    learned = load_weights(tmp_path / "a.pt").learned
    assert learned.count(images) == 51 and learned.count([images[5], images[11]]) == 1
    splits = Learned(splits=frozenset(["a list of an older version"]))
    save_weights(tmp_path / "old.pt", replace(load_weights(file), learned=splits))
    run(tmp_path / "old.pt", data, tmp_path / "b.pt")
    assert load_weights(tmp_path / "b.pt").learned.count(images) is None


def test_a_training_starts_without_it(file: Path, data: Path, tmp_path: Path) -> None:
    run(file, data, tmp_path / "a.pt")
    fresh = build_model("lightnet-n", ModelArguments(2), seed=1)
    lines = transfer(load_weights(tmp_path / "a.pt"), fresh, NAMES)
    assert "kdlnet anomaly learns it anew" in lines[-1]
    copied, own = fresh.state_dict(), load_weights(file).detector.state_dict()
    assert copied.keys() == own.keys()
    assert all(torch.equal(copied[key], own[key]) for key in own)


def test_other_weights_are_written_as_versions_without_it_read_them(
    file: Path, tmp_path: Path
) -> None:
    weights = load_weights(file)
    assert set(weights.describe()["arguments"]) == {"num_classes", "channels", "block"}
    save_weights(tmp_path / "again.safetensors", weights)
    assert load_weights(tmp_path / "again.safetensors").detector.normality is None


@pytest.mark.parametrize("format", ["onnx", "openvino", "torchscript"])
def test_an_exported_file_knows_the_good_parts(
    file: Path, data: Path, tmp_path: Path, format: str
) -> None:
    """Its proof compares all boxes on the images of val."""
    run(file, data, tmp_path / "a.pt")
    suffix = {"onnx": "onnx", "openvino": "xml", "torchscript": "torchscript"}[format]
    out = tmp_path / f"a.{suffix}"
    result = export(tmp_path / "a.pt", format=format, data=str(data), images=32, out=out)
    assert result.passed and result.boxes_compared


def test_it_adds_up_its_sums_in_any_batch(file: Path, data: Path) -> None:
    weights = load_weights(file)
    sets = [opened(data, split, weights.preprocess, file) for split in ("train", "val")]
    found: list[Normality] = [
        learn_normality(weights.detector, *sets, batch, CPU, ignore).normality for batch in (1, 64)
    ]
    torch.testing.assert_close(found[0].slope, found[1].slope, rtol=1e-3, atol=0)
