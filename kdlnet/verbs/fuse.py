"""Fusing with proof: the fused file is kept only if it answers as the original does."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kdlnet.data.dataset import DetectionDataset
from kdlnet.errors import KdlnetError, ProofFailed
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.alike import SURE_SCORE
from kdlnet.inference.certificate import check_free, publish
from kdlnet.inference.kinds import KINDS, is_weights_name
from kdlnet.inference.parity import compare, with_boxes
from kdlnet.inference.proof import Parity, Tolerance
from kdlnet.inference.proof_images import check_count, proof_split, random_inputs
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.cost import cost_of
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.utils.device import find_device, prepare, synchronize
from kdlnet.utils.files import temporary_folder
from kdlnet.utils.given import AnyPath, Name, as_path, checked


@dataclass(frozen=True, kw_only=True)
class Certificate(Parity):
    """What was compared, and the result.

    ``gflops`` are 2 x multiply-adds of one image at the weights' own size; ``latency_ms`` the
    median forward pass of one image on ``device``.
    """

    weights: str
    fused: str
    device: str
    parameters_before: int
    parameters_after: int
    gflops_before: float
    gflops_after: float
    latency_ms_before: float
    latency_ms_after: float
    already_fused: bool = False


@checked
def fuse(
    weights: AnyPath,
    *,
    data: Name | None = None,
    data_root: AnyPath | None = None,
    split: str = "val",
    out: AnyPath | None = None,
    overwrite: bool = False,
    images: int | None = None,
    device: str = "cpu",
    on_event: Listener = ignore,
) -> Certificate:
    """Folds ``weights`` into plain convolutions, proves it on images and writes the fused file.

    The images are the ``split`` of ``data`` (``images`` of it, at least 32, all by default), or
    random ones without ``data``. The file is ``out``, by default ``<name>-fused`` beside the
    weights, with its certificate as ``.json`` beside it. A file that is fused already gives its
    certificate, and a copy where ``out`` is given. Raises ProofFailed, and leaves no file, when the
    answers differ.
    """
    weights, data_root, out = as_path(weights), as_path(data_root), as_path(out)
    target = find_device(device)
    prepare(target)
    loaded = load_weights(weights, target)
    path = _target(weights, out)
    certificate_path = path.with_suffix(".json")
    check_count(images)
    writes = out is not None or not loaded.fused
    if loaded.fused:
        copied = f"a copy goes to {str(path)!r}" if writes else "no file is written"
        on_event(Message(f"{str(weights)!r} is fused already; {copied}"))
    if writes:
        check_free(path, KINDS["torch"], certificate_path, overwrite)
    dataset = None
    if data is not None or not loaded.fused:  # nothing is proved by a file against itself
        dataset = proof_split(loaded, data, data_root, split, images, "random", on_event)
    detector = fuse_model(loaded.detector).to(memory_format=torch.channels_last)
    fused = replace(loaded, detector=detector, fused=True, training={})
    certificate = _certify(loaded, fused, path if writes else weights, dataset, target, on_event)
    if not writes:
        return certificate
    if not loaded.fused:
        _judge(certificate, on_event)
    with temporary_folder() as staging:
        save_weights(Path(staging, path.name), fused)
        check_free(path, KINDS["torch"], certificate_path, overwrite)  # another may be there by now
        publish([Path(staging, path.name)], path.parent, certificate_path, certificate.to_dict())
    return certificate


def _target(weights: Path, out: Path | None) -> Path:
    suffix = weights.suffix if is_weights_name(weights) else ".pt"
    path = out or weights.with_name(f"{weights.stem}-fused{suffix}")
    if not is_weights_name(path) or path.resolve() == weights.resolve():
        raise KdlnetError(
            f"--out {str(path)!r}: name another file than the weights, with the suffix .pt or "
            ".safetensors"
        )
    return path


def _judge(certificate: Certificate, on_event: Listener) -> None:
    if not certificate.boxes_compared:
        text = f"no box scores above {SURE_SCORE}: the proof rests on the logits alone"
        on_event(Message(text, "warning"))
    if not certificate.passed:
        raise ProofFailed(
            f"fusing {certificate.weights!r} changes its answers, no file was written: "
            f"{certificate.describe()}"
        )


def _certify(
    before: Weights,
    after: Weights,
    path: Path,
    dataset: DetectionDataset | None,
    device: torch.device,
    on_event: Listener,
) -> Certificate:
    contract = before.preprocess
    parity = compare(
        before.detector,
        with_boxes(after.detector),
        random_inputs(contract, device) if dataset is None else dataset,
        names=before.names,
        image_size=contract.image_size,
        rule=before.rule,
        tolerance=Tolerance(),
        device=device,
        on_event=on_event,
    )
    latency = _latency(before.detector, after.detector, before, device)
    cost, fused_cost = (
        cost_of(weights.detector, contract.image_size) for weights in (before, after)
    )
    return Certificate(
        **vars(parity),
        weights=str(before.path),
        fused=str(path),
        device=str(device),
        parameters_before=cost.parameters,
        parameters_after=fused_cost.parameters,
        gflops_before=cost.gflops,
        gflops_after=fused_cost.gflops,
        latency_ms_before=latency[0],
        latency_ms_after=latency[1],
        already_fused=before.fused,
    )


@torch.no_grad()
def _latency(
    before: Network, after: Network, weights: Weights, device: torch.device, rounds: int = 15
) -> tuple[float, float]:
    """Median milliseconds of one image through each, measured in turn."""
    image = next(random_inputs(weights.preprocess, device))
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 3):
        for detector, record in zip((before, after), times, strict=True):
            synchronize(device)
            began = time.perf_counter()
            detector(image)
            synchronize(device)
            if number >= 3:
                record.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[0]), statistics.median(times[1])
