"""Export with proof, and ONNX files as a runtime reads them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdlnet.errors import ConfigError, KdlnetError, ProofFailed, WeightsError
from kdlnet.events import Message
from kdlnet.inference.onnx_file import write_onnx
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.ops.decode import decode_boxes
from kdlnet.types import Preprocess
from kdlnet.verbs import export as module
from kdlnet.verbs.export import EXPORTERS, ExportCertificate, export

from ..support.weights_file import SIZE, make_weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "best.pt")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportCertificate]:
    """best.onnx beside the best.pt it was made from, and its certificate."""
    for package in EXPORTERS["onnx"].packages:
        pytest.importorskip(package)
    weights = make_weights(tmp_path_factory.mktemp("exported") / "best.pt")
    return weights.with_suffix(".onnx"), export(weights)


@pytest.fixture
def ready(exported: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The exporter without the slow step: it takes the bytes made before."""
    content = exported[0].read_bytes()
    onnx = replace(EXPORTERS["onnx"], write=lambda weights: content)
    monkeypatch.setitem(EXPORTERS, "onnx", onnx)
    return content


def test_the_file_and_its_certificate(exported: tuple[Path, ExportCertificate]) -> None:
    path, proof = exported
    assert proof.passed and not proof.real_images and proof.images == 32
    assert 0 < proof.largest_logit_error <= proof.tolerance
    assert 0 < proof.largest_box_error <= proof.box_tolerance
    assert proof.boxes_compared > 32 and proof.same_boxes
    assert proof.bytes == path.stat().st_size
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "best.onnx",
        "best.onnx.json",
        "best.pt",
    ]
    written = json.loads(path.with_name("best.onnx.json").read_text())
    assert written["passed"] is True and written["image_size"] == [64, 96]


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_what_torch_gives(
    exported: tuple[Path, ExportCertificate], batch: int
) -> None:
    path, _ = exported
    images = torch.rand(batch, 3, *SIZE)
    with torch.no_grad():
        wanted = load_weights(path.with_suffix(".pt")).detector(images)
    found = open_runtime(path)(images)
    for name in ("logits", "bins", "points", "strides"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=1e-3, rtol=0)


def test_other_programs_find_boxes_and_facts(exported: tuple[Path, ExportCertificate]) -> None:
    """With ONNX Runtime and JSON alone, as a program on the line does."""
    path, _ = exported
    session = pytest.importorskip("onnxruntime").InferenceSession(path.read_bytes())
    facts = json.loads(session.get_modelmeta().custom_metadata_map["kdlnet"])
    assert facts["names"] == ["square", "disc"] and facts["strides"] == [8, 16, 32]
    assert facts["preprocess"]["window"] == [10.0, 240.0]
    assert facts["thresholds"] == {"score": 0.4} and facts["fused"] is True
    images = np.random.default_rng(0).random((2, 3, *SIZE), np.float32)
    logits, boxes, _ = session.run(None, {"images": images})
    with torch.no_grad():
        raw = load_weights(path.with_suffix(".pt")).detector(torch.from_numpy(images))
    # Points of a 64 x 96 image: 8 * 12 + 4 * 6 + 2 * 3.
    assert logits.shape == (2, 126, 2)
    np.testing.assert_allclose(boxes, decode_boxes(raw), atol=1e-2)


def test_no_path_of_this_machine_is_in_the_file(exported: tuple[Path, ExportCertificate]) -> None:
    content = exported[0].read_bytes()
    assert b".py" not in content
    assert str(Path.cwd()).encode() not in content


def test_real_images_are_used_where_given(file: Path, dataset: Path, ready: bytes) -> None:
    events: list[object] = []
    proof = export(file, data=str(dataset), on_event=events.append)
    assert proof.real_images and proof.images == 12 and proof.passed
    texts = [event.text for event in events if isinstance(event, Message)]
    assert any("12 images" in text for text in texts), texts


def test_fused_weights_give_the_same_network(file: Path, ready: bytes) -> None:
    weights = load_weights(file)
    weights.detector, weights.fused = fuse_model(weights.detector), True
    save_weights(file.with_name("best-fused.pt"), weights)
    events: list[object] = []
    assert export(file.with_name("best-fused.pt"), on_event=events.append).passed
    assert not any("not fused" in getattr(event, "text", "") for event in events)


@pytest.mark.parametrize(("spoil", "told"), [(0.01, r"1\.00e-02"), (float("nan"), "inf")])
def test_other_answers_fail_the_proof_and_leave_no_file(
    file: Path, ready: bytes, monkeypatch: pytest.MonkeyPatch, spoil: float, told: str
) -> None:
    def spoiled(content: bytes, path: Path) -> object:
        answers, name = module._onnx_answers(content, path)

        def wrong(images: torch.Tensor) -> object:
            logits, boxes, bins = answers(images)
            return logits + spoil, boxes, bins

        return wrong, name

    monkeypatch.setitem(EXPORTERS, "onnx", replace(EXPORTERS["onnx"], answers=spoiled))
    with pytest.raises(ProofFailed, match=f"no file was written: largest logit error {told}"):
        export(file)
    assert [path.name for path in file.parent.iterdir()] == ["best.pt"]


def test_wrong_boxes_alone_fail_the_proof(
    file: Path, ready: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third output is for other programs: kdlnet's own runtime would not notice."""

    def spoiled(content: bytes, path: Path) -> object:
        answers, name = module._onnx_answers(content, path)
        return (lambda images: (answers(images)[0], *_shifted(answers(images)))), name

    def _shifted(answer: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return answer[1] + 1, answer[2]

    monkeypatch.setitem(EXPORTERS, "onnx", replace(EXPORTERS["onnx"], answers=spoiled))
    with pytest.raises(ProofFailed, match=r"box error 1\.00e"):
        export(file)


def test_a_wrong_fold_fails_the_proof(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof compares with the weights as they are in their file, not with the fused copy."""
    folded: list[Network] = []

    def wrong(detector: Network) -> Network:
        folded.append(fuse_model(detector))
        folded[0].neck.down[0].conv.bias.data += 1e-2  # type: ignore[union-attr]
        return folded[0]

    def torch_answers(content: bytes, path: Path) -> object:
        @torch.no_grad()
        def answers(images: torch.Tensor) -> object:
            raw = folded[0](images)
            return raw.logits, decode_boxes(raw), raw.bins

        return answers, "torch"

    monkeypatch.setattr(module, "fuse_model", wrong)
    fake = replace(EXPORTERS["onnx"], packages=(), write=lambda weights: b"", answers=torch_answers)
    monkeypatch.setitem(EXPORTERS, "onnx", fake)
    with pytest.raises(ProofFailed):
        export(file)


def test_an_existing_file_is_kept(file: Path, ready: bytes) -> None:
    file.with_suffix(".onnx").write_bytes(b"mine")
    with pytest.raises(KdlnetError, match="--overwrite"):
        export(file)
    assert file.with_suffix(".onnx").read_bytes() == b"mine"
    assert export(file, overwrite=True).passed
    assert file.with_suffix(".onnx").read_bytes() == ready


def test_out_names_the_file(file: Path, ready: bytes, tmp_path: Path) -> None:
    out = tmp_path / "line 1" / "model.onnx"
    assert export(file, out=out).exported == str(out)
    assert out.is_file() and out.with_name("model.onnx.json").is_file()
    assert not file.with_suffix(".onnx").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "onx"}, ["'onx'", "did you mean 'onnx'"]),
        ({"images": 5}, ["5 images", "32"]),
        ({"out": Path("model.pt")}, ["model.pt", ".onnx"]),
        ({"data": "nowhere/data.yaml"}, ["nowhere/data.yaml"]),
        ({"weights": Path("missing.pt")}, ["missing.pt", "does not exist"]),
        ({"weights": Path("best.onnx")}, ["best.onnx", ".pt"]),
    ],
)
def test_user_errors(file: Path, ready: bytes, values: dict[str, object], words: list[str]) -> None:
    arguments = {"weights": file, **values}
    with pytest.raises(KdlnetError) as caught:
        export(**arguments)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), caught.value
    assert [path.name for path in file.parent.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_one_line_says_how_to_get_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in EXPORTERS["onnx"].packages:
        monkeypatch.setitem(sys.modules, name, object())  # as if it were installed
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(KdlnetError, match=rf"'{package}'.*pip install 'kdlnet\[export\]'"):
        export(file)


def test_reading_without_onnxruntime(
    exported: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(KdlnetError, match=r"pip install 'kdlnet\[export\]'"):
        open_runtime(exported[0])


def _foreign(path: Path, **facts: object) -> Path:
    """An ONNX file with one Relu, and ``facts`` as kdlnet's metadata if there are any."""
    onnx = pytest.importorskip("onnx")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3, 64, 64])
        for name in ("images", "logits")
    ]
    node = onnx.helper.make_node("Relu", ["images"], ["logits"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "other", values[:1], values[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    if facts:
        onnx.helper.set_model_props(model, {"kdlnet": json.dumps(facts)})
    path.write_bytes(model.SerializeToString())
    return path


def _content(exported: tuple[Path, ExportCertificate]) -> dict[str, object]:
    session = pytest.importorskip("onnxruntime").InferenceSession(exported[0].read_bytes())
    facts: dict[str, object] = json.loads(session.get_modelmeta().custom_metadata_map["kdlnet"])
    return facts


def test_bad_onnx_files(exported: tuple[Path, ExportCertificate], tmp_path: Path) -> None:
    path, _ = exported
    facts = _content(exported)
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "zero.onnx").touch()
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:5000])
    (tmp_path / "folder.onnx").mkdir()
    shutil.copy(path.with_suffix(".pt"), tmp_path / "torch.onnx")
    _foreign(tmp_path / "other.onnx")
    _foreign(tmp_path / "newer.onnx", format=2)
    _foreign(tmp_path / "unfit.onnx", **facts)
    _foreign(tmp_path / "partial.onnx", format=1)
    _foreign(tmp_path / "odd.onnx", **{**facts, "strides": [0]})
    told = {
        "text": "not a readable ONNX file",
        "zero": "not a readable ONNX file",
        "cut": "not a readable ONNX file",
        "torch": "not a readable ONNX file",
        "folder": "is a folder",
        "missing": "does not exist",
        "other": "of another tool",
        "newer": "format 2",
        "unfit": "does not fit its metadata",
        "partial": "does not fit its metadata",
        "odd": "does not fit its metadata",
    }
    for name, words in told.items():
        with pytest.raises(WeightsError, match=words) as caught:
            open_runtime(tmp_path / f"{name}.onnx")
        assert f"{name}.onnx" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_an_onnx_file_cannot_do(exported: tuple[Path, ExportCertificate]) -> None:
    path, _ = exported
    with pytest.raises(ConfigError, match="64x96 only"):
        open_runtime(path, image_size=(64, 64))
    with pytest.raises(ConfigError, match="'cuda'"):
        open_runtime(path, device="cuda")
    assert open_runtime(path, image_size=SIZE).preprocess.image_size == SIZE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightnet", "lightnet-n-p2"])
def test_other_models_export(name: str, tmp_path: Path) -> None:
    for package in EXPORTERS["onnx"].packages:
        pytest.importorskip(package)
    arguments = ModelArguments(1, channels=1)  # one class and one channel
    detector = build_model(name, arguments, seed=0)
    weights = Weights(detector.eval(), name, arguments, ("x",), Preprocess((64, 64), 1))
    save_weights(tmp_path / "best.pt", weights)
    assert export(tmp_path / "best.pt").passed
    assert open_runtime(tmp_path / "best.onnx")(torch.rand(2, 1, 64, 64)).logits.shape[0] == 2


def test_the_same_weights_give_the_same_bytes(exported: tuple[Path, ExportCertificate]) -> None:
    weights = load_weights(exported[0].with_suffix(".pt"))
    weights.detector, weights.fused = fuse_model(weights.detector), True
    assert write_onnx(weights) == exported[0].read_bytes()
