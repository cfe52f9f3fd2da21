"""A dataset of a few small images that a detector can learn in seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def make_dataset(folder: Path, count: int = 12, size: int = 64) -> Path:
    """Bright squares (class 0) and dark discs (class 1) on noise; every fourth image is good."""
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for n in range(count):
            random = np.random.default_rng([n, split == "val"])
            image = random.normal(120, 8, (size, size)).clip(0, 255).astype(np.uint8)
            rows = []
            if n % 4:
                x, y = random.integers(14, size - 14, 2).tolist()
                if n % 2:
                    cv2.rectangle(image, (x - 10, y - 10), (x + 9, y + 9), 230, -1)
                else:
                    cv2.circle(image, (x, y), 10, 10, -1)
                rows.append(f"{(n + 1) % 2} {x / size} {y / size} {20 / size} {20 / size}\n")
            cv2.imwrite(str(folder / "images" / split / f"{n}.png"), image)
            (folder / "labels" / split / f"{n}.txt").write_text("".join(rows))
    file = folder / "data.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [square, disc]\n")
    return file
