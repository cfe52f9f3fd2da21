from __future__ import annotations

import hashlib

import numpy as np
import pytest

from kdlnet.curation.synth.image import CLASSES, draw_image
from kdlnet.data.catalog import find_dataset, label_path, list_images
from kdlnet.data.labels import read_labels
from kdlnet.errors import DataError
from kdlnet.images.read import read_image
from kdlnet.verbs.synth import synthesize


def digest(folder):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(f.relative_to(folder)): hashlib.sha1(f.read_bytes()).digest() for f in files}


def test_folder_is_the_same_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        synthesize(tmp_path / name, count=6, image_size=(96, 128), seed=5)
    first, second = digest(tmp_path / "a"), digest(tmp_path / "b")
    # The report names its folder, and the list of files holds its digest; all else is equal.
    for name in ("report.json", ".kdlnet-dataset"):
        assert first.pop(name) != second.pop(name)
    assert first == second
    synthesize(tmp_path / "c", count=6, image_size=(96, 128), seed=6)
    assert digest(tmp_path / "c")["images/000000.png"] != first["images/000000.png"]


def test_folder_is_a_dataset(tmp_path):
    report = synthesize(tmp_path / "synth", count=10, image_size=(96, 160), val_share=0.3)
    info = find_dataset("synth", tmp_path)
    assert info.names == CLASSES
    images = list_images(info, "train")
    assert (len(images), len(list_images(info, "val"))) == (7, 3)
    assert read_image(images[2]).shape == (96, 160, 1)
    expected = draw_image(0, 2, (96, 160))
    labels, problems = read_labels(label_path(images[2]), 4)
    assert problems == []
    np.testing.assert_allclose(labels.boxes * [160, 96, 160, 96], expected.boxes, atol=1e-4)
    assert report.images == 10 and set(report.splits) == {"train", "val"}
    assert report.boxes == sum(len(draw_image(0, i, (96, 160)).boxes) for i in range(10))
    with pytest.raises(DataError, match="not empty"):
        synthesize(tmp_path / "synth", count=10)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": ["pits"]}, "did you mean 'pit'"),
        ({"classes": []}, "once"),
        ({"classes": ["pit", "pit"]}, "once"),
        ({"count": 0}, "count 0"),
        ({"count": 1}, "none to train on"),
        ({"seed": -1}, "seed -1"),
        ({"image_size": (64, 256)}, "at least 96"),
        ({"val_share": 1.0}, "below 1"),
        ({"good_share": 1.5}, "from 0 to 1"),
    ],
)
def test_wrong_values_get_one_line(tmp_path, values, words):
    with pytest.raises(DataError, match=words):
        synthesize(tmp_path / "out", **values)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("contrast", [0.0, -1.0, 11.0, float("nan")])
def test_contrast_out_of_range(tmp_path, contrast):
    with pytest.raises(DataError, match=r"contrast .*: above 0 and at most 10"):
        synthesize(tmp_path / "set", count=4, contrast=contrast)
