"""Devices by name, and the switches that make them fast."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from kdlnet.errors import ConfigError, unknown
from kdlnet.utils.environment import processor_name
from kdlnet.utils.memory import keep_freed_memory
from kdlnet.utils.ranks import local_rank


def find_device(name: str) -> torch.device:
    """``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Of several processes that train together each gets a GPU of its own, or all the CPU. Raises
    ConfigError for another name and for a device this machine does not have.
    """
    name, available = name.lower(), available_devices()
    number = local_rank()
    if number is not None:
        return _own_device(name, number, available)
    if name == "auto":
        return torch.device(available[min(1, len(available) - 1)])
    if name.isdigit():
        name = f"cuda:{name}"
    if name.split(":")[0] in ("cuda", "mps") and len(available) == 1:
        raise ConfigError(f"device {name!r}: there is none on this machine; use auto or cpu")
    if name in ("gpu", "npu"):
        raise ConfigError(
            f"device {name!r} is one of OpenVINO, for an exported .xml file; for a card of NVIDIA "
            f"give cuda. Known here: {', '.join(['auto', *available])}"
        )
    if name not in available:
        raise ConfigError(unknown("device", name, ["auto", *available]))
    return torch.device(name)


def _own_device(name: str, number: int, available: list[str]) -> torch.device:
    """That of process ``number`` on this machine."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r} for several processes: give auto, cpu or cuda")
    if name == "cpu" or (name == "auto" and "cuda" not in available):
        return torch.device("cpu")
    if f"cuda:{number}" not in available:
        found = sum(device.startswith("cuda:") for device in available)
        raise ConfigError(
            f"{number + 1} or more processes here for {found} GPUs: start one for each of them"
        )
    return torch.device(f"cuda:{number}")


def available_devices() -> list[str]:
    """Names of the devices here, the CPU first."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    elif torch.backends.mps.is_available():
        names.append("mps")
    return names


def device_name(device: torch.device) -> str:
    """The name of the chip that ``device`` is."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


def prepare(device: torch.device) -> None:
    """Flushes denormals (a BatchNorm stack can run 100 times slower with them) and picks kernels.

    Denormal flushing is a property of each thread: call this before the first tensor operation.
    """
    torch.set_flush_denormal(True)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all it was given; a timing without it is wrong on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision for ``amp`` of the config, None for plain float32.

    ``auto`` takes what ``device`` is quicker in: what it only emulates is slower.
    """
    if amp == "auto":
        if device.type == "cuda":
            ampere = torch.cuda.get_device_capability(device) >= (8, 0)
            return torch.bfloat16 if ampere else torch.float16
        return torch.bfloat16 if device.type == "cpu" and _gains_by_bfloat16() else None
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def _gains_by_bfloat16() -> bool:
    """Whether the processor has AMX or AMD's AVX512-BF16; False where torch does not say.

    Intel's AVX512-BF16 alone multiplies no faster than float32, and converting costs: trainings
    took 1.2 to 1.3 times as long with it (RECIPES.md).
    """
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    amd = known.get("avx512_bf16") and "AMD" in processor_name()
    return bool(known.get("amx_bf16") or amd)


def precision_name(amp: str, device: torch.device) -> str:
    """What ``amp`` of the config multiplies in: ``float32``, ``bfloat16`` or ``float16``."""
    return str(autocast_dtype(amp, device) or torch.float32).removeprefix("torch.")


def full_precision(device: torch.device) -> torch.autocast:
    """Without the mixed precision of a program around us: boxes are to be the same in any."""
    return torch.autocast(device.type, enabled=False)


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Without TF32, whose rounding on recent cards is ten times what a proof allows."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before
