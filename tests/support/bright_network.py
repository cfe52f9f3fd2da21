"""A network that boxes every bright patch exactly, and boards with bright patches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from kdlnet.ops.points import make_points
from kdlnet.types import RawPredictions

STRIDE, BINS = 2, 40


def bright(images: torch.Tensor) -> RawPredictions:
    """One box around each connected patch brighter than one half; its score grows with it."""
    height, width = images.shape[2] // STRIDE, images.shape[3] // STRIDE
    points, strides = make_points([(height, width)], [STRIDE])
    logits = torch.full((len(images), len(points), 1), -9.0)
    bins = torch.full((len(images), len(points), 4, BINS), -100.0)
    for n, image in enumerate(images.mean(dim=1).numpy()):
        _, _, stats, _ = cv2.connectedComponentsWithStats((image > 0.5).astype(np.uint8))
        for x, y, w, h, _ in stats[1:].tolist():
            if min(w, h) < STRIDE:
                continue  # no point of the grid is inside for sure
            row = (y + h // 2) // STRIDE * width + (x + w // 2) // STRIDE
            px, py = points[row].tolist()
            logits[n, row, 0] = 8 * float(image[y + h // 2, x + w // 2]) - 4
            for side, reach in enumerate((px - x, py - y, x + w - px, y + h - py)):
                whole, share = divmod(max(reach, 0.0) / STRIDE, 1)
                bins[n, row, side, int(whole)] = np.log(max(1 - share, 1e-30))
                bins[n, row, side, int(whole) + 1] = np.log(max(share, 1e-30))
    return RawPredictions(logits, bins, points, strides)


def make_boards(folder: Path, factor: int = 1, count: int = 3) -> Path:
    """Boards of 150 x 210 with bright squares of many sizes, never touching; a data.yaml.

    ``factor`` multiplies the pixels: above 1 the files have 16 bits.
    """
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for n in range(count):
        random = np.random.default_rng(n)
        image = random.integers(20, 60, (150, 210)).astype(np.uint8)
        taken, rows = np.zeros((150, 210), bool), []
        for _ in range(12):
            w, h = random.integers(6, 60, 2).tolist()
            x, y = int(random.integers(0, 210 - w)), int(random.integers(0, 150 - h))
            if taken[max(y - 5, 0) : y + h + 5, max(x - 5, 0) : x + w + 5].any():
                continue
            taken[y : y + h, x : x + w] = True
            image[y : y + h, x : x + w] = 170 + 5 * len(rows)
            rows.append(f"0 {(x + w / 2) / 210} {(y + h / 2) / 150} {w / 210} {h / 150}\n")
        deep = image.astype(np.uint16) * factor if factor > 1 else image
        cv2.imwrite(str(folder / "images" / f"{n}.png"), deep)
        (folder / "labels" / f"{n}.txt").write_text("".join(rows))
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [square]\n")
    return folder / "data.yaml"
