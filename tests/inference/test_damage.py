"""One damaged byte in a weights file ends in one line, wherever it is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from kdlnet.errors import WeightsError
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import Preprocess
from kdlnet.utils import seal

from ..support.weights_file import make_weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    arguments = ModelArguments(2, 1)
    names, contract = ("scratch", "pit"), Preprocess((64, 96), 1)
    detector = build_model("lightnet-n", arguments, seed=1)
    return Weights(
        detector, "lightnet-n", arguments, names, contract, False, {"score": 0.4}, {"ap": 0.5}
    )


def _positions(size: int, flips: int) -> list[int]:
    """Places all over the file, and more of them at its ends, where headers and tables are."""
    random = np.random.default_rng(0)
    parts = [(0, size), (0, 3000), (max(size - 20000, 0), size)]
    return [int(p) for low, high in parts for p in random.integers(low, high, flips // 3)]


def _damaged(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


def _same(a: Weights, b: Weights) -> bool:
    states = a.detector.state_dict(), b.detector.state_dict()
    alike = a.describe() == b.describe() and list(states[0]) == list(states[1])
    return alike and all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("flips", [60, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_damaged_byte_is_told_in_one_line_or_changes_nothing(
    weights: Weights, tmp_path: Path, suffix: str, flips: int
) -> None:
    file = tmp_path / f"a{suffix}"
    save_weights(file, weights)
    content, told = file.read_bytes(), 0
    for position in _positions(len(content), flips):
        file.write_bytes(_damaged(content, position))
        try:
            loaded = load_weights(file)
        except WeightsError as error:
            assert f"a{suffix}" in str(error) and "\n" not in str(error)
            told += 1
        else:  # a date or padding in the archive
            assert _same(loaded, weights), position
    assert told > 0.5 * flips


def test_a_size_in_the_table_of_an_archive_is_not_believed(
    weights: Weights, tmp_path: Path
) -> None:
    """Torch fills a tensor whose entry is said to be longer with whatever memory holds."""
    file = tmp_path / "a.pt"
    save_weights(file, weights)
    content = file.read_bytes()
    entry = content.rfind(b"PK\x01\x02", 0, content.rfind(b"/data/231PK"))
    for position in range(entry + 20, entry + 28):  # both sizes, 4 bytes each
        changed = bytearray(content)
        changed[position] ^= 1
        file.write_bytes(changed)
        with pytest.raises(WeightsError, match=r"a\.pt"):
            load_weights(file)


def test_without_a_checksum_there_is_one_line_or_other_weights(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of earlier versions: what hits a tensor cannot be seen."""
    monkeypatch.setattr("kdlnet.inference.weights.SEAL", {})
    monkeypatch.setattr("kdlnet.inference.weights.sealed", lambda content: content)
    file = tmp_path / "a.safetensors"
    save_weights(file, weights)
    assert _same(load_weights(file), weights)
    content = file.read_bytes()
    for position in range(0, 3000, 150):
        file.write_bytes(_damaged(content, position))
        try:
            load_weights(file)
        except WeightsError as error:
            assert "a.safetensors" in str(error) and "\n" not in str(error)


def test_a_flipped_bit_in_a_tensor_is_seen(weights: Weights, tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.pt"):
        file = tmp_path / name
        save_weights(file, weights)
        content = file.read_bytes()
        raw = weights.detector.state_dict()["head.class_logits.0.weight"].numpy().tobytes()
        assert content.count(raw) == 1
        file.write_bytes(_damaged(content, content.index(raw) + 100))
        with pytest.raises(WeightsError, match="is damaged"):
            load_weights(file)


def test_the_checksum_leaves_the_file_readable_for_others(weights: Weights, tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", weights)
    state = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert state.keys() == weights.detector.state_dict().keys()
    assert not seal.is_damaged((tmp_path / "a.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("name", "renamed"), [("a.safetensors", "b.pt"), ("a.pt", "b.safetensors"), ("a.pt", "b")]
)
def test_weights_are_known_by_their_content(
    weights: Weights, tmp_path: Path, name: str, renamed: str
) -> None:
    save_weights(tmp_path / name, weights)
    (tmp_path / name).rename(tmp_path / renamed)
    assert _same(load_weights(tmp_path / renamed), weights)


def test_a_tensor_marked_as_a_folder_is_not_believed(weights: Weights, tmp_path: Path) -> None:
    """Torch would read nothing for it and fill the tensor with whatever memory holds."""
    file = tmp_path / "a.pt"
    save_weights(file, weights)
    content = bytearray(file.read_bytes())
    entry = content.rfind(b"PK\x01\x02", 0, content.rfind(b"/data/231PK"))
    content[entry + 38] ^= 0x10  # the first of four bytes of attributes
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        load_weights(file)


BOMBS = """
import resource, sys
from pathlib import Path
from kdlnet.errors import WeightsError
from kdlnet.inference.weights import load_weights

load_weights(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sys.argv[2:]:
    try:
        load_weights(Path(file), start=True)
    except WeightsError as error:
        assert "\\n" not in str(error), error
    else:
        raise SystemExit(file + " was read")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    """Numbers that stand for gigabytes: packed zeros, sizes of entries, classes and inputs."""
    sound = make_weights(tmp_path / "sound.pt")
    content = torch.load(sound, weights_only=True)
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        with zipfile.ZipFile(sound) as whole:
            for name in whole.namelist():
                archive.writestr(name, whole.read(name))
        archive.writestr("archive/data/999", bytes(2**28))
    for name, changed in {
        "classes": {"arguments": {**content["arguments"], "num_classes": 2 * 10**6}},
        "start": {
            "arguments": {**content["arguments"], "num_classes": 2 * 10**6},
            "names": [],
            "purpose": "start",
        },
        "channels": {"arguments": {**content["arguments"], "channels": 2 * 10**6}},
        "input": {"preprocess": {**content["preprocess"], "image_size": [2**20, 2**20]}},
        "view": {"state": {"x": torch.zeros(1).expand(2**40)}},
    }.items():
        torch.save({**content, **changed}, tmp_path / f"{name}.pt")
    header = b'{"x":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    for name, length in {"header": 2**60, "shape": len(header)}.items():
        data = length.to_bytes(8, "little") + header + bytes(64)
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    bombs = [str(path) for path in sorted(tmp_path.iterdir()) if path != sound]
    assert len(bombs) == 8
    line = [sys.executable, "-c", BOMBS, str(sound), *bombs]
    run = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr + run.stdout
    assert int(run.stdout) < 100, "megabytes"
