"""8 bits in ONNX: what is written on the way to the file."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from types import SimpleNamespace

import pytest

from kdlnet.errors import KdlnetError
from kdlnet.inference.int8 import onnx_int8
from kdlnet.inference.int8.onnx_int8 import OnnxInt8
from kdlnet.inference.layouts import Layout
from kdlnet.inference.weights import load_weights

from ...support.weights_file import make_weights


def test_no_room_for_the_network_in_32_bits_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies where TMPDIR says, not where the file will be: that is the disk to look at."""
    pytest.importorskip("onnx")
    resource = pytest.importorskip("resource")
    model = SimpleNamespace(SerializeToString=lambda: bytes(100_000))
    monkeypatch.setattr(onnx_int8, "onnx_model", lambda *_: model)
    writer = OnnxInt8(load_weights(make_weights(tmp_path / "best.pt")), Layout())
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most[1]))  # a file takes no more
    try:
        advice = (
            rf"cannot write .*float.onnx': .* free some space in {gettempdir()!r} or set TMPDIR"
        )
        with pytest.raises(KdlnetError, match=advice):
            writer.write(tmp_path / "int8.onnx", None, ())  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
