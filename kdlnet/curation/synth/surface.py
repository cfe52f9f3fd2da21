"""Procedural surfaces without defects, with the benign marks that fool a threshold.

Everything is drawn in grey levels (0-255, float32) from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Grey = NDArray[np.float32]
PixelBox = tuple[int, int, int, int]

_STAMP_SIGNS = "0123456789ABCDEFHKLMNPRSTUVXYZ"


@dataclass(frozen=True)
class Surface:
    """``image`` (H, W) float32 grey levels; ``roughness`` standard deviation of its texture.

    ``occupied`` are boxes (x1, y1, x2, y2) of stamps and holes, where no defect goes.
    """

    image: Grey
    roughness: float
    occupied: list[PixelBox]


def draw_surface(rng: Generator, size: tuple[int, int]) -> Surface:
    """A textured surface with its benign marks, before the light falls on it."""
    texture = _TEXTURES[rng.integers(len(_TEXTURES))](rng, size)
    roughness = float(rng.uniform(3.0, 9.0))
    image = float(rng.uniform(95, 165)) + roughness * texture
    occupied: list[PixelBox] = []
    for chance, mark in _MARKS:
        if rng.random() < chance:
            occupied += mark(rng, image)
    return Surface(image, roughness, occupied)


def light(rng: Generator, image: Grey) -> Grey:
    """The surface under uneven light: a gradient and darker corners, then the sensor's noise."""
    height, width = image.shape
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.25)
    fall = rng.uniform(0.0, 0.2)
    gain = 1 + slope * (np.cos(angle) * xs + np.sin(angle) * ys) - fall * (xs**2 + ys**2) / 2
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.8, 2.2)
    return np.asarray(image * gain + noise, np.float32)


def smooth_field(rng: Generator, size: tuple[int, int], cells: int) -> Grey:
    """Slow random variation over (H, W), about -1 to 1, with ``cells`` nodes along each side."""
    nodes = rng.standard_normal((cells, cells), dtype=np.float32)
    field = cv2.resize(nodes, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / max(float(np.abs(field).max()), 1e-6), np.float32)


def _unit(field: NDArray[Any]) -> Grey:
    field = field - field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def _grain(rng: Generator, size: tuple[int, int], sigma: float) -> Grey:
    noise = rng.standard_normal(size, dtype=np.float32)
    return _unit(cv2.GaussianBlur(noise, (0, 0), sigma) if sigma > 0 else noise)


def _turned(rng: Generator, field: Grey, size: tuple[int, int]) -> Grey:
    """The square ``field``, one time in two turned by 90 degrees, cut to ``size``."""
    turned = field.T if rng.random() < 0.5 else field
    return np.ascontiguousarray(turned[: size[0], : size[1]])


def _brushed(rng: Generator, size: tuple[int, int]) -> Grey:
    side = max(size)
    streaks = rng.standard_normal((side, side), dtype=np.float32)
    streaks = _unit(cv2.blur(streaks, (int(rng.integers(25, 90)), 1)))
    return _turned(rng, _unit(streaks + 0.6 * _grain(rng, (side, side), 0)), size)


def _cast(rng: Generator, size: tuple[int, int]) -> Grey:
    coarse = float(rng.uniform(1.8, 3.5))
    return _unit(_grain(rng, size, 0.8) + float(rng.uniform(0.5, 1.2)) * _grain(rng, size, coarse))


def _rolled(rng: Generator, size: tuple[int, int]) -> Grey:
    side = max(size)
    profile = rng.standard_normal((1, side), dtype=np.float32)
    bands = _unit(cv2.GaussianBlur(profile, (0, 0), float(rng.uniform(4, 12)), sigmaY=0.1))
    fine = _unit(cv2.blur(rng.standard_normal((side, side), dtype=np.float32), (1, 15)))
    return _turned(rng, _unit(bands + 0.7 * fine + 0.5 * _grain(rng, (side, side), 0.7)), size)


def _woven(rng: Generator, size: tuple[int, int]) -> Grey:
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32)
    warp = 0.8 * smooth_field(rng, size, 6)
    across, along = rng.uniform(5, 10, 2)
    threads = np.sin(2 * np.pi * xs / across + warp) * np.sin(2 * np.pi * ys / along + warp)
    return _unit(_unit(threads) + 0.6 * _grain(rng, size, 0.6))


def _polished(rng: Generator, size: tuple[int, int]) -> Grey:
    return _unit(_grain(rng, size, 0.5) + 0.8 * smooth_field(rng, size, 5))


def _band(rng: Generator, image: Grey) -> list[PixelBox]:
    """A darker or brighter stripe from edge to edge, as rolls and belts leave it."""
    upright = rng.random() < 0.5
    length = image.shape[1] if upright else image.shape[0]
    centre, width = rng.uniform(0, length), rng.uniform(6, 36)
    edge = rng.uniform(1.0, 5.0)
    offset = np.abs(np.arange(length, dtype=np.float32) - centre) - width / 2
    profile = 1 / (1 + np.exp(np.clip(offset / edge, -30, 30)))
    profile *= rng.uniform(8, 34) * (-1 if rng.random() < 0.65 else 1)
    image += profile[None, :] if upright else profile[:, None]
    return []


def _oil_film(rng: Generator, image: Grey) -> list[PixelBox]:
    """A slow cloud over the whole surface, without an edge."""
    image += float(rng.uniform(8, 26)) * smooth_field(rng, image.shape, int(rng.integers(3, 6)))
    return []


def _specks(rng: Generator, image: Grey) -> list[PixelBox]:
    """Glints and dust of one to three pixels, too small to matter."""
    for sign, limit in ((1, 45), (-1, 30)):
        count = int(rng.integers(0, limit))
        ys = rng.integers(1, image.shape[0] - 1, count)
        xs = rng.integers(1, image.shape[1] - 1, count)
        image[ys, xs] += sign * rng.uniform(25, 75, count).astype(np.float32)
        image[ys, xs - rng.integers(0, 2, count)] += sign * 20
    return []


def _grooves(rng: Generator, image: Grey) -> list[PixelBox]:
    """Parallel tool marks at equal distances, from edge to edge."""
    upright = rng.random() < 0.5
    step = int(rng.integers(14, 44))
    start = int(rng.integers(step))
    depth = float(rng.uniform(8, 26)) * (-1 if rng.random() < 0.5 else 1)
    lines = image[:, start::step] if upright else image[start::step]
    lines += depth
    return []


def _stamp(rng: Generator, image: Grey) -> list[PixelBox]:
    """A part number."""
    signs = rng.integers(len(_STAMP_SIGNS), size=int(rng.integers(2, 6)))
    text = "".join(_STAMP_SIGNS[sign] for sign in signs)
    scale, weight = float(rng.uniform(0.4, 0.8)), int(rng.integers(1, 3))
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
    left = int(rng.integers(0, max(1, image.shape[1] - width)))
    top = int(rng.integers(0, max(1, image.shape[0] - height - below)))
    ink = np.zeros(image.shape, np.uint8)
    origin = (left, top + height)
    cv2.putText(ink, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, weight, cv2.LINE_AA)
    depth = float(rng.uniform(22, 60)) * (-1 if rng.random() < 0.7 else 1)
    image += ink.astype(np.float32) * (depth / 255)
    return [(left, top, left + width, top + height + below)]


def _holes(rng: Generator, image: Grey) -> list[PixelBox]:
    """Drilled holes: exact circles, dark, with a bright chamfer."""
    boxes = []
    for _ in range(int(rng.integers(1, 3))):
        radius = int(rng.integers(6, 13))
        x = int(rng.integers(radius + 3, image.shape[1] - radius - 3))
        y = int(rng.integers(radius + 3, image.shape[0] - radius - 3))
        hole, rim = np.zeros(image.shape, np.uint8), np.zeros(image.shape, np.uint8)
        cv2.circle(hole, (x, y), radius, 255, -1, cv2.LINE_AA)
        cv2.circle(rim, (x, y), radius + 1, 255, 1, cv2.LINE_AA)
        image -= hole.astype(np.float32) * (float(rng.uniform(50, 85)) / 255)
        image += rim.astype(np.float32) * (float(rng.uniform(20, 45)) / 255)
        reach = radius + 3
        boxes.append((x - reach, y - reach, x + reach, y + reach))
    return boxes


_TEXTURES: tuple[Callable[[Generator, tuple[int, int]], Grey], ...] = (
    _brushed,
    _cast,
    _rolled,
    _woven,
    _polished,
)
_MARKS: tuple[tuple[float, Callable[[Generator, Grey], list[PixelBox]]], ...] = (
    (0.45, _band),
    (0.30, _band),
    (0.50, _oil_film),
    (0.60, _specks),
    (0.20, _grooves),
    (0.35, _stamp),
    (0.30, _holes),
)
