"""``kdlnet data convert`` and ``data prepare`` as a user calls them."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kdlnet.data.listing import label_path
from kdlnet.utils.paths import typed

if TYPE_CHECKING:
    from .conftest import Command


@pytest.fixture
def coco(kdlnet: Command, dataset: Path, tmp_path: Path) -> Path:
    """The synthetic set as COCO."""
    run = kdlnet("data convert yolo --to coco --out coco", dataset)
    assert run.code == 0, run.err
    assert run.out.splitlines()[-1] == "dataset coco"
    return tmp_path / "coco"


def test_there_and_back(kdlnet: Command, dataset: Path, coco: Path) -> None:
    there = json.loads((coco / "report.json").read_text())
    run = kdlnet("data convert coco coco --out back --json")
    assert run.code == 0, run.err
    same = ("splits", "names", "images", "good", "boxes", "dropped", "repaired", "left_out")
    assert {key: run.document[key] for key in same} == {key: there[key] for key in same}
    for file in (dataset / "labels").rglob("*.txt"):
        rows = (coco.parent / "back" / file.relative_to(dataset)).read_text().split()
        expected = list(map(float, file.read_text().split()))
        assert list(map(float, rows)) == pytest.approx(expected, abs=2e-5)  # 0.001 of 96 pixels


def test_what_was_dropped_and_repaired_is_told(kdlnet: Command, coco: Path) -> None:
    file = coco / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    first, second, third = content["annotations"][:3]
    first["iscrowd"] = 1
    second["bbox"] = [90, 5, 20, 10]
    third |= {"bbox": [], "segmentation": [[5, 5, 20, 5, 20, 30]]}
    content["images"].append({"id": 999, "file_name": "gone.png"})
    file.write_text(json.dumps(content))
    run = kdlnet("data convert coco coco --out back --keep-partial")
    assert run.code == 0
    assert "converted: polygon 1" in run.out
    for line in (
        "boxes repaired: clipped 1",
        "boxes dropped: crowd 1",
        "files left out: no image 1",
    ):
        assert f"warning: {line}" in run.err.splitlines()
    assert any("instances_train.json:1: crowd" in line for line in run.err.splitlines())
    assert kdlnet("data convert coco coco --out again --json").document["dropped"] == {"crowd": 1}


def test_the_first_image_without_an_annotation_is_named(
    kdlnet: Command, dataset: Path, tmp_path: Path
) -> None:
    """A picture out of the set's readme, or a part whose file was forgotten: taken as good."""
    assert kdlnet("data convert yolo --to voc --out voc", dataset).code == 0
    shutil.rmtree(tmp_path / "voc" / "ImageSets")  # its lists would leave the picture out
    told = "first without an annotation: "
    assert told not in kdlnet("data convert voc voc --out all").out
    shutil.copy(next(dataset.rglob("*.png")), tmp_path / "voc" / "overview.png")
    run = kdlnet("data convert voc voc --out again")
    assert "converted: no annotation: good part 1" in run.out
    assert f"{told}{Path('voc/overview.png')}" in run.out.splitlines()


def test_the_first_image_without_a_label_file_is_named(
    kdlnet: Command, dataset: Path, tmp_path: Path
) -> None:
    """One that is empty says itself that the part is good."""
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    empty, gone = sorted((copy / "labels").rglob("*.txt"))[:2]
    empty.write_text("")
    gone.unlink()
    run = kdlnet("data convert yolo copy --out again")
    assert "converted: no annotation: good part 1" in run.out, run.err
    (line,) = [line for line in run.out.splitlines() if line.startswith("first without")]
    assert line.endswith(f"{gone.stem}.png")


def test_one_file_with_the_images_elsewhere(
    kdlnet: Command, dataset: Path, coco: Path, tmp_path: Path
) -> None:
    shutil.copy(coco / "annotations/instances_val.json", tmp_path / "val.json")
    run = kdlnet("data convert coco val.json --out new --json --images", dataset / "images")
    assert run.code == 0, run.err
    assert list(run.document["splits"]) == ["val"]
    assert set(run.document["left_out"]) == {"not listed"}


def test_mask_options(kdlnet: Command, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    mask = np.zeros((40, 60), np.uint8)
    mask[5:15, 5:15] = 7
    for folder in ("images", "masks"):
        (tmp_path / "m" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "m" / folder / "a.png"), mask)
    line = "data convert masks m --json --value 7=pit --out"
    for name, more in (("one", ""), ("two", "--class-from value")):
        run = kdlnet(f"{line} {name} {more}")
        assert run.document["splits"]["train"]["classes"] == {"pit": 1}
    run = kdlnet(f"{line} no --class-from name")
    assert (run.code, run.document["error"]["code"]) == (2, 2)
    assert "--class-from is 'name'" in run.error and "--class-from value" in run.error
    assert not (tmp_path / "no").exists()
    run = kdlnet(f"{line} three --min-area 101")
    assert (run.code, run.document["error"]["code"]) == (1, 1)


def test_a_table_of_masks_without_classes(kdlnet: Command, dataset: Path, tmp_path: Path) -> None:
    image = next(iter(sorted((dataset / "images").rglob("*.png"))))
    (tmp_path / "train.csv").write_text(f"id,rle_mask\n{image.stem},1 50\n")
    line = f"data convert csv train.csv --images {image.parent} --json --out"
    run = kdlnet(f"{line} one --class-name ship")
    assert run.code == 0, run.err
    assert run.document["names"] == ["ship"] and run.document["boxes"] == 1
    run = kdlnet(f"{line} two")
    assert run.code == 1 and "no column of classes" in run.error and "--class-name" in run.error


def test_classes_are_taken_as_one_or_left_out(
    kdlnet: Command, dataset: Path, tmp_path: Path
) -> None:
    from kdlnet.data.catalog import find_dataset

    first, second, *rest = find_dataset(str(dataset)).names
    flags = f"--class {first}={second} " + " ".join(f"--class {name}=" for name in rest)
    run = kdlnet(f"data convert yolo {dataset} --out fewer {flags} --json")
    assert run.code == 0, run.err
    assert run.document["names"] == [second]
    boxes = lost = 0
    for file in (dataset / "labels").rglob("*.txt"):
        rows = [row.split() for row in file.read_text().splitlines()]
        kept = [row[1:] for row in rows if int(row[0]) < 2]
        boxes, lost = boxes + len(kept), lost + len(rows) - len(kept)
        written = (tmp_path / "fewer" / file.relative_to(dataset)).read_text().splitlines()
        assert [row.split()[0] for row in written] == ["0"] * len(kept)
        for new, old in zip(written, kept, strict=True):
            shares = list(map(float, new.split()[1:]))
            assert shares == pytest.approx(list(map(float, old)), abs=2e-5)
    assert run.document["boxes"] == boxes > 0 < lost
    told = run.document["converted"]
    assert sum(told.get(f"{name} left out", 0) for name in rest) == lost
    run = kdlnet("data convert labelme x --out y --class a=b --onto", dataset)
    assert run.code == 2 and "--onto and --class exclude each other" in run.err


def test_a_class_whose_name_has_an_equals_sign(
    kdlnet: Command, dataset: Path, tmp_path: Path
) -> None:
    image = next(iter(sorted((dataset / "images").rglob("*.png"))))
    rows = [f"{image.name},{name},5,6,{x},26" for name, x in (("d=3", 15), ("a", 25), ("b=", 35))]
    (tmp_path / "labels.csv").write_text("\n".join(["image,class,x1,y1,x2,y2", *rows]))
    line = f"data convert csv labels.csv --images {image.parent} --json --out"
    run = kdlnet(f"{line} one --class d=3=deep --class a= --class b==b")
    assert run.code == 0, run.err
    assert run.document["splits"]["train"]["classes"] == {"deep": 1, "b": 1}
    run = kdlnet(f"{line} two --class a=d=3")
    assert run.code == 1 and "unknown class 'a=d'" in run.error
    assert kdlnet(f"{line} three --class =a").code == 2


FOREIGN = [
    ("coco", "--origin 0", "voc"),
    ("voc", "--good m", "masks"),
    ("voc", "--class-from name", "masks"),
    ("yolo", "--class-name pit", "masks, csv"),
    ("cvat", "--value 7=pit", "masks"),
    ("coco", "--column class=kind", "csv"),
    ("labelme", "--min-area 9", "masks, csv"),
]


def test_columns_of_a_table_are_those_that_are_said(kdlnet: Command, coco: Path) -> None:
    image = next(iter(sorted(coco.rglob("*.png"))))
    (coco / "labels.csv").write_text(f"Bild,cell_type,x1,y1,x2,y2\n{image.name},RBC,1,2,9,8\n")
    run = kdlnet("data convert csv coco --out new --column image=Bild --column class=cell_type")
    assert run.code == 0 and "RBC" in run.out, run.err
    run = kdlnet("data convert csv coco --out other --column cell_type")
    assert run.code == 2 and "'cell_type': write KEY=HEAD, for example class=cell_type" in run.err


@pytest.mark.parametrize(("format", "flag", "known"), FOREIGN)
def test_options_of_another_format(kdlnet: Command, format: str, flag: str, known: str) -> None:
    run = kdlnet(f"data convert {format} m --out new {flag}")
    assert run.code == 2
    first = run.err.splitlines()[0]
    name = flag.split()[0]
    assert first == f"error: {name} is not for {format!r}, only for {known}: leave it out"


def test_every_import_option_says_whose_it_is() -> None:
    from kdlnet.curation.formats import OPTIONS_OF
    from kdlnet.curation.formats.imported import ImportOptions

    assert set(OPTIONS_OF) == {field.name for field in fields(ImportOptions)}


def test_corrections_are_laid_over_a_dataset(
    kdlnet: Command, dataset: Path, tmp_path: Path
) -> None:
    image = next(iter(sorted((dataset / "images").rglob("*.png"))))
    file = tmp_path / "suspicious" / f"{image.stem}.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"imagePath": str(image), "shapes": []}))
    run = kdlnet("data convert labelme suspicious --out mended --onto", dataset)
    assert run.code == 0 and "image with corrected labels 1" in run.out, run.err
    assert (tmp_path / "mended" / label_path(image).relative_to(dataset)).read_text() == ""
    run = kdlnet("data convert labelme suspicious --out again --images images --onto", dataset)
    assert run.code == 2 and "--onto and --images exclude each other" in run.err


def test_without_a_val_the_last_line_is_the_command_that_makes_one(
    kdlnet: Command, dataset: Path, coco: Path
) -> None:
    assert (
        kdlnet("data convert coco coco --out whole").out.splitlines()[-1]
        == "dataset whole/data.yaml"
    )
    (coco / "annotations" / "instances_val.json").unlink()
    run = kdlnet("data convert coco coco --out parts")
    before, _, command = run.out.splitlines()[-1].partition("kdlnet ")
    assert before == "no val, which train needs; next: "
    assert kdlnet(command).code == 0
    assert (Path("parts-split") / "val.txt").is_file()


def test_a_test_that_is_given_stays_one_in_the_command_that_makes_a_val(
    kdlnet: Command, dataset: Path, coco: Path
) -> None:
    given = coco / "annotations" / "instances_val.json"
    given.rename(given.with_name("instances_test.json"))
    run = kdlnet("data convert coco coco --out parts")
    _, _, command = run.out.splitlines()[-1].partition("kdlnet ")
    assert kdlnet(command).code == 0
    lists = [Path(folder, "test.txt").read_text() for folder in ("parts", "parts-split")]
    given_names, kept = ({Path(line).name for line in text.splitlines()} for text in lists)
    assert kept == given_names != set()
    findings = kdlnet("data check parts/data.yaml --json").document["findings"]
    (fix,) = [each["fix"] for each in findings if "no split val" in each["message"]]
    assert "data.yaml --keep test --out " in fix


def test_prepare_says_counts_terms_and_what_is_next(
    kdlnet: Command, dataset: Path, tmp_path: Path
) -> None:
    entry = """
parts:
  train: train.txt
  names: [scratch, pit, inclusion, stain]
  terms: free
  citation: nobody
  layout: {format: yolo, folders: [images, labels]}
  expected: {images: 13}
  group: '(\\d+)\\.png'
  shares: {train: 0.5, val: 0.5}
"""
    (tmp_path / "datasets.yaml").write_text(entry)
    run = kdlnet("data prepare parts --seed 1 --from", dataset)
    assert run.code == 0, run.err
    assert "warning: images: expected 13, found 12; is the copy complete?" in run.err
    assert run.out.splitlines()[-4:] == [
        "dataset parts/data.yaml",
        "terms: free",
        "cite: nobody",
        "next: kdlnet train --data parts",
    ]
    again = kdlnet("data prepare parts --json --from", dataset)
    assert again.code == 1
    assert "--overwrite" in again.error
    blank = kdlnet("data prepare parts --from", dataset, "--out", "my parts").out
    assert blank.splitlines()[-1] == f"next: kdlnet train --data {typed('my parts')}"
    document = kdlnet("data prepare parts --overwrite --json --from", dataset).document
    assert document["splits"]["train"]["images"] == document["splits"]["val"]["images"] == 6
    assert document["warnings"] == ["images: expected 13, found 12; is the copy complete?"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--shape crack", "name good parts with --onto"),
        ("--onto parts --image-size 96", "keep the size of the good parts"),
        ("--onto parts --shape crack=", "--shape 'crack=': write NAME=CLASS"),
    ],
)
def test_synth_takes_shapes_and_sizes_where_they_belong(
    kdlnet: Command, line: str, words: str
) -> None:
    run = kdlnet(f"data synth new {line}")
    assert run.code == 2 and words in run.err
