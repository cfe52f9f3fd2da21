"""What quantizing is the same for both tools: which layers, how many bits, what the file says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kdlnet.inference.export_network import header_of
from kdlnet.inference.layouts import Layout
from kdlnet.inference.weights import Weights
from kdlnet.utils.environment import sums_8_bits


def int8_header(weights: Weights, layout: Layout) -> dict[str, Any]:
    return header_of(weights, layout) | {"precision": "int8"}


def weight_bits() -> int:
    """7 where sums of 8-bit products would run over."""
    return 8 if sums_8_bits() else 7


def convolutions(model: Any) -> dict[str, str]:
    """Names of the convolution nodes by the layer of the network that each is.

    Only layers that end in an activation: the names of their weights end in ``.conv.weight``.
    """
    start, end = "detector.", ".conv.weight"
    return {
        node.input[1].removeprefix(start).removesuffix(end): node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1].endswith(end)
    }


@contextmanager
def no_advice() -> Iterator[None]:
    """Without the advice of a tool to its callers, which it logs as warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
