"""Export in 8 bits: calibrated, judged, layers put back, all in the certificate."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from kdlnet.errors import ConfigError, DataError, KdlnetError, ProofFailed
from kdlnet.inference.int8 import calibration, sensitivity
from kdlnet.inference.int8 import quantize as module
from kdlnet.inference.int8.calibration import CalibrationImages
from kdlnet.inference.int8.drop import Drop
from kdlnet.inference.int8.sensitivity import layer_names
from kdlnet.inference.layouts import Layout
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.verbs.export import ExportCertificate, export

from ..support.squares import make_dataset
from ..support.weights_file import make_weights
from ..support.without_torch import run_without_torch

pytest.importorskip("onnxscript")

Made = tuple[Path, ExportCertificate, list[str]]
IMAGES = 32
LAYERS = 43  # convolutions of a fused lightnet-n that end in ReLU


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many training images as these tests calibrate on."""
    return make_dataset(tmp_path_factory.mktemp("many"), IMAGES)


class _TwoSteps:
    """A yardstick that finds the first file too bad and the second one good enough."""

    def __init__(self, *args: object) -> None:
        self.answers = iter([Drop(0.5, 0.0, None), Drop(0.001, 0.0, None)])

    def __call__(self, results: object) -> Drop:
        return next(self.answers)


def _make(folder: Path, format: str, many: Path) -> Made:
    """One layer is put back; then the real images judge, generously."""
    file, told = make_weights(folder / "best.pt"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Yardstick", _TwoSteps)
        patch.setattr(calibration, "LEAST", IMAGES)
        patch.setattr(sensitivity, "_IMAGES", 2)
        proof = export(
            file,
            format=format,
            data=str(many),
            int8=True,
            calibration=IMAGES,
            max_drop={"ap": 0.4, "flips": 0.9},
            on_event=lambda event: told.append(getattr(event, "text", "")),
        )
    return Path(proof.exported), proof, told


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, many: Path
) -> Made:
    if request.param == "openvino":
        pytest.importorskip("nncf")
    return _make(tmp_path_factory.mktemp("int8"), request.param, many)


def test_the_certificate_says_what_was_put_back_and_what_it_cost(made: Made) -> None:
    path, proof, told = made
    assert path.stem == "best-int8"
    found = json.loads(path.with_name(f"{path.name}.json").read_text())["int8"]
    (gone,) = found["put_back"]
    fused = fuse_model(load_weights(path.with_name("best.pt")).detector)
    assert found["layers"] == len(layer_names(fused)) == LAYERS
    assert gone["layer"] in layer_names(fused) and gone["cost"] > 0
    assert gone["with_it"]["ap"] == 0.5 and found["drop"]["ap"] == 0.001
    assert found["max_drop"] == {"ap": 0.4, "flips": 0.9, "escape": 0.01}
    assert (found["calibration"]["split"], found["calibration"]["images"]) == ("train", IMAGES)
    assert found["weight_bits"] in (7, 8)
    assert proof.passed and proof.images == IMAGES and proof.precision == "int8"
    assert [text for text in told if "1 layers in float32" in text]


def test_the_file_has_8_bits_and_answers_nearly_as_the_weights(made: Made) -> None:
    path, proof, _ = made
    assert proof.bytes < 0.4 * path.with_name("best.pt").stat().st_size
    assert 0 < proof.largest_logit_error < proof.largest_logit
    runtime = open_runtime(path)
    assert runtime.precision == "int8" and runtime.rule.score == 0.4


def test_it_runs_without_torch(made: Made, many: Path, tmp_path: Path) -> None:
    images = many.parent / "images" / "val" / "1.png"
    code, found, told = run_without_torch(tmp_path, "predict", images, "--weights", made[0])
    assert code == 0 and found["predictions"][0]["boxes"], told


def test_the_layer_that_was_put_back_is_in_float32(made: Made) -> None:
    """Counted in the file itself: weights of 8 bits are those of the other layers."""
    path, proof, _ = made
    if path.suffix == ".onnx":
        onnx = pytest.importorskip("onnx")
        weights = onnx.load(path).graph.initializer
        whole = [
            w.name for w in weights if w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 4
        ]
        assert len(whole) == LAYERS - 1
        gone = proof.facts["int8"]["put_back"][0]["layer"]
        assert not [name for name in whole if gone in name]
    else:
        model = pytest.importorskip("openvino").Core().read_model(path)
        names = [
            one.get_element_type().get_type_name()
            for one in model.get_ordered_ops()
            if one.get_type_name() == "Constant" and len(one.shape) == 4 and one.shape[0] > 1
        ]
        assert names.count("i8") == LAYERS - 1


class _Copies:
    """Instead of a quantization: the file made before."""

    weight_bits = 8

    def __init__(self, source: Path) -> None:
        self.source = source

    def write(self, path: Path, images: CalibrationImages, kept: Collection[str]) -> None:
        shutil.copy(self.source, path)


@pytest.fixture
def copies(made: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of an ONNX file whose quantization takes no time."""
    if made[0].suffix != ".onnx":
        pytest.skip("once is enough")

    def prepare(weights: Weights, layout: Layout) -> _Copies:
        return _Copies(made[0])

    monkeypatch.setitem(module.INT8, "onnx", prepare)
    return made[0].with_name("best.pt")


def test_what_cannot_be_held_leaves_no_file(
    copies: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "LEAST", IMAGES)
    monkeypatch.setattr(module, "Yardstick", lambda *args: lambda results: Drop(0.0, 0.02, 0.0))
    costs = {f"layer {n}": 1.0 for n in range(LAYERS)}
    monkeypatch.setattr(module, "layer_costs", lambda *args: costs)
    monkeypatch.setattr(module, "layer_names", lambda *args: list(costs)[:4])
    with pytest.raises(ProofFailed, match=r"no file was written: .*verdicts changed 0\.0200"):
        export(copies, data=str(many), int8=True, calibration=IMAGES, out=tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_too_few_training_images_are_refused(copies: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="12 images of the split 'train'"):
        export(copies, data=str(dataset), int8=True, out=tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_what_makes_no_sense_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "missing.pt"
    with pytest.raises(ConfigError, match=r"--int8 .* give --data"):
        export(file, int8=True)
    with pytest.raises(ConfigError, match=r"--int8 and --half"):
        export(file, int8=True, half=True, format="openvino", data="neu-det")
    with pytest.raises(ConfigError, match=r"--int8 and --nms"):
        export(file, int8=True, outputs="detections", data="neu-det")
    with pytest.raises(KdlnetError, match=r"--calibration 20"):
        export(file, int8=True, data="neu-det", calibration=20)
    with pytest.raises(ConfigError, match="max-drop 'speed'"):
        export(file, int8=True, data="neu-det", max_drop={"speed": 1})
    with pytest.raises(ConfigError, match=r"--calibration and --max-drop: .* --int8"):
        export(file, max_drop={"ap": 0.1})


def test_without_nncf_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(KdlnetError, match=r"pip install 'kdlnet\[int8\]'"):
        export(tmp_path / "a.pt", format="openvino", int8=True, data="neu-det")
