"""Weights files in torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from kdlnet.inference.replayed import replayed_on
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.utils.device import device_name, find_device, prepare
from kdlnet.utils.parse import parse_image_size
from kdlnet.utils.threads import safe_in_forks


def open_file(path: Path, wanted: Wanted) -> Runtime:
    """The weights in ``path``."""
    device = find_device(wanted.device)
    prepare(device)
    weights, detector = _loaded(path, device, wanted.fuse)
    contract = weights.preprocess
    if wanted.image_size is not None:
        contract = replace(contract, image_size=parse_image_size(wanted.image_size))
    return Runtime(
        name="torch",
        version=torch.__version__,
        engine=TorchEngine(replayed_on(device, detector), device),
        device_name=device_name(device),
        threads=wanted.threads or torch.get_num_threads(),
        path=path,
        model=weights.model,
        names=weights.names,
        preprocess=contract,
        rule=weights.rule,
        calibration=weights.calibration,
        fused=wanted.fuse or weights.fused,
        file_fused=weights.fused,
        fixed_size=False,
        learned=weights.learned,
        precision="float32 (TF32)" if device.type == "cuda" else "float32",
    )


@safe_in_forks
def _loaded(path: Path, device: torch.device, fuse: bool) -> tuple[Weights, Network]:
    """What is in ``path``, and the detector to run, folded where ``fuse`` asks for it."""
    weights = load_weights(path, device)
    if not fuse or weights.fused:
        return weights, weights.detector
    return weights, fuse_model(weights.detector).to(memory_format=torch.channels_last)
