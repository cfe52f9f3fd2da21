"""What is the user's stays as it is: inputs before and after every verb, and disks that fill up."""
# ruff: noqa: TID251

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdlnet_cli.main import main

from ..support.squares import make_dataset
from ..support.weights_file import make_weights

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TRAIN = "--image-size 64 --batch 4 --epochs 1 --device cpu --data in/set/data.yaml"
PRETRAIN = "--image-size 64 --views 1 --batch 8 --epochs 1 --device cpu"
LINES = (
    f"train --model lightnet-n {TRAIN}",
    f"train --model lightnet-n {TRAIN} --init in/weights.pt --out out/again",
    f"pretrain --images in/set/images --teacher in/weights.pt --model lightnet-n {PRETRAIN}",
    f"distill --student lightnet-n {TRAIN}",
    "val in/weights.pt --data in/set/data.yaml",
    "compare in/weights.pt in/weights.pt --data in/set/data.yaml",
    "predict in/set/images --weights in/weights.pt --save images,txt,json,csv,crops",
    "predict in/set/images/val/1.png --weights in/weights.pt",
    "fuse in/weights.pt --data in/set/data.yaml --out out/fused.pt",
    "export in/weights.pt --data in/set/data.yaml --out out/made.onnx",
    "bench in/weights.pt in/set/images --calls 3 --warmup 1",
    "data check in/set/data.yaml --out out/check",
    "data show in/set/data.yaml --out out/show",
    "data split in/set/data.yaml --out out/split",
    "data convert yolo in/set --out out/converted",
    "data convert yolo in/set --out out/coco --to coco",
)


def prints(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of change of every file, and the names of the folders."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder",
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "in").mkdir()
    make_dataset(folder / "in/set")
    make_weights(folder / "in/weights.pt")
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Nothing gets through; who tried is in the list."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


@pytest.mark.parametrize("line", LINES)
def test_no_verb_touches_what_it_reads(
    line: str,
    inputs: Path,
    no_network: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nor does one look for a network."""
    monkeypatch.chdir(inputs)
    before = prints(inputs / "in")
    assert main([*shlex.split(line), "--quiet"]) == 0, capsys.readouterr().err
    assert prints(inputs / "in") == before
    places = {path.name for path in inputs.iterdir()}
    assert places <= {"in", "out", "runs"}, "something was written beside the usual places"
    assert no_network == []


@pytest.fixture(scope="module")
def tiny_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 6 MB, where the machine lets a test make one."""
    folder = tmp_path_factory.mktemp("disk")
    made = shutil.which("mount") and os.geteuid() == 0 and sys.platform == "linux"
    line = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if not made or subprocess.run(line, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize(
    "line",
    [
        f"train --model lightnet-n {TRAIN}",
        "predict in/set/images --weights in/weights.pt",
        "fuse in/weights.pt --data in/set/data.yaml",
        "data synth",
    ],
)
def test_a_full_disk_is_one_line(
    line: str,
    inputs: Path,
    tiny_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(inputs)
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(tiny_disk).free - 40_000))
    target = tiny_disk / "made.pt" if line.startswith("fuse") else tiny_disk / "made"
    arguments = shlex.split(line)
    arguments += [str(target)] if line.endswith("synth") else ["--out", str(target)]
    code = main([*arguments, "--quiet"])
    said = [row for row in capsys.readouterr().err.splitlines() if not row.startswith("warning")]
    filler.unlink()
    assert code == 1, said
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    assert not list(tiny_disk.rglob("*.tmp"))
    shutil.rmtree(target, ignore_errors=True)
