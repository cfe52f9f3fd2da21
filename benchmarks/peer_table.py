"""The table of peers.py: what was measured, side by side, and the bars it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from process_clock import spread

HEAD = "| what | side | time or rate | peak MiB | time beside the peer's |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Bar:
    """``own`` is to take at most ``factor`` of the time of ``peer``, for each of which one is."""

    own: str
    peer: str
    factor: float


@dataclass
class Part:
    """Seconds (or milliseconds) by side and round; ``rates`` are what people read instead."""

    name: str
    unit: str
    times: dict[str, list[float]]
    bars: Sequence[Bar] = ()
    rates: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)

    def ratios(self, bar: Bar) -> list[float]:
        """Own time over the peer's, round by round; [] where a side was not measured."""
        pair = self.times.get(bar.own, []), self.times.get(bar.peer, [])
        return [own / peer for own, peer in zip(*pair, strict=False)]

    def lines(self) -> list[str]:
        """Rows of the table."""
        found = []
        for side, times in self.times.items():
            value = f"{spread(times)} {self.unit}"
            if side in self.rates:
                value = f"{spread(self.rates[side], 1)} images/s"
            memory = spread(self.memory[side], 0) if side in self.memory else ""
            against = [self._verdict(bar) for bar in self.bars if bar.own == side]
            found.append(f"| {self.name} | {side} | {value} | {memory} | {'; '.join(against)} |")
        return found

    def _verdict(self, bar: Bar) -> str:
        ratios = self.ratios(bar)
        if not ratios:
            return ""
        met = "met" if statistics.median(ratios) <= bar.factor else "not met"
        return f"{spread(ratios)} of {bar.peer}; at most {bar.factor:g}: {met}"
