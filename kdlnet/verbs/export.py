"""Export with proof: the file is kept only if it answers as the weights do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from kdlnet.data.dataset import DetectionDataset
from kdlnet.errors import ConfigError, KdlnetError, ProofFailed, WeightsError, unknown
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.alike import SURE_SCORE
from kdlnet.inference.bf16 import check_bf16, check_judged
from kdlnet.inference.certificate import check_free, publish
from kdlnet.inference.exporters import EXPORTERS, HALF, Exporter
from kdlnet.inference.int8.drop import Drop
from kdlnet.inference.int8.plan import Int8Plan
from kdlnet.inference.kinds import WEIGHTS_KINDS, kind_of
from kdlnet.inference.layouts import OUTPUTS, Layout
from kdlnet.inference.parity import answers_of, compare
from kdlnet.inference.proof import Parity
from kdlnet.inference.proof_images import check_count, made_up_inputs, proof_split
from kdlnet.inference.runtimes import Runtime, open_runtime
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.types import ImageSize
from kdlnet.utils.device import prepare
from kdlnet.utils.files import temporary_folder
from kdlnet.utils.given import AnyPath, Name, as_path, checked
from kdlnet.utils.packages import optional_package
from kdlnet.utils.parse import parse_image_size

__all__ = ["Drop", "ExportCertificate", "export"]

IMAGES = 64
"""Images of the proof, when there are as many; with int8 it takes all."""


@dataclass(frozen=True, kw_only=True)
class ExportCertificate(Parity):
    """What was compared, and the result.

    The weights ran in torch as they are in their file, the exported one in ``runtime``. ``bytes``
    are those of all its files, ``device`` and ``precision`` what it ran on and in, ``facts`` what
    the format adds.
    """

    weights: str
    exported: str
    format: str
    bytes: int
    runtime: str
    device: str
    precision: str
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        facts: dict[str, Any] = values.pop("facts")
        return values | facts


@checked
def export(
    weights: AnyPath,
    *,
    format: str = "onnx",
    data: Name | None = None,
    data_root: AnyPath | None = None,
    split: str = "val",
    images: int | None = None,
    image_size: ImageSize | None = None,
    half: bool = False,
    bf16: bool = False,
    outputs: str = "points",
    batch: int | None = None,
    dynamic: bool = False,
    int8: bool = False,
    calibration: int | None = None,
    max_drop: Mapping[str, float] | None = None,
    device: str = "cpu",
    out: AnyPath | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> ExportCertificate:
    """Writes ``weights``, fused, in another format, once the answers are proved to be the same.

    The proof runs on ``images`` of the ``split`` of ``data``, spread over it, or on made-up ones
    without ``data``, and on ``device``, where the file is to run: an integrated GPU or an NPU may
    answer otherwise than the CPU. ``half`` stores numbers in 16 bits. ``bf16`` multiplies in
    bfloat16 where the CPU has AMX, in float32 elsewhere. ``outputs`` is one of OUTPUTS, ``batch``
    what the file takes at once, None for any. ``dynamic``: the file takes any height and width in
    multiples of the largest stride; the proof runs at ``image_size`` and once more at a larger size
    that is not square. ``int8`` computes in 8 bits, with ranges from ``calibration`` training
    images of ``data``; what it may lose on the split is ``max_drop`` (``ap``, ``flips``,
    ``escape``; see Drop). With ``bf16`` and ``int8`` the proof takes all images of the split by
    default. The file is ``out``, by default the weights' name with the format's suffix, before it
    ``-half``, ``-bf16`` or ``-int8``; its certificate lies beside it as ``<name>.json``. Raises
    ProofFailed, and leaves the disk as it was, when the answers differ; KdlnetError when an
    optional package is missing.
    """
    weights, data_root, out = as_path(weights), as_path(data_root), as_path(out)
    layout = Layout(outputs, batch, dynamic)
    numbers = _numbers(half=half, bf16=bf16, int8=int8)
    exporter = _exporter(format, numbers, layout)
    exporter = replace(exporter, facts=exporter.facts | layout.to_dict())
    plan = Int8Plan.of(int8, format, layout, data, data_root, calibration, max_drop)
    path, certificate_path = _targets(weights, exporter, numbers, out)
    for package in exporter.packages:
        optional_package(package, f"--format {format}")
    if bf16:
        check_bf16(data, device, layout)
    check_free(path, exporter.kind, certificate_path, overwrite)
    prepare(torch.device("cpu"))
    loaded = load_weights(weights)
    if image_size is not None:
        loaded.preprocess = replace(loaded.preprocess, image_size=parse_image_size(image_size))
    check_count(images)
    if images is None and not (plan or bf16):
        images = IMAGES
    dataset = proof_split(loaded, data, data_root, split, images, "made-up", on_event)
    fused = _fused(loaded, on_event)
    with temporary_folder() as staging:
        staged = exporter.kind.files(Path(staging, path.name))
        if plan and dataset:
            exporter = plan.write(
                exporter, loaded, fused, layout, dataset, staged[0], device, on_event
            )
        else:
            exporter.write(fused, staged[0], layout)
        runtime = open_runtime(staged[0], device=device, runtime=exporter.kind.runtime)
        certificate = _prove(loaded, format, exporter, runtime, path, dataset, on_event)
        if dynamic:
            other = _of_another_size(loaded)
            dataset = proof_split(other, data, data_root, split, images, "made-up", ignore)
            found = _prove(other, format, exporter, runtime, path, dataset, on_event)
            more = _another_size(found) | {"multiples_of": max(loaded.detector.strides)}
            certificate = replace(certificate, facts=certificate.facts | more)
        if bf16:
            check_judged(certificate, split)
        check_free(path, exporter.kind, certificate_path, overwrite)  # another may be there by now
        publish(staged, path.parent, certificate_path, certificate.to_dict())
    return certificate


def _numbers(**wanted: bool) -> str:
    """The one of ``half``, ``bf16`` and ``int8`` that is wanted, "" for none."""
    names = [name for name, given in wanted.items() if given]
    if len(names) > 1:
        raise ConfigError(f"--{names[1]} and --{names[0]}: give one of them")
    return names[0] if names else ""


def _exporter(format: str, numbers: str, layout: Layout) -> Exporter:
    """That of ``format``. Raises ConfigError for an unknown one and for what it cannot do."""
    if format == "tensorrt":
        raise ConfigError(
            "format 'tensorrt': an engine is built on the card it is for; leave --format out and "
            "run the .onnx there with --device tensorrt (needs onnxruntime-gpu and TensorRT), or "
            "give it to trtexec as docs/deploy.md says"
        )
    if format not in EXPORTERS:
        raise ConfigError(unknown("format", format, EXPORTERS))
    exporter = EXPORTERS[format]
    _check_layout(format, exporter, layout)
    if numbers not in ("half", "bf16"):
        return exporter
    found: Exporter | None = getattr(exporter, numbers)
    if found is None:
        able = ", ".join(name for name, one in EXPORTERS.items() if getattr(one, numbers))
        raise ConfigError(f"--{numbers}: not for {format}; formats with it: {able}")
    return found


def _check_layout(format: str, exporter: Exporter, layout: Layout) -> None:
    outputs = layout.outputs
    if outputs not in OUTPUTS:
        raise ConfigError(unknown("outputs", outputs, OUTPUTS))
    if outputs not in exporter.outputs:
        able = ", ".join(name for name, one in EXPORTERS.items() if outputs in one.outputs)
        raise ConfigError(
            f"{format} cannot suppress boxes itself (--nms); formats that can: {able}"
        )
    if layout.dynamic and not exporter.dynamic:
        able = ", ".join(name for name, one in EXPORTERS.items() if one.dynamic)
        raise ConfigError(f"--dynamic: {format} has one size; formats that take any: {able}")
    if layout.dynamic and outputs == "detections":
        raise ConfigError("--dynamic and --nms: give one of them")


def _targets(
    weights: Path, exporter: Exporter, numbers: str, out: Path | None
) -> tuple[Path, Path]:
    """The places of the exported file, by default named by its ``numbers``, and its certificate."""
    kind, suffix = kind_of(weights), exporter.kind.suffixes[0]
    if kind is not None and kind not in WEIGHTS_KINDS:
        raise WeightsError(f"{str(weights)!r} is an exported file: give the .pt it was made from")
    ending = f"-{numbers}" if numbers else ""
    path = out or weights.with_name(f"{weights.stem}{ending}{suffix}")
    if path.suffix.lower() != suffix:
        formats = {each.kind.suffixes[0]: name for name, each in EXPORTERS.items()}
        other = formats.get(path.suffix.lower())
        hint = f", or add --format {other}" if other else ""
        raise KdlnetError(f"--out {str(path)!r}: name a file that ends in {suffix}{hint}")
    if path.is_dir():
        raise KdlnetError(f"--out {str(path)!r} is a folder: name a file that ends in {suffix}")
    if path.resolve() == weights.resolve():
        raise KdlnetError(f"--out {str(path)!r}: name another file than the weights")
    return path, path.with_name(f"{path.name}.json")


def _fused(weights: Weights, on_event: Listener) -> Weights:
    if weights.fused:
        return weights
    on_event(Message(f"{str(weights.path)!r} is not fused: it is fused in memory for the export"))
    return replace(weights, detector=fuse_model(weights.detector), fused=True)


def _of_another_size(weights: Weights) -> Weights:
    """Weights for larger images that are not square: what is bound to one size shows."""
    height, width = weights.preprocess.image_size
    step = max(weights.detector.strides)
    more = (2 * step, step) if height > width else (step, 2 * step)
    size = (height + more[0], width + more[1])
    return replace(weights, preprocess=replace(weights.preprocess, image_size=size))


def _another_size(proof: Parity) -> dict[str, Any]:
    """What was compared there, as a fact of the certificate."""
    found = proof.to_dict()
    return {"another_size": {each.name: found[each.name] for each in fields(Parity)}}


def _prove(
    weights: Weights,
    format: str,
    exporter: Exporter,
    runtime: Runtime,
    path: Path,
    dataset: DetectionDataset | None,
    on_event: Listener,
) -> ExportCertificate:
    """The certificate of what ``runtime`` runs. Raises ProofFailed when it does not pass."""
    contract = weights.preprocess
    exact = runtime.precision == "float32" or exporter.half is None
    parity = compare(
        weights.detector,
        answers_of(runtime),
        made_up_inputs(contract) if dataset is None else dataset,
        names=weights.names,
        image_size=contract.image_size,
        rule=weights.rule,
        tolerance=exporter.tolerance if exact else HALF,
        task="compare torch and {} at {}x{}".format(format, *contract.image_size),
        on_event=on_event,
    )
    certificate = ExportCertificate(
        **vars(parity),
        weights=str(weights.path),
        exported=str(path),
        format=format,
        bytes=sum(file.stat().st_size for file in exporter.kind.files(runtime.path)),
        runtime=f"{runtime.name} {runtime.version}",
        device=f"{runtime.device}: {runtime.device_name}",
        precision=runtime.precision,
        facts=exporter.facts,
    )
    _judge(certificate, on_event)
    return certificate


def _judge(proof: ExportCertificate, on_event: Listener) -> None:
    height, width = proof.image_size
    if not proof.passed:
        raise ProofFailed(
            f"the exported {proof.weights!r} gives other answers at {height}x{width}, no file was "
            f"written: {proof.describe()}"
        )
    if not proof.boxes_compared and proof.box_tolerance is not None:
        text = f"no box scores above {SURE_SCORE}: the proof rests on logits and raw boxes"
        on_event(Message(text, "warning"))
