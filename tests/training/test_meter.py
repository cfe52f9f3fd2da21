"""Means over an epoch."""

from __future__ import annotations

import torch

from kdlnet.training.meter import Meter
from kdlnet.types import StepOutput


def test_a_part_counts_in_the_steps_that_report_it() -> None:
    meter = Meter()
    assert meter.means() == {}
    for loss, parts in ((1.0, {"a": 1.0}), (3.0, {"a": 2.0, "b": 8.0}), (2.0, {"a": 6.0})):
        values = {name: torch.tensor(value) for name, value in parts.items()}
        meter.add(StepOutput(torch.tensor(loss), values), images=4)
    assert meter.means() == {"loss": 2.0, "a": 3.0, "b": 8.0}
    assert meter.all_means() == (meter.means(), 12)
