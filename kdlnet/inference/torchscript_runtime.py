"""TorchScript files of kdlnet in torch; those of anybody else are not run."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdlnet.errors import WeightsError
from kdlnet.inference.exported import Run, damaged, exported_file, exported_runtime, read_header
from kdlnet.inference.layouts import Answers, Array, Layout
from kdlnet.inference.runtimes import Runtime, Wanted
from kdlnet.inference.torchscript_file import HEADER, foreign_part, pack, unpack
from kdlnet.utils.device import device_name, find_device, full_precision, prepare
from kdlnet.utils.threads import Home, safe_in_forks


def open_file(path: Path, wanted: Wanted) -> Runtime:
    """The network in a TorchScript file.

    Raises WeightsError for a file that is damaged or holds anything that kdlnet export does not
    write: it is never run.
    """
    device = find_device(wanted.device)
    prepare(device)
    entries = _checked(path)
    header = read_header(entries[HEADER].decode(), None, path, "a TorchScript file")
    names = list(Answers(header, Layout.of_header(header)).shapes)
    run = _runner(device, path, entries, names)
    return exported_runtime(
        path,
        wanted,
        header,
        run,
        str(device),
        name="torchscript",
        version=torch.__version__,
        device_name=device_name(device),
        threads=wanted.threads or torch.get_num_threads(),
        precision="float32 (TF32)" if device.type == "cuda" else "float32",
    )


def _checked(path: Path) -> dict[str, bytes]:
    """The entries of a file that may be run."""
    content = exported_file(path, "TorchScript file")
    try:
        entries = unpack(content)
        foreign = foreign_part(entries)
        entries[HEADER].decode()
    except Exception:  # a damaged byte raises whatever it likes
        raise damaged(path) from None
    if foreign is not None:
        raise WeightsError(
            f"{str(path)!r} was not loaded: TorchScript is a program, and this one holds {foreign},"
            " which kdlnet export does not write. Export the weights again"
        )
    return entries


@safe_in_forks
def _runner(device: torch.device, path: Path, entries: dict[str, bytes], names: list[str]) -> Run:
    """Runs the program on ``device``; its answers are called ``names``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript outdated
        try:
            program: Any = torch.jit.load(io.BytesIO(pack(entries)), map_location=device)
        except Exception as error:  # its classes are many
            reason = str(error).strip().split("\n")[0]
            raise WeightsError(
                f"{str(path)!r} is not a readable TorchScript file: {reason}"
            ) from None

    home = Home()

    @torch.inference_mode()
    def run(images: Array, outputs: Sequence[str]) -> Sequence[Array]:
        home.require(torch.get_num_threads())
        with full_precision(device):
            found = program(torch.from_numpy(np.ascontiguousarray(images)).to(device))
        return [found[names.index(name)].cpu().numpy() for name in outputs]

    return run
