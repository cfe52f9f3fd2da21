"""The kinds of files that hold a network: their suffixes, what runs them, how they begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdlnet.inference.torchscript_file import is_torchscript


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    ``suffixes``: the first is that of the file that is named and opened, files with the others lie
    beside it. ``runtime`` is a key of RUNTIMES, None where kdlnet has none that runs it. ``begins``
    knows the kind by the first bytes.
    """

    title: str
    suffixes: tuple[str, ...]
    runtime: str | None
    begins: Callable[[bytes], bool]

    def files(self, path: Path) -> list[Path]:
        """All files of the network that is named ``path``."""
        return [path, *(path.with_suffix(suffix) for suffix in self.suffixes[1:])]


def _is_safetensors(head: bytes) -> bool:
    """The length of a JSON header in 8 bytes, then the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27


def _is_onnx(head: bytes) -> bool:
    """A protocol buffer whose field 1, the version of the format, is a small number."""
    return len(head) > 1 and head[0] == 8 and 0 < head[1] < 32


def _is_openvino(head: bytes) -> bool:
    """XML, the first element a net. Label files and results are XML, too."""
    return head.lstrip().startswith(b"<?xml") and b"<net " in head


KINDS: dict[str, FileKind] = {
    "torchscript": FileKind("a TorchScript file", (".torchscript",), "torchscript", is_torchscript),
    "torch": FileKind("a weights file", (".pt",), "torch", lambda head: head[:4] == b"PK\x03\x04"),
    "safetensors": FileKind("a weights file", (".safetensors",), "torch", _is_safetensors),
    "onnx": FileKind("an ONNX file", (".onnx",), "onnxruntime", _is_onnx),
    "openvino": FileKind("an OpenVINO file", (".xml", ".bin"), "openvino", _is_openvino),
    # How an engine begins is not documented: it is known by its name alone.
    "tensorrt": FileKind("a TensorRT engine", (".engine",), None, lambda head: False),
}
"""By name. That of an exported kind is the name of its format."""

WEIGHTS_KINDS = ("torch", "safetensors")
"""Kinds that hold trainable tensors; the others only run."""


def kind_of(path: Path) -> str | None:
    """The name of the kind of ``path``, by its content, else (no such file) by its suffix."""
    head = _head(path)
    for name, kind in KINDS.items():
        if kind.begins(head):
            return name
    return next((name for name in KINDS if _has_suffix(path, name)), None)


def is_weights_name(path: Path) -> bool:
    """Whether weights can be written under this name: its suffix says in which form."""
    return any(_has_suffix(path, name) for name in WEIGHTS_KINDS)


def _has_suffix(path: Path, name: str) -> bool:
    return path.suffix.lower() == KINDS[name].suffixes[0]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:  # who reads the file says so
        return b""
