"""Tiny datasets in other tools' layouts."""

from __future__ import annotations

import cv2
import numpy as np


def save_image(file, height=40, width=60, value=90):
    """A flat grey picture; the parent folders are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width), value, np.uint8)
    suffix = file.suffix.lower()
    file.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    return file


def save_xml(file, objects, size=(40, 60)):
    """Pascal VOC: ``objects`` are (class, xmin, ymin, xmax, ymax), ``size`` is (H, W)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    head = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    file.write_text(f"<annotation>{head}{rows}</annotation>", encoding="utf-8")
    return file


def save_mask(file, *boxes, value=255, size=(40, 60), dtype=np.uint8):
    """A mask with these boxes (x1, y1, x2, y2) marked; ``size`` is (H, W)."""
    mask = np.zeros(size, dtype)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(file.suffix.lower(), mask)[1].tobytes())
