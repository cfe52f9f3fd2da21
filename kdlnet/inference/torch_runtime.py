"""Weights files in torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from kdlnet.inference.replayed import replayed_on
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.utils.device import device_name, find_device, prepare


def open_file(path: Path, wanted: Wanted) -> Runtime:
    """The weights in ``path``."""
    device = find_device(wanted.device)
    prepare(device)
    weights = load_weights(path, device)
    detector = weights.detector
    if wanted.fuse and not weights.fused:
        detector = fuse_model(detector).to(memory_format=torch.channels_last)
    contract = weights.preprocess
    if wanted.image_size is not None:
        contract = replace(contract, image_size=wanted.image_size)
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
