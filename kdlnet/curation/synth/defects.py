"""Procedural defects: each is a patch of grey-level changes with the box of what can be seen."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kdlnet.curation.synth.surface import Grey, PixelBox, smooth_field

# Changes below this share of a defect's strongest one fade into the surface: not part of the box.
_VISIBLE_SHARE = 0.25


def draw_defect(name: str, rng: Generator, roughness: float, largest: int) -> Grey:
    """Grey-level changes (h, w) of one defect of class ``name``, cut tight to what is visible.

    Its strength grows with the ``roughness`` of the surface, so that a person finds it on every
    surface; its longer side is at least 8 and at most ``largest`` pixels where the shape allows.
    """
    patch = DEFECTS[name](rng, max(roughness, 4.5), largest)
    x1, y1, x2, y2 = visible_box(patch)
    return patch[y1:y2, x1:x2]


def visible_part(patch: Grey) -> NDArray[np.bool_]:
    """Where (H, W) ``patch`` changes by at least a quarter of its strongest change."""
    strength = np.abs(patch)
    seen: NDArray[np.bool_] = strength >= _VISIBLE_SHARE * strength.max()
    return seen


def visible_box(patch: Grey) -> PixelBox:
    """Tight box (x1, y1, x2, y2) around changes of at least a quarter of the strongest one."""
    seen = visible_part(patch)
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _scratch(rng: Generator, roughness: float, largest: int) -> Grey:
    """A thin, slightly bent line, bright where metal was cut open, with a shadow beside it."""
    length = log_uniform(rng, 22, min(130, largest))
    angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.08) * length
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    steps = np.linspace(-1, 1, 24)[:, None]
    points = length / 2 * steps * along + bend * (1 - steps**2) * across
    points += 4 - points.min(axis=0)
    width, height = (int(side) + 6 for side in points.max(axis=0))
    ink = np.zeros((height, width), np.uint8)
    fixed = np.round(points * 16).astype(np.int32)
    width_drawn = int(rng.integers(1, 5))
    cv2.polylines(ink, [fixed], False, 255, width_drawn, cv2.LINE_AA, shift=4)
    line = ink.astype(np.float32) / 255
    line *= 0.8 + 0.2 * smooth_field(rng, (height, width), 4)
    shadow = np.roll(line, (1, 1), (0, 1))
    sign = 1 if rng.random() < 0.65 else -1
    # A line of one pixel drowns in the texture where a wider one is still seen.
    weakest = 5.0 if width_drawn == 1 else 3.6
    strength = sign * _strength(rng, roughness, weakest, 10.0)
    return np.asarray(strength * (line - 0.45 * shadow), np.float32)


def _pit(rng: Generator, roughness: float, largest: int) -> Grey:
    """A small crater: dark floor, the wall towards the light dark, the far wall bright."""
    radius = log_uniform(rng, 4.0, min(14.0, largest / 2))
    side = int(2 * radius) + 12
    floor = _ragged_disc(rng, side, radius, radius * rng.uniform(0.7, 1.0), 0.18)
    depth = cv2.GaussianBlur(floor, (0, 0), 1.0)
    slope_x, slope_y = cv2.Sobel(depth, cv2.CV_32F, 1, 0), cv2.Sobel(depth, cv2.CV_32F, 0, 1)
    walls = (slope_x + slope_y) / max(float(np.abs(slope_x + slope_y).max()), 1e-6)
    return np.asarray(_strength(rng, roughness, 3.0, 9.0) * (-depth - 0.8 * walls), np.float32)


def _inclusion(rng: Generator, roughness: float, largest: int) -> Grey:
    """A string of ragged flakes of foreign material, with a texture of its own."""
    length = log_uniform(rng, 16, min(70, largest))
    thickness = max(3.0, length / rng.uniform(2.2, 4.5))
    side = int(length + thickness) + 14
    body = np.zeros((side, side), np.float32)
    angle = rng.uniform(0, np.pi)
    flakes = int(rng.integers(2, 5))
    for place in np.linspace(-0.5, 0.5, flakes):
        reach = length * place * 0.75
        x = side / 2 + reach * np.cos(angle) + rng.normal(0, thickness / 8)
        y = side / 2 + reach * np.sin(angle) + rng.normal(0, thickness / 8)
        axes = (length / (1.6 * flakes), thickness / 2 * rng.uniform(0.6, 1.0))
        turn = np.degrees(angle) + rng.normal(0, 8)
        ink = np.zeros((side, side), np.uint8)
        cv2.ellipse(ink, ((x, y), (2 * axes[0], 2 * axes[1]), turn), 255, -1, cv2.LINE_AA)
        body = np.maximum(body, ink.astype(np.float32) / 255)
    ragged = smooth_field(rng, (side, side), max(4, side // 4))
    body = np.asarray(cv2.GaussianBlur(body * (ragged > -0.35), (0, 0), 0.7), np.float32)
    body *= 0.8 + 0.2 * smooth_field(rng, (side, side), max(4, side // 3))
    sign = -1 if rng.random() < 0.75 else 1
    return np.asarray(sign * _strength(rng, roughness, 2.8, 8.5) * body, np.float32)


def _stain(rng: Generator, roughness: float, largest: int) -> Grey:
    """A dried drop: wide, weak, soft-edged, often with a stronger rim."""
    radius = log_uniform(rng, 12, min(46, largest / 2))
    side = int(2.6 * radius) + 12
    edge = float(rng.uniform(1.2, 2.6))
    ratio = rng.uniform(0.6, 1.0)
    drop = cv2.GaussianBlur(_ragged_disc(rng, side, radius, radius * ratio, 0.12), (0, 0), edge)
    inside = cv2.GaussianBlur(drop, (0, 0), 2.5 * edge)
    rim = np.clip(drop - inside, 0, None)
    rim /= max(float(rim.max()), 1e-6)
    body = drop * (0.75 + 0.15 * smooth_field(rng, (side, side), 5)) + rng.uniform(0, 0.6) * rim
    sign = -1 if rng.random() < 0.75 else 1
    return np.asarray(sign * _strength(rng, roughness, 2.3, 5.5) * body, np.float32)


def ragged_outline(rng: Generator, first: float, second: float, ragged: float) -> Grey:
    """(40, 2) points x, y of an ellipse around 0 with half axes ``first`` and ``second`` (pixels)
    whose radius wanders."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wander = np.ones_like(angles)
    for wave in (2, 3, 4, 5):
        wander += rng.normal(0, ragged / wave**0.5) * np.cos(wave * angles + rng.uniform(0, 6.3))
    return np.stack([first * np.cos(angles) * wander, second * np.sin(angles) * wander], 1)


def _ragged_disc(rng: Generator, side: int, first: float, second: float, ragged: float) -> Grey:
    """A ragged ellipse of any direction in the middle of (``side``, ``side``) pixels."""
    xs, ys = ragged_outline(rng, first, second, ragged).T
    turn = rng.uniform(0, np.pi)
    points = np.stack(
        [xs * np.cos(turn) - ys * np.sin(turn), xs * np.sin(turn) + ys * np.cos(turn)]
    )
    fixed = np.round((np.clip(points.T, -side / 2 + 2, side / 2 - 2) + side / 2) * 16)
    ink = np.zeros((side, side), np.uint8)
    cv2.fillPoly(ink, [fixed.astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return np.asarray(ink / 255, np.float32)


def _strength(rng: Generator, roughness: float, weakest: float, strongest: float) -> float:
    """Grey levels of a defect: a multiple of the surface's own variation, weak ones more often."""
    return float(roughness * (weakest + (strongest - weakest) * rng.beta(1.3, 1.5)))


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, uniform in its logarithm; ``low`` is above 0."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


DEFECTS: dict[str, Callable[[Generator, float, int], Grey]] = {
    "scratch": _scratch,
    "pit": _pit,
    "inclusion": _inclusion,
    "stain": _stain,
}
