"""Datasets with known faults."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


def picture(seed, height=96, width=120):
    """A grey texture of its own."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 2)
    return np.clip(120 + 40 * image / image.std(), 0, 255).astype(np.uint8)


class Folder:
    """A dataset being written: images/, labels/, list files and data.yaml."""

    def __init__(self, root):
        self.root = root
        self.lists = {}

    def add(self, split, name, image, rows="0 0.5 0.5 0.4 0.4\n"):
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
        if rows is not None:
            labels = self.root / "labels" / f"{path.stem}.txt"
            labels.parent.mkdir(exist_ok=True)
            labels.write_text(rows)
        self.lists.setdefault(split, []).append(f"./images/{name}\n")
        return path

    def write(self, names="[pit, crack]"):
        splits = ""
        for split, lines in self.lists.items():
            (self.root / f"{split}.txt").write_text("".join(lines))
            splits += f"{split}: {split}.txt\n"
        (self.root / "data.yaml").write_text(f"{splits}names: {names}\n")
        return str(self.root / "data.yaml")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "set")
