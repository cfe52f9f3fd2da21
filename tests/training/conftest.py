"""Toy epochs are so short that last.pt would skip some, by the clock."""

from __future__ import annotations

import pytest

from kdlnet.training import checkpoints


@pytest.fixture(autouse=True)
def _every_epoch_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_SHARE", float("inf"))
