"""The verbs bench and export, from the command line to files."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Command

STAGES = ["decode", "preprocess", "infer", "postprocess", "total"]
QUICK = "--calls 3 --warmup 1 --device cpu"


@pytest.mark.parametrize("verb", ["bench", "benchmark-fps", "export"])
def test_help_fits_a_screen(kdlnet: Command, verb: str) -> None:
    run = kdlnet(verb, "--help")
    assert run.code == 0
    lines = run.out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 80
    assert "--json" in run.out and "--quiet" in run.out


@pytest.mark.parametrize("verb", ["bench", "benchmark-fps"])
def test_bench_shows_stages_and_what_was_measured(
    kdlnet: Command, weights: Path, verb: str
) -> None:
    run = kdlnet(f"{verb} '{weights}' {QUICK}")
    assert run.code == 0, run.err
    words = [line.split()[0] for line in run.out.splitlines() if line.strip()]
    assert [word for word in words if word in STAGES] == STAGES
    assert "made-up grey PNG files, not real images" in run.out
    assert "fused in memory" in run.out
    assert "lightnet-n, fused, 64x64, batch 1, float32, torch" in run.out
    assert "images/s from file to boxes" in run.out
    assert run.err == ""


def test_bench_document(kdlnet: Command, weights: Path, dataset: Path) -> None:
    run = kdlnet(f"bench '{weights}' --data '{dataset}' --batch 2 --threads 1 --json {QUICK}")
    assert run.code == 0, run.err
    facts = run.document
    assert list(facts["stages"]) == STAGES
    assert set(facts["stages"]["total"]) == {"mean", "p50", "p95", "p99", "largest"}
    assert (facts["batch"], facts["threads"], facts["device"]) == (2, 1, "cpu")
    assert facts["images"]["kind"] == "data" and facts["images"]["size"] == [96, 96]
    assert facts["fused"] is True and facts["file_fused"] is False
    assert facts["environment"]["torch"] and facts["device_name"]


@pytest.mark.parametrize("option", [False, True])
def test_bench_takes_a_folder(kdlnet: Command, weights: Path, dataset: Path, option: bool) -> None:
    """With --weights the lone argument is the folder."""
    named = ["--weights", weights] if option else [weights]
    run = kdlnet(f"bench {QUICK} --json", *named, dataset)
    assert run.code == 0, run.err
    assert run.document["images"]["kind"] == "folder"
    assert run.document["images"]["count"] == 3  # no more than there are calls


def test_bench_no_fuse(kdlnet: Command, weights: Path) -> None:
    run = kdlnet(f"bench '{weights}' --no-fuse {QUICK}")
    assert run.code == 0, run.err
    assert "lightnet-n, not fused" in run.out
    assert "in memory" not in run.out


def test_the_papers_row_is_not_comparable_here(kdlnet: Command, weights: Path) -> None:
    run = kdlnet(f"bench '{weights}' --protocol paper {QUICK}")
    assert run.code == 0, run.err
    assert "72.0" in run.out and "RTX 3070 Ti" in run.out
    assert "640x640" in run.out
    last = run.out.strip().splitlines()[-1]
    assert last.startswith("not comparable: another device: ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--protocol papr", ["'papr'", "paper"]),
        ("--protocol paper --batch 4", ["batch 4"]),
        ("--image-size 65", ["'65'", "multiple of 32"]),
        ("--device cudda", ["'cudda'"]),
        ("nowhere", ["'nowhere'", "does not exist"]),
        ("--data nowhere/data.yaml", ["nowhere/data.yaml"]),
        ("--data neu-dett", ["'neu-dett'", "neu-det"]),
    ],
)
def test_bench_user_errors(kdlnet: Command, weights: Path, flags: str, words: list[str]) -> None:
    run = kdlnet(f"bench '{weights}' {flags}")
    assert run.code == 1
    assert all(word in run.error for word in words), run.error
    assert run.out == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bench", ["no weights file"]),
        ("bench a.pt --weights b.pt", ["two weights files"]),
        ("bench a.pt --batch 0", ["--batch", "1 or more"]),
        ("bench a.pt --threads 0", ["--threads", "1 or more"]),
        ("bench a.pt --warmup -1", ["--warmup", "0 or more"]),
        ("export", ["no weights file"]),
        ("export a.pt --batch 0", ["--batch", "0: give 1 or more"]),
    ],
)
def test_usage(kdlnet: Command, line: str, words: list[str]) -> None:
    run = kdlnet(line)
    assert run.code == 2
    assert all(word in run.err.splitlines()[0] for word in words), run.err


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """best.onnx as the command writes it."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from kdlnet.verbs.export import export

    out = tmp_path_factory.mktemp("exported") / "best.onnx"
    export(trained / "weights" / "best.pt", out=out)
    return out


def test_export(kdlnet: Command, weights: Path, dataset: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    copy = shutil.copy(weights, tmp_path / "best.pt")
    run = kdlnet(f"export best.pt --format onnx --data '{dataset}' --image-size 64x96 --dynamic")
    assert run.code == 0, run.err
    assert "takes   images (any batch, 64x96 unless told, multiples of 32)" in run.out
    assert "at 96x160: " in run.out
    assert "proof on 2 real images in onnxruntime" in run.out
    assert run.out.strip().splitlines()[-1] == "written best.onnx"
    assert "judged" not in run.out
    facts = json.loads((tmp_path / "best.onnx.json").read_text())
    assert facts["passed"] is True and facts["image_size"] == [64, 96]
    half = kdlnet(f"export best.pt --half --data '{dataset}'")
    facts = json.loads((tmp_path / "best-half.onnx.json").read_text())
    loss = round(facts["ap_before"] - facts["ap_after"], 4)
    word = "gained" if loss < 0 else "lost"
    judged = f"judged  AP {word} {abs(loss):.4f} (allowed to lose 0.005), 0 of 2 verdicts changed"
    assert judged in half.out
    again = kdlnet("export", copy, "--json")
    assert again.code == again.document["error"]["code"] == 1
    assert "--overwrite" in again.document["error"]["message"]


def test_bench_of_two_files_in_turns(
    kdlnet: Command, exported: Path, weights: Path, dataset: Path
) -> None:
    run = kdlnet(
        f"bench '{weights}' --against '{exported}' --data '{dataset}' --sweep --threads 1 {QUICK}"
    )
    assert run.code == 0, run.err
    assert "times as long" in run.out and "AP50" in run.out
    heads = [" ".join(line.split()) for line in run.out.splitlines()]
    assert "batch images/s from file to boxes images/s of the network" in heads
    assert "threads ms a call images/s from file to boxes" in heads
    assert "images/s as predict reads" in run.out
    assert run.out.count("onnxruntime") == 1


def test_bench_of_an_onnx_file(kdlnet: Command, exported: Path, dataset: Path) -> None:
    run = kdlnet(f"bench '{exported}' --data '{dataset}' --json {QUICK}")
    assert run.code == 0, run.err
    assert run.document["runtime"].startswith("onnxruntime ")
    assert run.document["image_size"] == [64, 64]
    paper = kdlnet(f"bench '{exported}' --protocol paper {QUICK}")
    assert paper.code == 0, paper.err
    assert "64x64" in paper.out and "not comparable" in paper.out


@pytest.mark.parametrize(
    ("runs", "holds", "told"),
    [
        ("float32", "float32", "float32"),
        ("float32 (TF32)", "float32", "float32 (TF32)"),
        ("float16", "float16", "float16"),
        ("float32", "float16", "float32 from a file in float16"),
        ("bfloat16", "float32", "bfloat16"),
    ],
)
def test_bench_says_what_is_computed_in_and_what_the_file_holds(
    runs: str, holds: str, told: str
) -> None:
    from kdlnet_cli.benchmarks import _precision  # noqa: TID251

    assert _precision({"precision": runs, "file_precision": holds}) == told


def test_a_failed_proof_is_4_and_leaves_no_file(
    kdlnet: Command, exported: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of one image size cannot answer for other weights."""
    from dataclasses import replace

    from kdlnet.inference.exporters import EXPORTERS
    from kdlnet.inference.weights import load_weights, save_weights

    def write(weights: object, path: Path, layout: object) -> None:
        path.write_bytes(exported.read_bytes())

    fake = replace(EXPORTERS["onnx"], write=write)
    monkeypatch.setitem(EXPORTERS, "onnx", fake)
    other = load_weights(weights)
    other.detector.head.class_logits[0].bias.data += 1
    save_weights(tmp_path / "other.pt", other)
    run = kdlnet("export other.pt --json")
    assert run.code == run.document["error"]["code"] == 4
    assert "no file was written" in run.document["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]


def test_export_without_the_extra(
    kdlnet: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    shutil.copy(weights, tmp_path / "best.pt")
    run = kdlnet("export best.pt")
    assert run.code == 1
    assert "pip install 'kdlnet[export]'" in run.error
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--format tensort", ["'tensort'", "onnx"]),
        ("--images 3", ["3 images", "32"]),
        ("--out model.pt", ["model.pt", ".onnx"]),
        ("--out .", ["'.'", ".onnx"]),
        ("--image-size 65", ["'65'", "multiple of 32"]),
    ],
)
def test_export_user_errors(
    kdlnet: Command, weights: Path, tmp_path: Path, flags: str, words: list[str]
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    shutil.copy(weights, tmp_path / "best.pt")
    run = kdlnet(f"export best.pt {flags}")
    assert run.code == 1
    assert all(word in run.error for word in words), run.error
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_an_onnx_file_of_another_tool(kdlnet: Command, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 64, 64])
        for name in ("x", "y")
    ]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    run = kdlnet("bench other.onnx --json")
    assert run.code == 1
    assert "other.onnx" in run.error and "another tool" in run.error
