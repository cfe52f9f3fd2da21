"""Copies of files that hold a network, with other facts about it: what computes stays."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from kdlnet import __version__
from kdlnet.errors import KdlnetError, WeightsError
from kdlnet.inference.exported import METADATA_KEY
from kdlnet.inference.kinds import KINDS, WEIGHTS_KINDS, kind_of
from kdlnet.inference.targets import check_target
from kdlnet.inference.torchscript_file import HEADER, pack, unpack
from kdlnet.inference.weights import copy_weights
from kdlnet.utils.files import sha256_of, write_atomic, write_together
from kdlnet.utils.packages import optional_package
from kdlnet.utils.seal import SEAL, sealed

Facts = dict[str, Any]

_IN_XML = re.compile(rf'(<{METADATA_KEY} value=")([^"]*)'.encode())


def copy_network(source: Path, path: Path, **facts: Any) -> None:
    """Writes ``source``, weights or an exported file, again with other ``facts`` of its header.

    Its numbers stay as they are stored, to the bit. Raises KdlnetError when it cannot.
    """
    kind = kind_of(source)
    if kind == "onnx":
        _copy_onnx(source, path, facts)
    elif kind == "openvino":
        _copy_openvino(source, path, facts)
    elif kind == "torchscript":
        entries = unpack(source.read_bytes())
        header = _changed(entries[HEADER].decode(), facts)
        write_atomic(path, pack(entries | {HEADER: header.encode()}))
    else:
        copy_weights(source, path, **facts)


def content_of(source: Path) -> list[str] | None:
    """The checksum of each file of a network, None where one of them cannot be read."""
    try:
        return [sha256_of(file) for file in KINDS[kind_of(source) or "torch"].files(source)]
    except OSError:
        return None


def require_unchanged(source: Path, before: list[str] | None) -> None:
    """Raises WeightsError where the :func:`content_of` ``source`` is no longer that of ``before``:
    a copy would hold another network than the one that its new facts are of."""
    if content_of(source) != before:
        raise WeightsError(
            f"{str(source)!r} was changed or moved while it was measured, so nothing was written: "
            "begin again once nobody writes it, or with a copy of it"
        )


def copy_path(named: Path, file: Path, title: str, out: Path | None, overwrite: bool) -> Path:
    """Where the copy of ``file`` goes: ``out``, else its name as ``named``, then ``-title``.

    ``named`` may be that of released weights. Raises KdlnetError where the copy would be of another
    kind, or replace the original, what is there, or with ``overwrite`` what is no network, where
    nothing can be written, and where a package that writes it is missing.
    """
    kind = kind_of(file) or "torch"
    kinds = WEIGHTS_KINDS if kind in WEIGHTS_KINDS else (kind,)
    allowed = [KINDS[name].suffixes[0] for name in kinds]
    suffix = named.suffix if named.suffix.lower() in allowed else allowed[0]
    path = out or named.with_name(f"{named.stem}-{title}{suffix}")
    if path.suffix.lower() not in allowed or path.resolve() == file.resolve():
        raise KdlnetError(
            f"--out {str(path)!r}: name another file than the weights, with the suffix "
            f"{' or '.join(allowed)}"
        )
    check_target(path, KINDS[kind], overwrite)
    if kind == "onnx":
        _onnx()
    return path


def _changed(header: str, facts: Facts) -> str:
    """The header with ``facts`` in it, to be sealed anew."""
    return json.dumps(json.loads(header) | facts | SEAL | {"kdlnet": __version__})


def _onnx() -> Any:
    return optional_package("onnx", "a copy of an ONNX file")


def _copy_onnx(source: Path, path: Path, facts: Facts) -> None:
    onnx = _onnx()
    model = onnx.load_from_string(source.read_bytes())
    notes = {one.key: one.value for one in model.metadata_props}
    notes[METADATA_KEY] = _changed(notes[METADATA_KEY], facts)
    onnx.helper.set_model_props(model, notes)
    write_atomic(path, sealed(model.SerializeToString()))


def _copy_openvino(source: Path, path: Path, facts: Facts) -> None:
    """The header is one attribute in the XML, and is changed there as text."""
    graph, numbers = (file.read_bytes() for file in KINDS["openvino"].files(source))

    def change(found: re.Match[bytes]) -> bytes:
        header = _changed(html.unescape(found[2].decode()), facts)
        return found[1] + html.escape(header).encode()

    graph = _IN_XML.sub(change, graph, count=1)
    graph = sealed(graph + numbers)[: len(graph)]
    write_together({path: graph, path.with_suffix(".bin"): numbers})
