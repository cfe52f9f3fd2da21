"""Weights as TorchScript: one function, all facts in an entry of its own."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import torch

from kdlnet.inference.export_network import example_of, header_of, network_of
from kdlnet.inference.layouts import Layout
from kdlnet.inference.torchscript_file import HEADER, pack
from kdlnet.inference.weights import Weights
from kdlnet.utils.files import write_atomic


def write_torchscript(weights: Weights, path: Path, layout: Layout, half: bool = False) -> None:
    """A fused detector as TorchScript: fixed height and width.

    ``half`` computes in 16 bits; images and answers stay float32.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # torch calls TorchScript outdated, and warns of sizes that are meant to be constants.
        warnings.simplefilter("ignore")
        network = network_of(weights, layout, half)
        traced = torch.jit.trace(network, example_of(weights, layout), check_trace=False)
        torch.jit.save(torch.jit.freeze(traced), buffer)
    with zipfile.ZipFile(buffer) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        # Notes for debuggers name the source files of this machine.
        kept = [name for name in names if not name.endswith(".debug_pkl")]
        entries = {name: archive.read(names[name]) for name in kept}
    header = header_of(weights, layout, half) | ({"precision": "float16"} if half else {})
    entries[HEADER] = json.dumps(header).encode()
    write_atomic(path, pack(entries))
