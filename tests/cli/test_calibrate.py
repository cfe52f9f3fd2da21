"""``kdlnet calibrate``: how limits are written, what is said, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kdlnet.inference.weights import load_weights

from ..support.weights_file import make_file

if TYPE_CHECKING:
    from .conftest import Command

LABELS = "0 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def parts(dataset: Path, tmp_path: Path) -> str:
    """The made-up set with the class names of the weights; every second part of val is good."""
    folder = tmp_path / "parts"
    (folder / "labels").mkdir(parents=True)
    images = sorted((dataset / "images").rglob("*.png"))
    for image in images:
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / image.name).write_bytes(image.read_bytes())
        row = LABELS if images.index(image) % 2 else ""
        (folder / "labels" / f"{image.stem}.txt").write_text(row)
    text = "train: images\nval: images\ntest: images\nnames: [square, disc]\n"
    (folder / "data.yaml").write_text(text)
    return "parts/data.yaml"


def test_the_choice_is_told_and_written(kdlnet: Command, parts: str, tmp_path: Path) -> None:
    file = make_file(tmp_path / "best.pt")
    run = kdlnet(f"calibrate best.pt --data {parts} --min-recall 0.5 --quiet")
    assert run.code == 0, run.err
    assert "all classes: NG from score " in run.out
    assert "chosen on val, 12 images" in run.out and "reported on test, 12 images" in run.out
    assert "at least 0.5 is met" in run.out
    assert "calibrated best-calibrated.pt" in run.out and file.exists()
    stored = load_weights(tmp_path / "best-calibrated.pt")
    assert stored.calibration["goal"]["limit"] == 0.5 and stored.thresholds["score"] != 0.25
    boxes = stored.calibration["chosen_on"]["boxes"]  # as val says: 6 parts with a box each
    said = f"boxes that reach the threshold, at IoU 0.5: {boxes['found']} of 6 found, "
    assert f"{said}{boxes['extra']} false, F1 0." in run.out
    val = kdlnet(f"val best-calibrated.pt --data {parts} --quiet --no-pictures --out v")
    written = json.loads(Path("v/metrics.json").read_text())["verdicts"]
    assert val.code == 0 and written == stored.calibration["chosen_on"]["verdicts"]
    seen = kdlnet("predict parts/images --save none --weights best-calibrated.pt --image-size 96")
    assert seen.code == 0 and "thresholds were chosen: their rates do not hold" in seen.err
    seen = kdlnet("predict parts/images --save none --weights best-calibrated.pt")
    assert seen.code == 0 and seen.err == ""
    line = f"val best-calibrated.pt --data {parts} --quiet --no-pictures --out other"
    for asked, told in (("--roi 0,0,32,32", True), ("--image-size 96", True), ("", False)):
        err = kdlnet(f"{line} --overwrite {asked}").err
        assert ("best-calibrated.pt: images are seen at another" in err) is told, (asked, err)
    again = kdlnet(f"calibrate best.pt --data {parts} --min-recall 0.5")
    assert again.code == 1 and "exists" in again.error


def test_limits_by_class_sizes_and_unsure(kdlnet: Command, parts: str, tmp_path: Path) -> None:
    make_file(tmp_path / "best.pt")
    line = f"calibrate best.pt --data {parts} --json --report none --overwrite"
    facts = kdlnet(
        f"{line} --min-recall square=0.5 --min-area 4,disc=9 --min-count disc=3"
    ).document
    assert facts["goal"]["by_class"] == {"square": 0.5} and facts["reported_on"] is None
    rules = facts["thresholds"]["classes"]
    assert rules["disc"] == {"score": 0.25, "min_area": 9.0, "min_count": 3}
    assert rules["square"]["min_area"] == 4.0 and "min_count" not in rules["square"]
    facts = kdlnet(f"{line} --max-overkill 0.2 --unsure share=0.5").document
    assert facts["unsure"] == {"recall": None, "share": 0.5}
    assert len(facts["chosen_on"]["checks"]) == 2
    facts = kdlnet(f"{line} --cost escape=200 --cost overkill=1 --defect-rate 0.005").document
    assert facts["goal"]["costs"] == {"escape": 200.0, "overkill": 1.0, "defect_rate": 0.005}
    assert facts["chosen_on"]["expected_cost"] is not None


def test_the_cost_names_all_looks_that_are_not_in_it(
    kdlnet: Command, parts: str, tmp_path: Path
) -> None:
    make_file(tmp_path / "best.pt")
    line = f"calibrate best.pt --data {parts} --report none --overwrite"
    line += " --cost escape=1,overkill=1 --defect-rate 0.005"  # too rare to reject a good part for
    without = "the score of NG is the cheapest where no part is UNSURE"
    assert without not in kdlnet(line).out
    whole = kdlnet(f"{line} --unsure recall=1 --json").document["chosen_on"]
    found = whole["verdicts"]["overall"]
    good, bad = found["good"]["UNSURE"], found["defective"]["UNSURE"]
    assert bad and found["escape"]["count"] == found["overkill"]["count"] == 0
    assert whole["expected_cost"] == 0  # a defective part that a person looks at is no escape
    out = kdlnet(f"{line} --unsure recall=1").out
    looks = f"a look at {good + bad} UNSURE parts ({good} good, {bad} defective) is not in it"
    assert f"expected cost of a part in production: 0; {looks}\n" in out and without in out


def test_intervals_of_images_that_chose_several_thresholds_are_told_to_flatter(
    kdlnet: Command, parts: str, tmp_path: Path
) -> None:
    make_file(tmp_path / "best.pt")
    line = f"calibrate best.pt --data {parts} --quiet --overwrite"
    flatter = "they chose several thresholds: their rates and intervals flatter"
    assert flatter not in kdlnet(f"{line} --min-recall 0.5").out
    one = kdlnet(f"{line} --min-recall square=0.5")  # disc keeps 0.25, which nothing chose
    assert one.code == 0 and flatter not in one.out
    line_val = f"val best-calibrated.pt --data {parts} --quiet --no-pictures"
    said = "several thresholds were chosen on these very parts: rates and intervals"
    assert said not in kdlnet(f"{line_val} --out one").err
    then = f"calibrate best-calibrated.pt --data {parts} --quiet --overwrite --out then.pt"
    assert flatter not in kdlnet(f"{then} --max-overkill square=0.1").out  # the one once more
    assert kdlnet(f"{then} --max-overkill disc=0.3").out.count(flatter) == 1
    later = kdlnet(f"val then.pt --data {parts} --quiet --no-pictures --out then")
    assert later.code == 0 and said in later.err
    images = sorted((tmp_path / "parts/images").iterdir())[:8]
    (tmp_path / "parts/some.txt").write_text("\n".join(f"./images/{i.name}" for i in images))
    other = "train: images\nval: some.txt\nnames: [square, disc]\n"
    (tmp_path / "parts/other.yaml").write_text(other)
    moved = "calibrate then.pt --data parts/other.yaml --quiet --overwrite --out moved.pt"
    assert flatter not in kdlnet(f"{moved} --min-recall square=0.5 --report none").out
    assert said not in kdlnet(f"val moved.pt --data {parts} --quiet --no-pictures --out disc").err
    assert load_weights(tmp_path / "moved.pt").calibration["choosers"].keys() == {"square", "disc"}
    asked = kdlnet(f"{line} --min-recall square=0.5 --unsure share=0.5")  # a lower one for each
    assert asked.out.count(flatter) == 1
    run = kdlnet(f"{line} --max-overkill square=0.1,disc=0.3")
    assert run.out.count(flatter) == 1 and flatter not in run.out.split("reported on test")[1]
    assert said in kdlnet(f"{line_val} --out v").err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "0 goals"),
        ("--f1 --min-recall 0.9", "2 goals"),
        ("--min-recall high", "write a number"),
        ("--min-recall 0.9 --min-recall 0.8", "twice for all classes"),
        ("--cost 200", "write escape=200"),
        ("--cost escape=1,overkill=2", "go together"),
        ("--f1 --defect-rate 0.1", "go together"),
        ("--f1 --unsure 0.9", "write recall="),
        ("--f1 --unsure recall=0.9,share=0.1", "write recall="),
        ("--f1 --min-area pit=", "write a number"),
    ],
)
def test_wrong_usage(kdlnet: Command, flags: str, words: str) -> None:
    run = kdlnet(f"calibrate best.pt --data set {flags}")
    if "--cost 200" in flags:
        run = kdlnet(f"calibrate best.pt --data set {flags} --defect-rate 0.1")
    assert run.code == 2 and words in run.error


def test_it_needs_a_dataset(kdlnet: Command) -> None:
    run = kdlnet("calibrate best.pt --f1")
    assert run.code == 2 and "no dataset" in run.error
