"""Random numbers of a sample, drawn from (seed, epoch, number) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdlnet.training.warping import Floats

_DRAWS = (
    *("mosaic", "tile1", "tile2", "tile3", "mixup", "mixup_partner", "mixup_share"),
    *("flip_horizontal", "flip_vertical", "scale", "translate_x", "translate_y", "angle"),
    *("shear_x", "shear_y", "brightness", "contrast", "saturation", "hue"),
    *("paste", "paste_donor", "paste_box", "paste_x", "paste_y"),
    *("quarter", "blur", "noise", "noise_y", "noise_x"),
)
_COLUMN = {name: column for column, name in enumerate(_DRAWS)}


class Draws:
    """Uniform numbers in [0, 1) of the samples of a batch, by name: ``draws["scale"]`` is (B,)."""

    def __init__(self, seed: int, epoch: int, indices: NDArray[np.int64]) -> None:
        self.table = np.stack([uniforms(seed, epoch, int(index), len(_DRAWS)) for index in indices])

    def __getitem__(self, name: str) -> Floats:
        return self.table[:, _COLUMN[name]]

    def signed(self, name: str) -> Floats:
        """The same numbers in [-1, 1)."""
        return 2 * self[name] - 1

    def quarters(self, share: float) -> Floats:
        """Quarter turns (B,): 0 to 3 for so large a ``share`` of the samples, else 0."""
        if not share:
            return np.zeros(len(self.table))
        turns: Floats = np.floor(4 * self["quarter"] / share)
        return np.where(turns < 4, turns, 0.0)


def uniforms(seed: int, epoch: int, index: int, count: int) -> Floats:
    """``count`` numbers in [0, 1) that depend on nothing but the four arguments."""
    key = np.array([seed, (epoch << 40) + index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(count)
