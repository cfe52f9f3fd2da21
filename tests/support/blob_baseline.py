"""What a classical inspection program does: subtract the local mean, threshold, open, label."""

from __future__ import annotations

import cv2
import numpy as np

CLASSES = ("scratch", "pit", "inclusion", "stain")


def find_blobs(image, window, threshold, opening, min_area):
    """Boxes (N, 4) xyxy, scores (N,) and labels (N,) in one grey image (H, W) uint8.

    ``threshold`` is "otsu" or a multiple of the residual's robust standard deviation.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.2)
    residual = smooth - cv2.blur(smooth, (window, window))
    strength = np.abs(residual)
    sigma = 1.4826 * float(np.median(strength)) + 1e-6
    if threshold == "otsu":
        scaled = np.clip(strength / max(float(strength.max()), 1e-6) * 255, 0, 255)
        _, marked = cv2.threshold(scaled.astype(np.uint8), 0, 1, cv2.THRESH_OTSU)
    else:
        marked = (strength > threshold * sigma).astype(np.uint8)
    if opening:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (opening, opening))
        marked = cv2.morphologyEx(marked, cv2.MORPH_OPEN, kernel)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    boxes, scores, labels = [], [], []
    large = (stats[:, 4] >= min_area) & (stats[:, 2:4].max(axis=1) >= 6)
    for region in np.flatnonzero(large)[1:]:  # the first one is the background
        left, top, width, height, area = stats[region]
        window_of = (slice(top, top + height), slice(left, left + width))
        inside = regions[window_of] == region
        boxes.append((left, top, left + width, top + height))
        scores.append(float(strength[window_of][inside].mean()) / sigma)
        labels.append(_class_by_shape(inside, area))
    return np.array(boxes, float).reshape(-1, 4), np.array(scores), np.array(labels, int)


def _class_by_shape(inside, area):
    ys, xs = np.nonzero(inside)
    _, sides, _ = cv2.minAreaRect(np.stack([xs, ys], 1).astype(np.float32))
    long, short = max(sides) + 1, min(sides) + 1
    if long / short > 4 or (long / short > 2.5 and area / long < 4):
        return CLASSES.index("scratch")
    if area > 600:
        return CLASSES.index("stain")
    return CLASSES.index("inclusion" if long / short > 1.8 else "pit")
