"""Predictions are written behind the network: in order, and no more of them wait than may."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from kdlnet.errors import KdlnetError
from kdlnet.inference import behind as module
from kdlnet.inference.behind import Behind
from kdlnet.inference.prediction import Prediction

EMPTY = np.zeros(0), np.zeros(0, np.int64)


def made(index: int, pixels: int = 1) -> Prediction:
    image = np.zeros((1, pixels, 1), np.uint8)
    return Prediction("a", (1, pixels), np.zeros((0, 4)), *EMPTY, ("a",), index=index, image=image)


@dataclass
class Writer:
    """Pictures of even images take longer than those of odd ones."""

    broken: int | None = None
    gate: threading.Event | None = None
    begun: list[int] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def begin(self, prediction: Prediction) -> Any:
        index = prediction.index
        self.begun.append(index)

        def draw() -> None:
            if self.gate is not None:
                self.gate.wait(5)
            if index == self.broken:
                raise KdlnetError("the disk is full")
            time.sleep(0.05 * (index % 2 == 0))
            self.drawn.append(index)

        return draw

    def end(self, prediction: Prediction) -> None:
        assert prediction.index in self.drawn
        self.ended.append(prediction.index)


def test_pictures_side_by_side_and_documents_in_order() -> None:
    writer = Writer()
    with Behind(writer, 4) as write:  # type: ignore[arg-type]
        for index in range(8):
            write(made(index))
    assert writer.ended == list(range(8))
    assert writer.drawn != list(range(8)) and sorted(writer.drawn) == list(range(8))


def test_an_error_is_raised_and_its_image_is_in_no_document() -> None:
    writer = Writer(broken=2)
    with pytest.raises(KdlnetError, match="disk is full"), Behind(writer, 4) as write:  # type: ignore[arg-type]
        for index in range(4):
            write(made(index))
    assert 2 not in writer.ended


@pytest.mark.parametrize(("pixels", "most"), [(1, 6), (60, 2)])
def test_no_more_wait_than_may(pixels: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of three small images; of large ones two, whatever the batch."""
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    writer = Writer(gate=threading.Event())
    write = Behind(writer, 3)  # type: ignore[arg-type]
    given: list[int] = []

    def give() -> None:
        for index in range(8):
            write(made(index, pixels))
            given.append(index)

    thread = threading.Thread(target=give)
    thread.start()
    time.sleep(0.3)
    assert given == list(range(most))
    assert writer.gate is not None
    writer.gate.set()
    thread.join()
    write.__exit__(None, None, None)
    assert writer.ended == list(range(8))
