"""``predict --save labelme``: suggestions that become labels once a person ticked their image."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from kdlnet.curation.formats.imported import ImportOptions
from kdlnet.data.catalog import find_dataset
from kdlnet.data.dataset import load_split
from kdlnet.data.other_tools import CHECKED, has_shapes
from kdlnet.errors import DataError
from kdlnet.images.read import read_image
from kdlnet.images.sources import open_source
from kdlnet.verbs.convert import convert
from kdlnet.verbs.predict import Shard, predict_files

from ..support.layouts import save_image
from ..support.weights_file import make_file


@pytest.fixture(scope="module")
def predicted(tmp_path_factory) -> Path:
    """Three images in new/, with what a model suggests of them in out/labelme/."""
    root = tmp_path_factory.mktemp("line")
    for name in ("a", "b", "sub/c"):
        save_image(root / f"new/{name}.png", 50, 100)
    weights = make_file(root / "busy.pt")
    predict_files(weights, root / "new", out=root / "out", save=["labelme", "json"])
    return root


@pytest.fixture
def line(predicted, tmp_path) -> Path:
    shutil.copytree(predicted, tmp_path / "line")
    return tmp_path / "line"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def tick(file: Path, made: bool = True) -> None:
    change(file, flags={CHECKED: made})


def converted(line: Path, name: str = "parts", **options: Any) -> Any:
    choices = ImportOptions(images=line / "new", **options)
    return convert("labelme", line / "out/labelme", line / name, options=choices)


def rows(folder: Path) -> dict[str, int]:
    files = (folder / "labels").rglob("*.txt")
    return {file.stem: len(file.read_text().splitlines()) for file in files}


def test_each_box_is_suggested_beside_the_classes(line):
    found = json.loads((line / "out/predictions.json").read_text())["predictions"]
    assert [one["stem"] for one in found] == ["a", "b", "sub/c"]
    for one in found:
        file = line / f"out/labelme/{one['stem']}.json"
        values = json.loads(file.read_text())
        assert one["boxes"] and values["flags"] == {CHECKED: False}
        for shape, box in zip(values["shapes"], one["boxes"], strict=True):
            (x1, y1), (x2, y2) = shape["points"]
            assert shape["label"] == f"? {box['class']}" and [x1, y1, x2, y2] == box["box"]
            assert shape["description"] == f"score {box['score']:.3f}"
        assert (file.parent / values["imagePath"]).resolve() == line / f"new/{one['stem']}.png"
        assert [values["imageHeight"], values["imageWidth"]] == one["size"] == [50, 100]
        assert has_shapes(file)  # as long as nobody said that there is nothing
        tick(file)
        assert has_shapes(file)
    assert (line / "out/labelme/labels.txt").read_text() == "square\ndisc\n"


def test_labelme_finds_the_image_from_a_folder_that_a_link_leads_to(line):
    (line / "large/disk").mkdir(parents=True)
    (line / "runs").symlink_to(line / "large/disk", target_is_directory=True)
    predict_files(line / "busy.pt", line / "new", out=line / "runs/out", save=["labelme"])
    for name in ("a", "sub/c"):
        file = line / f"runs/out/labelme/{name}.json"
        path = json.loads(file.read_text())["imagePath"]
        assert (file.parent / path).samefile(line / f"new/{name}.png")  # as the system reads ..


def test_what_nobody_ticked_is_no_label_and_no_good_part(line):
    with pytest.raises(
        DataError, match=rf"a\.png: not checked: .*tick '{re.escape(CHECKED)}' of a"
    ):
        converted(line)
    change(line / "out/labelme/b.json", shapes=[])
    with pytest.raises(DataError, match="not checked"):
        converted(line)
    (line / "out/labelme/sub/c.json").unlink()  # not asked about: no good part either
    tick(line / "out/labelme/a.json")
    report = converted(line)
    assert report.left_out == {"not checked": 2}
    assert list(rows(line / "parts")) == ["a"]


def test_a_tick_takes_over_all_suggestions_of_its_image(line):
    boxes = len(json.loads((line / "out/labelme/a.json").read_text())["shapes"])
    tick(line / "out/labelme/a.json")
    change(line / "out/labelme/b.json", shapes=[])
    tick(line / "out/labelme/b.json")
    drawn = {"label": "dent", "points": [[5, 6], [20, 30]], "shape_type": "rectangle"}
    change(line / "out/labelme/sub/c.json", shapes=[drawn])  # no suggestion left: needs no tick
    report = converted(line)
    assert report.left_out == {} and report.warnings == ()
    assert rows(line / "parts") == {"a": boxes, "b": 0, "c": 1}
    names = yaml.safe_load((line / "parts/data.yaml").read_text())["names"]
    assert names == {0: "square", 1: "disc", 2: "dent"}  # those of the weights, then new ones


@pytest.mark.parametrize("name", ["?dent", " ? dent", "?\u00a0dent"])
def test_a_name_written_over_without_its_blank_is_a_suggestion_still(line, name):
    drawn = {"label": name, "points": [[5, 6], [20, 30]], "shape_type": "rectangle"}
    for image in ("a", "b"):
        change(line / f"out/labelme/{image}.json", shapes=[drawn])
    tick(line / "out/labelme/a.json")
    # Without the flag a ? may be part of a name.
    change(line / "out/labelme/sub/c.json", shapes=[drawn | {"label": "?unknown"}], flags={})
    report = converted(line)
    assert report.left_out == {"not checked": 1} and report.dropped == {}
    assert report.names == ("square", "disc", "?unknown", "dent")
    assert rows(line / "parts") == {"a": 1, "c": 1}


def test_a_tick_of_no_value_is_not_made(line):
    tick(line / "out/labelme/a.json")
    change(line / "out/labelme/b.json", shapes=[], flags={CHECKED: None})
    report = converted(line)
    assert report.left_out == {"not checked": 2} and list(rows(line / "parts")) == ["a"]


def test_what_waits_for_its_tick_is_told_before_what_was_not_asked_about(line):
    (line / "out/labelme/a.json").unlink()
    with pytest.raises(DataError, match=r"b\.png: not checked: .*tick '"):
        converted(line)


@pytest.mark.parametrize("kind", ["above", "not UTF-8"])
def test_a_list_of_classes_that_is_not_read_is_told(line, kind):
    folder = line / "out/labelme"
    for name in ("a", "b", "sub/c"):
        tick(folder / f"{name}.json")
    if kind == "above":
        (folder / "labels.txt").rename(line / "out/labels.txt")
    else:
        (folder / "labels.txt").write_bytes("square\ndisc\nRi\u00df\n".encode("latin-1"))
    (told,) = converted(line).warnings
    assert told.startswith(f"no labels.txt that can be read in {str(folder)!r}: ")


def test_unchecked_takes_them_all_and_says_so(line):
    (line / "out/labelme/b.json").unlink()
    report = converted(line, unchecked=True)
    assert sorted(rows(line / "parts")) == ["a", "c"] and report.left_out == {"not checked": 1}
    (told,) = report.warnings
    assert " suggestions of 2 images are taken though nobody ticked them" in told
    for name in ("a", "sub/c"):
        tick(line / f"out/labelme/{name}.json")
    assert converted(line, "again", unchecked=True).warnings == ()


def test_corrections_of_a_dataset_wait_for_the_tick(line):
    for name in ("a", "b", "sub/c"):
        label = line / f"labels/{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    (line / "new").rename(line / "images")
    (line / "data.yaml").write_text("train: images\nnames: [square, disc]\n")
    for file in (line / "out/labelme").rglob("*.json"):
        change(file, imagePath=json.loads(file.read_text())["imagePath"].replace("new", "images"))
    tick(line / "out/labelme/a.json")
    report = convert("labelme", line / "out/labelme", line.parent / "new", onto=line / "data.yaml")
    (told,) = (line for line in report.warnings if "keep their old labels" in line)
    assert told.startswith("2 of 3 images")
    counts = rows(line.parent / "new")
    assert counts["b"] == counts["c"] == 1 and counts["a"] > 1


def test_only_what_was_looked_for_is_a_class(line):
    weights = line / "busy.pt"
    predict_files(weights, line / "new", out=line / "few", save=["labelme"], classes=["disc"])
    assert (line / "few/labelme/labels.txt").read_text() == "disc\n"


def test_shards_have_their_own(line):
    for index in (1, 2):
        shard = Shard(index, 2)
        files = {"out": line / "lot", "save": ["labelme"], "shard": shard}
        predict_files(line / "busy.pt", line / "new", **files)
    written = sorted(file.stem for file in (line / "lot").rglob("*.json") if "labelme" in str(file))
    assert written == ["a", "b", "c"]
    assert len(list((line / "lot").rglob("labels.txt"))) == 2


@pytest.mark.parametrize("kind", ["video", "array", "deep array", "list"])
def test_what_is_no_file_of_an_image_is_kept_beside_its_suggestions(line, kind):
    """A frame of a video, or an array as a camera gives it, to the last bit."""
    random = np.random.default_rng(0)
    most, pixel_type = (65535, np.uint16) if kind == "deep array" else (255, np.uint8)
    source = list(random.integers(0, most, (4, 64, 80, 3), pixel_type))
    if kind in ("video", "list"):
        writer = cv2.VideoWriter(str(line / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 4, (80, 64))
        for frame in source:
            writer.write(frame)
        writer.release()
        source = line / "v.avi" if kind == "video" else [line / "v.avi", line / "new/a.png"]
    opened = open_source(source, every=0.5 if kind in ("video", "list") else 0.0)
    frames = list(opened.frames(lambda error, *where: pytest.fail(str(error))))
    predict_files(line / "busy.pt", opened, out=line / "v", save=["labelme"])
    folder = line / "v/labelme"
    kept = [f"{frame.stem}.png" for frame in frames if frame.path is None]
    assert {str(file.relative_to(folder)) for file in folder.rglob("*.png")} == {*kept}
    assert len(kept) == {"video": 2, "list": 2}.get(kind, 4)
    for frame in frames:
        file = folder / f"{frame.stem}.json"
        image = file.parent / json.loads(file.read_text())["imagePath"]
        assert np.array_equal(read_image(image), frame.image)
    tick(folder / f"{frames[0].stem}.json")
    report = convert("labelme", folder, line / "parts")
    left = {"not checked": len(kept) - 1, "elsewhere": len(frames) - len(kept)}
    assert report.images == 1 and report.left_out == {why: n for why, n in left.items() if n}


def test_an_image_whose_file_beside_it_waits_is_no_good_part(line):
    """As LabelMe writes it without --output: no label file yet, and a tick to make."""
    for name, flags in (("a", False), ("b", True)):
        shutil.copy(line / f"out/labelme/{name}.json", line / f"new/{name}.json")
        change(line / f"new/{name}.json", shapes=[], flags={CHECKED: flags})
    (line / "data.yaml").write_text("train: new\nnames: [square, disc]\n")
    split = load_split(find_dataset(str(line / "data.yaml")), "train")
    assert sorted(path.stem for path in split.paths) == ["b", "c"]
