"""TorchScript files: the same boxes, and never a stranger's program."""

from __future__ import annotations

import io
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlnet.errors import ConfigError, WeightsError
from kdlnet.inference.export_network import network_of
from kdlnet.inference.kinds import kind_of
from kdlnet.inference.layouts import Layout
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import open_runtime, thread_count
from kdlnet.inference.torchscript_export import write_torchscript
from kdlnet.inference.torchscript_file import HEADER, foreign_part, pack, unpack
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.zoo import MODELS, ModelArguments, build_model
from kdlnet.verbs.export import ExportCertificate, export

from ..support.weights_file import SIZE, make_weights


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportCertificate]:
    weights = make_weights(tmp_path_factory.mktemp("exported") / "best.pt")
    return weights.with_suffix(".torchscript"), export(weights, format="torchscript")


@pytest.fixture
def copy(made: tuple[Path, ExportCertificate], tmp_path: Path) -> Path:
    return Path(shutil.copy(made[0], tmp_path))


def _rewrite(file: Path, change: Callable[[dict[str, bytes], str], None]) -> None:
    """``file`` with entries that ``change`` altered, and checksums that fit; it gets the code's."""
    entries = unpack(file.read_bytes())
    change(entries, next(name for name in entries if name.endswith(".py")))
    file.write_bytes(pack(entries))


def test_the_proof_passes(made: tuple[Path, ExportCertificate]) -> None:
    path, proof = made
    assert proof.passed and proof.boxes_compared > 32 and proof.runtime.startswith("torchscript")
    assert kind_of(path) == "torchscript" and kind_of(path.with_suffix(".pt")) == "torch"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "best.pt",
        "best.torchscript",
        "best.torchscript.json",
    ]


def test_the_same_boxes_as_the_weights(made: tuple[Path, ExportCertificate], dataset: Path) -> None:
    images = dataset.parent / "images" / "val"
    path, _ = made
    wanted, found = (
        Predictor.load(file, device="cpu").predict(images)
        for file in (path.with_suffix(".pt"), path)
    )
    assert sum(len(each) for each in wanted) > 12
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.verdict == theirs.verdict and ours.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)


def test_other_programs_load_it(made: tuple[Path, ExportCertificate]) -> None:
    """With torch alone, as a program on the line does."""
    facts = {HEADER.removeprefix("extra/"): ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.load(str(made[0]), _extra_files=facts)
    logits, boxes, bins = program(torch.zeros(3, 3, *SIZE))
    assert (logits.shape, boxes.shape, bins.shape) == ((3, 126, 2), (3, 126, 4), (3, 126, 4, 16))
    assert json.loads(facts["kdlnet.json"])["names"] == ["square", "disc"]


def test_no_path_of_this_machine_is_in_the_file(made: tuple[Path, ExportCertificate]) -> None:
    content = made[0].read_bytes()
    assert str(Path.cwd()).encode() not in content and b"debug_pkl" not in content


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_made_of_the_known_operations(
    made: tuple[Path, ExportCertificate], model: str, tmp_path: Path
) -> None:
    weights = load_weights(made[0].with_suffix(".pt"))
    weights.detector = fuse_model(build_model(model, ModelArguments(2), seed=0).eval())
    for outputs in ("points", "maps"):
        write_torchscript(weights, tmp_path / outputs, Layout(outputs))
        assert foreign_part(unpack((tmp_path / outputs).read_bytes())) is None, outputs


def _call(entries: dict[str, bytes], code: str) -> None:
    """The network, and a file written beside: what TorchScript offers to any program."""
    lines = entries[code].replace(b"torch.relu_(", b"torch.save(", 1)
    entries[code] = lines


def _text(entries: dict[str, bytes], code: str) -> None:
    line = b'    torch.save(images, "stolen")\n'
    entries[code] = entries[code].replace(b"    input = ", line + b"    input = ", 1)


def _function(entries: dict[str, bytes], code: str) -> None:
    more = b"  def __setstate__(self, state: int) -> int:\n    return state\n"
    entries[code] += more


def _loop(entries: dict[str, bytes], code: str) -> None:
    line = b"    while True:\n      input = images\n"
    entries[code] = entries[code].replace(b"    input = ", line + b"    input = ", 1)


def _import(entries: dict[str, bytes], code: str) -> None:
    entries[code] = b"import __torch__.other\n" + entries[code]


def _second(entries: dict[str, bytes], code: str) -> None:
    entries["code/__torch__/other.py"] = b"class _Points(Module):\n  pass\n"


def _entry(entries: dict[str, bytes], code: str) -> None:
    entries["data/0"] = b"1234"


def _pickle(entries: dict[str, bytes], code: str) -> None:
    entries["data.pkl"] = entries["data.pkl"].replace(b"c__torch__", b"cos\nsystem\n0c__torch__", 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_call, r"a call of torch\.save"),
        (_text, "a text that is none"),
        (_function, r"the functions .*__setstate__"),
        (_loop, "a While"),
        (_import, "a Import"),
        (_second, r"code/__torch__/"),
        (_entry, "'data/0'"),
        (_pickle, "'os system' in data.pkl"),
    ],
)
def test_what_kdlnet_does_not_write_is_never_given_to_torch(
    copy: Path,
    change: Callable[[dict[str, bytes], str], None],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _rewrite(copy, lambda entries, code: None)
    assert open_runtime(copy).name == "torchscript"  # written again it is as good
    _rewrite(copy, change)
    monkeypatch.setattr(torch.jit, "load", lambda *given, **more: pytest.fail("it was loaded"))
    with pytest.raises(WeightsError, match=f"was not loaded.*program.*{told}"):
        open_runtime(copy)


def test_torchscript_of_another_tool_is_told(tmp_path: Path) -> None:
    weights = load_weights(make_weights(tmp_path / "best.pt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.jit.trace(network_of(weights, Layout()), torch.zeros(1, 3, *SIZE))
        torch.jit.save(network, str(tmp_path / "other.torchscript"))
    for verb in (open_runtime, load_weights):
        with pytest.raises(WeightsError, match=r"TorchScript of another tool.*never run"):
            verb(tmp_path / "other.torchscript")


def test_a_damaged_byte_is_noticed(copy: Path) -> None:
    content = copy.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        starts = [
            entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2
            for entry in archive.infolist()[:12]
        ]
    for position in starts:
        damaged = bytearray(content)
        damaged[position] ^= 1
        copy.write_bytes(damaged)
        with pytest.raises(WeightsError) as caught:
            open_runtime(copy)
        assert "\n" not in str(caught.value)  # told in one line
    copy.write_bytes(content[:-1000])
    with pytest.raises(WeightsError, match="damaged"):
        open_runtime(copy)


def test_what_cannot_be_opened_is_told_in_one_line(copy: Path) -> None:
    with pytest.raises(ConfigError, match="64x96 only"):
        open_runtime(copy, image_size=(64, 64))
    with pytest.raises(ConfigError, match=r"device 'npu'.*cpu"):
        open_runtime(copy, device="npu")
    copy.unlink()
    with pytest.raises(WeightsError, match=r"TorchScript file .* does not exist"):
        open_runtime(copy)


def test_a_fork_is_refused(
    made: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(made[0])
    monkeypatch.setattr(os, "getpid", lambda: 0)
    with thread_count(2), pytest.raises(WeightsError, match="forked"):
        predictor.predict(np.zeros((64, 64), np.uint8))
