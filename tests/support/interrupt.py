"""A listener that presses Ctrl-C."""

from __future__ import annotations

from kdlnet.events import EpochDone


class StopAt:
    """Presses it after so many epochs, those of all trainings of a series counted together."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def __call__(self, event: object) -> None:
        self.left -= isinstance(event, EpochDone)
        if self.left == 0:
            raise KeyboardInterrupt
