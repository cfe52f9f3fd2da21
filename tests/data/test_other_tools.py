"""Which images the files of other tools name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdlnet.data.other_tools import named_in_sets, tool_of

COCO = {"images": [{"file_name": "a.png"}], "categories": [], "annotations": [{"image_id": 1}]}
TABLE = "image,class,x1,y1,x2,y2\nx/a.png,dent,1,2,3,4\n"
RUNS = "ImageId_ClassId,EncodedPixels\na.png_1,\nc.png_1,1 20\n"
CVAT = '<annotations><image id="0" name="x/a.png"><box label="k"/></image></annotations>'


def find(root: Path, file: str, text: str, *names: str) -> dict[str, str]:
    images = [root / name for name in names]
    for path in (*images, root / file):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / file).write_text(text)
    found = named_in_sets(root, images)
    assert {path for path, _ in found.values()} <= {root / file}
    return {str(image.relative_to(root)): command for image, (_, command) in found.items()}


@pytest.mark.parametrize(
    ("file", "text", "tool"),
    [
        ("instances.json", json.dumps(COCO), "coco"),
        ("annotations/instances.JSON", json.dumps(COCO, indent=1), "coco"),
        ("annotations.xml", CVAT, "cvat"),
        ("labels.csv", TABLE, "csv"),
        ("labels/all.TSV", TABLE.replace(",", "\t"), "csv"),
        ("train.csv", RUNS, "csv"),
        ("train.csv", "id,rle_mask\na,1 20\n", "csv"),
        ("train.csv", "ImageId,EncodedPixels\na.png,1 20\n", "csv"),
        ("train.csv", "ClassId,ImageId,EncodedPixels\n1,a.png", "csv"),  # cut off
    ],
)
def test_a_file_of_a_whole_set_and_the_images_it_names(tmp_path, file, text, tool):
    found = find(tmp_path, file, text, "1/A.png", "1/b.png")
    assert found == {"1/A.png": f"kdlnet data convert {tool}"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.json", json.dumps(COCO | {"annotations": []})),
        ("a.json", json.dumps({"images": [{"file_name": "a.png"}]})),
        ("a.json", json.dumps(COCO).replace("a.png", "\\q.png")),
        ("a.xml", CVAT.replace("<box", "<tag")),
        ("a.xml", "<annotation><filename>a.png</filename></annotation>"),
        ("a.csv", TABLE.replace("dent,1,2,3,4", ",,,,")),
        ("a.csv", RUNS.replace("1 20", "")),
        ("a.csv", RUNS.replace("1 20", "-1")),
        ("groups.csv", "image,group\na.png,1\n"),
        ("predictions.csv", "image,class,score,x1,y1,x2,y2\na.png,dent,0.9,1,2,3,4\n"),
        ("a.csv", TABLE.replace("dent", '"dent')),
    ],
)
def test_files_without_anything_drawn_and_others(tmp_path, file, text):
    assert find(tmp_path, file, text, "a.png") == {}


def test_a_table_in_another_encoding_names_images_too(tmp_path):
    (tmp_path / "labels.csv").write_bytes(TABLE.replace("dent", "Fräsung").encode("cp1252"))
    found = named_in_sets(tmp_path, [tmp_path / "a.png"])
    assert found == {tmp_path / "a.png": (tmp_path / "labels.csv", "kdlnet data convert csv")}


def test_of_images_of_one_name_it_speaks_of_those_below_it(tmp_path):
    text = json.dumps(COCO | {"images": [{"file_name": "\u88c2.png"}]})
    names = ("good/\u88c2.png", "bad/1/\u88c2.png")
    assert set(find(tmp_path, "bad/instances.json", text, *names)) == {names[1]}


@pytest.mark.parametrize("suffix", [".png", ""])
@pytest.mark.parametrize("place", ["", "images/", "pictures/1/"])
def test_a_set_beside_with_images_of_the_same_names_speaks_of_its_own(tmp_path, place, suffix):
    """Cameras number their images anew every day."""
    images = [tmp_path / "monday" / "images" / name for name in ("a.png", "b.png")]
    other = tmp_path / "monday" / "retakes"
    for path in (*images, other / place / "a.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = (place.removeprefix("pictures/") + "a", "b")
    named = [{"file_name": name + suffix} for name in names]
    (other / "instances.json").write_text(json.dumps(COCO | {"images": named}))
    assert set(named_in_sets(images[0].parent, images)) == {images[1]}


def test_a_name_with_a_suffix_is_no_name_without_one(tmp_path):
    """A mask may be called after the whole name of its image."""
    assert find(tmp_path, "labels.csv", TABLE, "a.png.png", "b/a.png") == {
        "b/a.png": "kdlnet data convert csv"
    }


def test_kaggles_example_of_answers_names_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "sample_submission.csv").write_text("ImageId,ClassId,EncodedPixels\na.png,1,1 9\n")
    assert named_in_sets(tmp_path, [tmp_path / "a.png"]) == {}
    assert tool_of(tmp_path) == ""
