"""The released weights are what their manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from kdlnet.errors import WeightsError
from kdlnet.inference.released import START, find_released, find_start
from kdlnet.inference.weights import load_weights

FOLDER = Path(__file__).parent.parent / "weights"
LEARNED = "val that it learned from"


def test_the_manifest_and_the_files_agree() -> None:
    entries = yaml.safe_load((FOLDER / "manifest.yaml").read_text())["weights"]
    recipes = (FOLDER.parent / "RECIPES.md").read_text()
    assert {entry["file"] for entry in entries} == {
        path.name for path in FOLDER.glob("*.safetensors")
    }
    for entry in entries:
        file = FOLDER / entry["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == entry["sha256"]
        weights = load_weights(file, start=True)
        assert weights.purpose == entry.get("purpose", "detect")
        assert (weights.model, list(weights.names)) == (entry["model"], entry["classes"])
        assert list(weights.preprocess.image_size) == entry["image_size"]
        assert f"## {entry['recipe']}" in recipes
        assert entry["terms"]
        if weights.purpose == START:
            assert weights.arguments.block == entry["block"]
            assert find_start(entry["model"], entry["block"]) == file
        else:
            figures = entry["figures"]
            assert figures["test"]["ap"] > 0
            of_val = {"without val", LEARNED} & figures.keys()
            measured = figures.get("without val", figures)
            assert measured[LEARNED if LEARNED in measured else "val"]["ap"] > 0
            known = bool(weights.learned.images or weights.learned.splits)
            assert known or not of_val


def test_released_weights_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for entry in yaml.safe_load((FOLDER / "manifest.yaml").read_text())["weights"]:
        name = Path(entry["file"]).stem
        assert find_released(name) == FOLDER / entry["file"]
        if entry.get("purpose") != START:
            assert list(load_weights(Path(name)).names) == entry["classes"]
    with pytest.raises(WeightsError, match=r"released weights of that name: lightnet-n-neu-det, "):
        load_weights(Path("lightnet-n-neu"))
    with pytest.raises(WeightsError, match=r"'runs/best.pt' does not exist$"):
        load_weights(Path("runs/best.pt"))


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lightnet-n-neu-det").write_bytes(b"mine")
    with pytest.raises(WeightsError, match="was not loaded"):
        load_weights(Path("lightnet-n-neu-det"))


def test_each_detector_finds_what_was_drawn_for_it() -> None:
    """A defect that a person would call by that name, on a plain surface."""
    from kdlnet import Detector

    image = np.full((200, 200), 120, np.uint8)
    image[20:180, 96:102] = 220
    found = Detector.load("lightnet-n-neu-det", score_threshold=0.2).predict(image)[0]
    assert "scratches" in found.counts()
