"""Images of a dataset in the middle of larger ones, with defects around them."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

ROI = (32, 32, 96, 96)
"""Where the image is. Its corners are binary fractions of the scene's sides: nothing is rounded."""
SIDE = 128


def make_scenes(crops: Path, folder: Path) -> Path:
    """The dataset of squares below ``crops``, 64 a side, each image inside of a scene.

    Every scene has a box of its own outside of the region, and noise around it.
    """
    for image in sorted(crops.rglob("*.png")):
        scene = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE)).astype(np.uint8)
        scene[32:96, 32:96] = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        place = folder / image.relative_to(crops)
        labels = Path(str(place).replace("images", "labels")).with_suffix(".txt")
        rows = ["1 0.0625 0.0625 0.0625 0.0625\n"]
        for row in (crops / labels.relative_to(folder)).read_text().splitlines():
            label, *numbers = row.split()
            x, y, w, h = (float(number) / 2 for number in numbers)
            rows.append(f"{label} {x + 0.25} {y + 0.25} {w} {h}\n")
        for file in (place, labels):
            file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), scene)
        labels.write_text("".join(rows))
    shutil.copy(crops / "data.yaml", folder / "data.yaml")
    return folder / "data.yaml"
