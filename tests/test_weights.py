"""The released weights are what their manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from kdlnet.inference.released import find_start
from kdlnet.inference.weights import START, load_weights

FOLDER = Path(__file__).parent.parent / "weights"


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
            assert entry["figures"]["val"]["ap"] > 0
