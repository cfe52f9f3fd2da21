"""Layers go back to float32, the most costly first, until what is lost is allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kdlnet.errors import ProofFailed
from kdlnet.inference.int8.drop import Drop

Measure = Callable[[Collection[str]], Drop]
"""Layers that stay in float32 to what the others cost in 8 bits."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """One layer that went back, its ``cost`` alone, and what was lost ``with_it`` in 8 bits."""

    layer: str
    cost: float
    with_it: Drop


@dataclass(frozen=True)
class Held:
    """The layers that had to go back, in their order, of how many, and what is lost without."""

    layers: int
    put_back: tuple[PutBack, ...]
    drop: Drop

    def to_dict(self) -> dict[str, Any]:
        return {
            "layers": self.layers,
            "put_back": [asdict(each) for each in self.put_back],
            "drop": asdict(self.drop),
        }


def put_back(
    layers: Sequence[str],
    costs: Callable[[], Mapping[str, float]],
    measure: Measure,
    allowed: Drop,
) -> Held:
    """Measures with all layers in 8 bits, then with one fewer at a time.

    ``costs`` of all layers are asked for only where they are needed. Half of the layers may go
    back: beyond that nothing of the speed is left. Raises ProofFailed when that is not enough.
    """
    gone: list[PutBack] = []
    drop = measure(())
    ranked = {} if drop.within(allowed) else costs()
    for layer in sorted(ranked, key=lambda name: -ranked[name])[: len(layers) // 2]:
        gone.append(PutBack(layer, ranked[layer], drop))
        drop = measure([each.layer for each in gone])
        if drop.within(allowed):
            break
    if not drop.within(allowed):
        raise ProofFailed(
            f"int8 loses too much, no file was written: {drop.describe(allowed)} with {len(gone)} "
            f"of {len(layers)} layers put back to float32, and more than half are not; "
            "raise --max-drop, or give more images to --calibration"
        )
    return Held(len(layers), tuple(gone), drop)
