"""OpenVINO files: written with proof, read like any other network."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import pytest
import torch

from kdlnet.data.catalog import find_dataset
from kdlnet.data.listing import list_images
from kdlnet.errors import ConfigError, KdlnetError, ProofFailed, WeightsError
from kdlnet.inference import bf16, openvino_runtime
from kdlnet.inference.exporters import BF16, EXPORTERS, HALF
from kdlnet.inference.kinds import kind_of
from kdlnet.inference.openvino_export import save_openvino
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import load_weights
from kdlnet.ops.arrays import distances_to_boxes, expected_distances
from kdlnet.utils.environment import has_amx
from kdlnet.verbs import export as module
from kdlnet.verbs.export import ExportCertificate, export

from ..support.squares import make_dataset
from ..support.weights_file import SIZE, make_weights
from ..support.without_torch import run_without_torch

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportCertificate]:
    """best.xml and best.bin beside the best.pt they were made from, and their certificate."""
    file = make_weights(tmp_path_factory.mktemp("openvino") / "best.pt")
    return file.with_suffix(".xml"), export(file, format="openvino")


@pytest.fixture
def copy(made: tuple[Path, ExportCertificate], tmp_path: Path) -> Path:
    for name in ("best.xml", "best.bin"):
        shutil.copy(made[0].with_name(name), tmp_path / name)
    return tmp_path / "best.xml"


def test_the_files_and_their_certificate(made: tuple[Path, ExportCertificate]) -> None:
    path, proof = made
    assert proof.passed and proof.images == 32 and proof.boxes_compared > 32
    assert proof.runtime.startswith("openvino") and proof.precision == "float32"
    assert proof.device.startswith("cpu: ")
    names = ["best.bin", "best.pt", "best.xml", "best.xml.json"]
    assert sorted(file.name for file in path.parent.iterdir()) == names
    assert proof.bytes == sum(path.with_suffix(end).stat().st_size for end in (".xml", ".bin"))
    assert json.loads(path.with_name("best.xml.json").read_text())["device"] == proof.device
    assert str(Path.cwd()).encode() not in path.read_bytes() and b".py" not in path.read_bytes()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="a way of x86")
def test_planes_of_an_image_are_read_as_they_are(made: tuple[Path, ExportCertificate]) -> None:
    network = openvino.Core().compile_model(made[0], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = (one.get_rt_info() for one in network.get_runtime_model().get_ordered_ops())
    first = next(one for one in facts if one["layerType"].value == "Convolution")
    # What has no AVX-512 takes a way of the same name with other instructions.
    assert str(first["primitiveType"].value).startswith("jit_")


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_what_torch_gives(made: tuple[Path, ExportCertificate], batch: int) -> None:
    path, _ = made
    runtime = open_runtime(path, device="cpu", threads=1)
    assert (runtime.name, runtime.fixed_size, runtime.threads) == ("openvino", True, 1)
    images = torch.rand(batch, 3, *SIZE)
    with torch.no_grad():
        wanted = load_weights(path.with_suffix(".pt")).detector(images)
    first = runtime.engine.run(images.numpy())
    runtime.engine.run(np.zeros_like(images.numpy()))  # must not write into the first answer
    for name in ("logits", "bins", "points", "strides"):
        np.testing.assert_allclose(getattr(first, name), getattr(wanted, name), atol=1e-3)


def test_predict_and_bench_need_no_torch(
    made: tuple[Path, ExportCertificate], dataset: Path, tmp_path: Path
) -> None:
    path, _ = made
    images = list_images(find_dataset(str(dataset)), "val")
    wanted = Predictor.load(path.with_suffix(".pt"), device="cpu").predict(images)
    code, found, told = run_without_torch(tmp_path, "predict", *images, "--weights", path)
    assert code == 0, told
    assert sum(len(each) for each in wanted) > 12
    for ours, theirs in zip(found["predictions"], wanted, strict=True):
        assert [box["label"] for box in ours["boxes"]] == theirs.labels.tolist()
        boxes = np.array([box["box"] for box in ours["boxes"]]).reshape(-1, 4)
        np.testing.assert_allclose(boxes, theirs.boxes, atol=1e-2)
    code, facts, told = run_without_torch(
        tmp_path, "bench", path, "--calls", 2, "--threads", 1, "--batch", 2
    )
    assert code == 0 and facts["runtime"].startswith("openvino"), told
    assert (facts["threads"], facts["device"]) == (1, "cpu") and facts["device_name"]


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_damaged_byte_of_either_file_is_noticed(copy: Path, suffix: str) -> None:
    file = copy.with_suffix(suffix)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"best\.xml' is damaged"):
        open_runtime(copy)


def test_what_a_kill_between_two_files_leaves_is_replaced(
    made: tuple[Path, ExportCertificate], copy: Path
) -> None:
    """Or somebody who moved one of them: the .bin is not there, or another network's."""
    weights = made[0].with_suffix(".pt")
    other = export(weights, format="openvino", half=True, out=copy.parent / "h.xml")
    numbers = copy.with_suffix(".bin").read_bytes()
    for left in (None, (copy.parent / "h.bin").read_bytes()):
        copy.with_suffix(".bin").unlink()
        if left is not None:
            copy.with_suffix(".bin").write_bytes(left)
        with pytest.raises(KdlnetError, match="--overwrite"):
            export(weights, format="openvino", out=copy)
        assert export(weights, format="openvino", out=copy, overwrite=True).passed
        assert copy.with_suffix(".bin").read_bytes() == numbers and other.passed


def test_a_full_disk_for_temporary_files_is_told(
    made: tuple[Path, ExportCertificate], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **more: object) -> None:
        raise RuntimeError("Check failed:\nbasic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", full)
    weights = made[0].with_suffix(".pt")
    advice = rf"free some space in {gettempdir()!r} or set TMPDIR to a folder on a larger disk"
    with pytest.raises(KdlnetError, match=rf"cannot write .*: basic_ios.*; {advice}$"):
        export(weights, format="openvino", out=copy.parent / "new.xml")
    assert not list(copy.parent.glob("new.*"))


def test_what_cannot_be_opened_is_told_in_one_line(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no device 'gpu' here, only cpu.*driver"):
        open_runtime(copy, device="gpu")
    with pytest.raises(ConfigError, match="64x96 only"):
        open_runtime(copy, image_size=(64, 64))
    head = b'<?xml version="1.0"?>\n<net name="a" version="11">'
    (tmp_path / "a.xml").write_bytes(head)
    (tmp_path / "a.bin").touch()
    assert kind_of(tmp_path / "a.xml") == "openvino"
    with pytest.raises(WeightsError, match="not a readable OpenVINO file") as caught:
        open_runtime(tmp_path / "a.xml")
    assert "\n" not in str(caught.value)
    copy.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"best\.bin' does not exist"):
        open_runtime(copy)


def test_other_tools_files_are_told(tmp_path: Path) -> None:
    x = openvino.opset13.parameter([1, 3, 8, 8], name="images")
    openvino.save_model(openvino.Model([openvino.opset13.relu(x)], [x], "o"), tmp_path / "o.xml")
    with pytest.raises(WeightsError, match="an OpenVINO file of another tool"):
        open_runtime(tmp_path / "o.xml")


def test_half_is_half_and_judged_by_boxes_and_verdicts(
    made: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, whole = made
    proof = export(path.with_suffix(".pt"), format="openvino", half=True, out=tmp_path / "h.xml")
    assert proof.passed and proof.tolerance is None and proof.flips_allowed == 0
    assert proof.bytes < 0.6 * whole.bytes and proof.largest_logit_error > whole.largest_logit_error
    monkeypatch.setitem(EXPORTERS, "onnx", replace(EXPORTERS["onnx"], half=None))
    with pytest.raises(ConfigError, match=r"--half: not for onnx; .* openvino"):
        export(path.with_suffix(".pt"), half=True)


def test_half_precision_of_a_device_is_not_judged_by_digits(
    made: tuple[Path, ExportCertificate],
) -> None:
    """As that of a GPU: the file is the same, what runs it computes in 16 bits."""
    path, _ = made
    runtime = replace(open_runtime(path), precision="float16")
    weights = load_weights(path.with_suffix(".pt"))
    exporter = EXPORTERS["openvino"]
    proof = module._prove(weights, "openvino", exporter, runtime, path, None, lambda event: None)
    assert proof.tolerance is None and proof.box_tolerance == HALF.box_pixels


@pytest.mark.skipif(not has_amx(), reason="no AMX here")
def test_products_in_bfloat16_are_judged_by_verdicts_and_ap(
    made: tuple[Path, ExportCertificate],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The numbers are those of the other file: where there are no instructions it answers so."""
    path, whole = made
    weights, out = path.with_suffix(".pt"), tmp_path / "b.xml"
    proof = export(weights, format="openvino", bf16=True, data=str(dataset), out=out)
    assert proof.passed and proof.precision == "bfloat16" and proof.images == 12
    assert (proof.tolerance, proof.box_tolerance, proof.flips_allowed) == (None, None, 0)
    assert proof.largest_logit_error > 10 * whole.largest_logit_error
    images = np.random.default_rng(0).random((3, 3, *SIZE), np.float32)
    exact = open_runtime(path).engine.run(images)
    rounded, boxes = open_runtime(out).with_boxes(images)
    assert np.abs(exact.logits - rounded.logits).max() > 1e-4
    distances = expected_distances(rounded.bins)
    decoded = distances_to_boxes(distances, rounded.points, rounded.strides)
    np.testing.assert_allclose(boxes, decoded, atol=1e-3)  # bfloat16 would be half a pixel off
    monkeypatch.setattr(openvino_runtime, "has_amx", lambda: False)
    elsewhere = open_runtime(out)
    assert (elsewhere.precision, elsewhere.file_precision) == ("float32", "float32")
    np.testing.assert_array_equal(elsewhere.engine.run(images).logits, exact.logits)


def test_bfloat16_that_costs_too_much_leaves_no_file(
    made: tuple[Path, ExportCertificate],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tighter = replace(BF16, ap_loss=-1.0)
    exporter = replace(EXPORTERS["openvino"].bf16, tolerance=tighter)
    monkeypatch.setitem(EXPORTERS, "openvino", replace(EXPORTERS["openvino"], bf16=exporter))
    monkeypatch.setattr(bf16, "has_amx", lambda: True)
    out = tmp_path / "b.xml"
    with pytest.raises(ProofFailed, match=r"AP .* before, .* after, allowed to lose -1"):
        export(made[0].with_suffix(".pt"), format="openvino", bf16=True, data=str(dataset), out=out)
    assert not list(tmp_path.iterdir())


def test_bfloat16_takes_all_images_of_the_split_and_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no AMX this runs in float32, which is as good for what is asked here."""
    weights = make_weights(tmp_path / "best.pt")
    data = make_dataset(tmp_path / "many", count=72)
    monkeypatch.setattr(bf16, "has_amx", lambda: True)
    proof = export(weights, format="openvino", bf16=True, data=data)
    assert proof.images == 72 and Path(proof.exported) == tmp_path / "best-bf16.xml"
    assert b"primitives_priority" not in (tmp_path / "best-bf16.xml").read_bytes()


def test_bfloat16_is_not_judged_by_good_parts_alone(
    made: tuple[Path, ExportCertificate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset(tmp_path / "good", count=40)
    for labels in (tmp_path / "good/labels/val").iterdir():
        labels.write_text("")
    monkeypatch.setattr(bf16, "has_amx", lambda: True)
    out = tmp_path / "b.xml"
    with pytest.raises(ConfigError, match="no image of 'val' has a labelled box"):
        export(made[0].with_suffix(".pt"), format="openvino", bf16=True, data=data, out=out)
    assert not out.exists()


def test_products_of_another_kind_are_no_file_of_kdlnet(copy: Path) -> None:
    core = openvino.Core()
    model = core.read_model(copy)
    header = json.loads(model.get_rt_info(["kdlnet"]).value) | {"products": "float8"}
    save_openvino(model, header, copy)
    with pytest.raises(WeightsError, match="does not fit its metadata"):
        open_runtime(copy)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "--bf16 is judged on images: give --data"),
        ({"data": "d", "device": "gpu"}, "--bf16 is for the CPU: leave --device gpu out"),
        ({"data": "d"}, "--bf16: this processor has no AMX"),
        ({"data": "d", "outputs": "detections"}, "--bf16 and --nms: give one of them"),
        ({"data": "d", "half": True}, "--bf16 and --half: give one of them"),
        ({"data": "d", "format": "onnx"}, "--bf16: not for onnx; formats with it: openvino"),
    ],
)
def test_what_bfloat16_asks_for_is_told(
    made: tuple[Path, ExportCertificate],
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setattr(bf16, "has_amx", lambda: False)
    with pytest.raises(ConfigError, match=words):
        export(made[0].with_suffix(".pt"), **{"format": "openvino", "bf16": True} | values)


def test_without_the_package_one_line_says_how_to_get_it(
    made: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(KdlnetError, match=r"pip install 'kdlnet\[openvino\]'"):
        open_runtime(made[0])


def test_a_fork_is_refused(
    made: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child would wait for ever, in the networks compiled for its parent's threads or anew."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    predictor = Predictor.load(made[0], batch=2)
    monkeypatch.setattr(os, "getpid", lambda: 0)
    for count in (1, 9):
        with pytest.raises(WeightsError, match="forked"):
            predictor.predict([np.zeros((64, 64), np.uint8)] * count)
