"""Export with proof, and ONNX files as a runtime reads them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdlnet.errors import ConfigError, KdlnetError, ProofFailed, WeightsError
from kdlnet.events import Message
from kdlnet.inference.arrays import RawArrays
from kdlnet.inference.exporters import EXPORTERS, Exporter
from kdlnet.inference.kinds import FileKind
from kdlnet.inference.layouts import Layout
from kdlnet.inference.onnx_export import write_onnx
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.proof import Tolerance
from kdlnet.inference.runtimes import RUNTIMES, Runtime, Wanted, open_runtime
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.ops.decode import decode_boxes
from kdlnet.types import Preprocess
from kdlnet.verbs import export as module
from kdlnet.verbs.export import ExportCertificate, export

from ..support.weights_file import SIZE, make_weights
from ..support.without_torch import run_without_torch


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

    def write(weights: Weights, path: Path, layout: Layout) -> None:
        path.write_bytes(content)

    monkeypatch.setitem(EXPORTERS, "onnx", replace(EXPORTERS["onnx"], write=write))
    return content


Answer = tuple[RawArrays, np.ndarray]


def _spoil(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Answer], Answer]) -> None:
    """ONNX files answer as ``spoil`` changes it."""
    opener = RUNTIMES["onnxruntime"]

    def spoiled(path: Path, wanted: Wanted) -> Runtime:
        runtime = opener(path, wanted)
        answers = runtime.with_boxes
        assert answers is not None
        return replace(runtime, with_boxes=lambda images: spoil(answers(images)))

    monkeypatch.setitem(RUNTIMES, "onnxruntime", spoiled)


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
    assert written["sha256"] == {"best.onnx": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_what_torch_gives(
    exported: tuple[Path, ExportCertificate], batch: int
) -> None:
    path, _ = exported
    images = torch.rand(batch, 3, *SIZE)
    with torch.no_grad():
        wanted = load_weights(path.with_suffix(".pt")).detector(images)
    found = open_runtime(path).engine.run(images.numpy())
    for name in ("logits", "bins", "points", "strides"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-3)


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


def test_an_exported_file_runs_where_torch_is_not_installed(
    exported: tuple[Path, ExportCertificate], dataset: Path, tmp_path: Path
) -> None:
    """The same boxes as the weights in torch, on whole images and on tiles, and drawn."""
    path, _ = exported
    images = dataset.parent / "images" / "val"
    for number, more in enumerate([(), ("--tile", "48x32", "--save", "images,crops")]):
        choice = {"tile": (48, 32)} if more else {}
        predictor = Predictor.load(path.with_suffix(".pt"), device="cpu", **choice)
        wanted = predictor.predict(images)
        code, found, told = run_without_torch(
            tmp_path, "predict", images, "--weights", path, "--out", str(number), *more
        )
        assert (code, told) == (0, told) and len(found["predictions"]) == len(wanted) == 12
        assert sum(len(each) for each in wanted) > 12
        for ours, theirs in zip(found["predictions"], wanted, strict=True):
            assert ours["verdict"] == theirs.verdict
            assert [box["label"] for box in ours["boxes"]] == theirs.labels.tolist()
            boxes = np.array([box["box"] for box in ours["boxes"]]).reshape(-1, 4)
            np.testing.assert_allclose(boxes, theirs.boxes, atol=1e-2)
    code, facts, told = run_without_torch(tmp_path, "bench", path, images, "--calls", 2)
    assert code == 0 and facts["runtime"].startswith("onnxruntime"), told
    assert facts["images"]["count"] == 2 and facts["boxes_per_image"] > 1
    assert run_without_torch(tmp_path, "env")[1]["devices"] == ["cpu"]


def test_what_needs_torch_says_so(file: Path, tmp_path: Path) -> None:
    lines = {"torch": ("predict", file, "--weights", file), "": ("val", file, "--data", "x")}
    for name, line in lines.items():
        code, found, _ = run_without_torch(tmp_path, *line)
        assert code == 1 and name in found["error"]["message"], found
        assert "not installed" in found["error"]["message"]
    assert not list(tmp_path.glob("*.log"))


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
    _spoil(monkeypatch, lambda found: (replace(found[0], logits=found[0].logits + spoil), found[1]))
    with pytest.raises(ProofFailed, match=f"no file was written: largest logit error {told}"):
        export(file)
    assert [path.name for path in file.parent.iterdir()] == ["best.pt"]


def test_wrong_boxes_alone_fail_the_proof(
    file: Path, ready: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third output is for other programs: kdlnet's own runtime would not notice."""
    _spoil(monkeypatch, lambda found: (found[0], found[1] + 1))
    with pytest.raises(ProofFailed, match=r"box error 1\.00e"):
        export(file)


def test_a_wrong_fold_fails_the_proof(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof compares with the weights as they are in their file, not with the fused copy."""
    folded: list[Network] = []

    def wrong(detector: Network) -> Network:
        folded.append(fuse_model(detector))
        folded[0].neck.down[0].conv.bias.data += 1e-2  # type: ignore[union-attr]
        return folded[0]

    monkeypatch.setattr(module, "fuse_model", wrong)
    monkeypatch.setitem(EXPORTERS, "onnx", Exporter(TWO_FILES, (), _write_two))
    with pytest.raises(ProofFailed):
        export(file, out=file.with_name("a.net"))
    assert folded and [path.name for path in file.parent.iterdir()] == ["best.pt"]


def test_an_existing_file_is_kept(file: Path, ready: bytes) -> None:
    place = file.with_suffix(".onnx")
    for mine in (b"mine", b"\x08\x08mine"):  # the second begins as an ONNX file does
        place.write_bytes(mine)
        for overwrite, told in ((False, "--overwrite"), (True, "no whole file of kdlnet.*remove")):
            with pytest.raises(KdlnetError, match=told):
                export(file, overwrite=overwrite)
            assert place.read_bytes() == mine
    place.write_bytes(ready)
    with pytest.raises(KdlnetError, match="--overwrite"):
        export(file)
    assert export(file, overwrite=True).passed
    assert place.read_bytes() == ready


def test_a_file_that_comes_during_the_proof_is_kept(file: Path, ready: bytes) -> None:
    """As another export to the same place leaves it."""
    place = file.with_suffix(".onnx")

    def write(event: object) -> None:
        place.write_text("theirs")

    with pytest.raises(KdlnetError, match=r"best\.onnx' exists.*--overwrite"):
        export(file, on_event=write)
    assert place.read_text() == "theirs"


def test_a_place_that_cannot_be_written_is_told_before_the_proof(file: Path) -> None:
    said: list[object] = []
    with pytest.raises(KdlnetError, match="cannot write"):
        export(file, out=file / "below" / "model.onnx", on_event=said.append)
    assert said == []


def test_out_names_the_file(file: Path, ready: bytes, tmp_path: Path) -> None:
    out = tmp_path / "line 1" / "model.onnx"
    assert export(file, out=out).exported == str(out)
    assert out.is_file() and out.with_name("model.onnx.json").is_file()
    assert not file.with_suffix(".onnx").exists()


def test_a_file_of_16_bits_lies_beside_that_of_32(file: Path) -> None:
    """Each with its certificate; one stays when the other is written."""
    proofs = [export(file, format="torchscript", half=half) for half in (True, False)]
    places = [Path(proof.exported) for proof in proofs]
    assert [place.name for place in places] == ["best-half.torchscript", "best.torchscript"]
    assert all(place.with_name(f"{place.name}.json").is_file() for place in places)


def test_the_page_on_deployment_goes_on_with_the_files_that_its_exports_write() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "deploy.md"
    ends = {"": "onnx", "onnx": "onnx", "openvino": "xml", "torchscript": "torchscript"}
    read: list[str] = []
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        written = set()
        for line in re.findall(r"^kdlnet export best\.pt.*", block, re.M):
            numbers = re.search(r"--(half|int8)\b", line)
            name = f"best-{numbers[1]}" if numbers else "best"
            found = re.search(r"--format (\w+)", line)
            written.add(f"{name}.{ends[found[1] if found else '']}")
        used = re.findall(r"\bbest[\w-]*\.(?:onnx|xml|torchscript)\b", block)
        if written:
            assert set(used) <= written, block
            read += used
    assert {"best.onnx", "best-half.onnx"} <= set(read)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "onx"}, ["'onx'", "did you mean 'onnx'"]),
        ({"format": "tensorrt"}, ["'tensorrt'", "--device tensorrt", "trtexec", "docs/deploy.md"]),
        ({"images": 5}, ["5 images", "32"]),
        ({"out": Path("model.pt")}, ["model.pt", ".onnx"]),
        ({"out": Path("model.xml")}, ["model.xml", ".onnx", "--format openvino"]),
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


TWO_FILES = FileKind("a net", (".net", ".bin"), "torch", lambda head: head == b"net")


def _write_two(weights: Weights, path: Path, layout: Layout) -> None:
    """A format of two files: the weights themselves, and one beside them."""
    save_weights(path, weights)
    path.with_suffix(".bin").write_bytes(b"beside")


def test_a_format_of_two_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORTERS, "net", Exporter(TWO_FILES, (), _write_two, facts={"level": 3}))
    proof = export(file, format="net")
    written = {path.name: path.stat().st_size for path in file.parent.iterdir()}
    assert sorted(written) == ["best.bin", "best.net", "best.net.json", "best.pt"]
    assert proof.bytes == written["best.net"] + written["best.bin"]
    assert json.loads(file.with_name("best.net.json").read_text())["level"] == 3
    file.with_name("best.net").unlink()
    file.with_name("best.bin").write_text("mine")
    with pytest.raises(KdlnetError, match=r"best\.bin' exists"):
        export(file, format="net")
    assert file.with_name("best.bin").read_text() == "mine"


def test_a_format_brings_its_own_tolerance(
    file: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of integers: answers differ a little, and verdicts and AP judge them."""

    def coarse(weights: Weights, path: Path, layout: Layout) -> None:
        rough = replace(weights, detector=fuse_model(weights.detector))
        rough.detector.neck.down[0].conv.bias.data += 1e-2  # type: ignore[union-attr]
        _write_two(rough, path, layout)

    strict = Exporter(TWO_FILES, (), coarse)
    monkeypatch.setitem(EXPORTERS, "net", strict)
    with pytest.raises(ProofFailed, match="largest logit error"):
        export(file, format="net", data=str(dataset))
    loose = Tolerance(logits=None, box_pixels=None, score=None, flips=0.01, ap_loss=0.01)
    monkeypatch.setitem(EXPORTERS, "net", replace(strict, tolerance=loose))
    proof = export(file, format="net", data=str(dataset))
    assert proof.passed and proof.largest_logit_error > 1e-3
    assert proof.tolerance is None and proof.flips_allowed == 0 and proof.verdict_flips == 0


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_the_users_under_the_certificates_name_is_kept(
    file: Path, ready: bytes, overwrite: bool
) -> None:
    mine = file.with_name("part7.onnx.json")
    mine.write_text('{"part": 7}')
    with pytest.raises(KdlnetError, match=r"part7\.onnx\.json"):
        export(file, out=file.with_name("part7.onnx"), overwrite=overwrite)
    assert mine.read_text() == '{"part": 7}'
    assert sorted(path.name for path in file.parent.iterdir()) == ["best.pt", "part7.onnx.json"]


def test_the_certificate_tells_what_happens_to_verdicts_and_ap(
    file: Path, dataset: Path, ready: bytes
) -> None:
    proof = export(file, data=str(dataset))
    assert proof.score_threshold == 0.4 and proof.verdict_flips == 0
    assert proof.ap_before is not None
    assert proof.ap_before == pytest.approx(proof.ap_after, abs=1e-3)


def test_weights_are_known_by_their_content(file: Path, ready: bytes) -> None:
    renamed = file.rename(file.with_name("best.onnx"))
    for overwrite in (False, True):
        with pytest.raises(KdlnetError, match=r"best\.onnx"):
            export(renamed, overwrite=overwrite)  # the default place is the file itself
    assert export(renamed, out=file.with_name("other.onnx")).passed
    export_named_pt = file.with_name("net.pt")
    export_named_pt.write_bytes(ready)
    with pytest.raises(WeightsError, match="is an exported file"):
        export(export_named_pt)
    assert open_runtime(export_named_pt).name == "onnxruntime"
    with pytest.raises(WeightsError, match=r"an ONNX file, which only runs.*\.pt"):
        load_weights(export_named_pt)


def test_a_damaged_byte_of_an_onnx_file_is_noticed(ready: bytes, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    for position in np.random.default_rng(0).integers(0, len(ready), 50).tolist():
        content = bytearray(ready)
        content[position] ^= 1 << position % 8
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"net\.onnx") as caught:
            open_runtime(file)
        assert "\n" not in str(caught.value)


def test_an_onnx_file_without_a_checksum_is_read(ready: bytes, tmp_path: Path) -> None:
    """As those that earlier versions wrote."""
    content = ready.replace(b'"sha256": "', b'"sha25X": "', 1)
    assert content != ready
    (tmp_path / "old.onnx").write_bytes(content)
    assert open_runtime(tmp_path / "old.onnx").model == "lightnet-n"


def test_damage_without_a_checksum_is_told_in_one_line(
    ready: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no UTF-8, in a name and in the metadata: ONNX Runtime raises or prints."""
    content = ready.replace(b'"sha256": "', b'"sha25X": "', 1)
    for place in (b"logits", b"producer", b'"names"', b'"model"', b"kdlnet\x12"):
        for position in (content.find(place), content.rfind(place)):
            damaged = bytearray(content)
            damaged[position + 1] = 0xFF
            (tmp_path / "old.onnx").write_bytes(damaged)
            with contextlib.suppress(WeightsError):
                open_runtime(tmp_path / "old.onnx")
    assert capfd.readouterr() == ("", "")


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
    del facts["sha256"]  # that of other bytes
    return facts


def test_bad_onnx_files(exported: tuple[Path, ExportCertificate], tmp_path: Path) -> None:
    path, _ = exported
    facts = _content(exported)
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "zero.onnx").touch()
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:5000])
    (tmp_path / "folder.onnx").mkdir()
    _foreign(tmp_path / "other.onnx")
    _foreign(tmp_path / "newer.onnx", format=3)
    _foreign(tmp_path / "unfit.onnx", **facts)
    _foreign(tmp_path / "partial.onnx", format=1)
    _foreign(tmp_path / "odd.onnx", **{**facts, "strides": [0]})
    told = {
        "text": "not a readable ONNX file",
        "zero": "not a readable ONNX file",
        "cut": "not a readable ONNX file",
        "folder": "is a folder",
        "missing": "does not exist",
        "other": "of another tool",
        "newer": "format 3",
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


class _Card:
    """ONNX Runtime as on a machine with a card; ``starts``: its libraries are there."""

    def __init__(self, package: Any, starts: bool) -> None:
        self._package, self._starts = package, starts
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package, name)

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, data: bytes, options: Any, providers: Any, **more: Any) -> Any:
        self.asked.append(providers)
        session = self._package.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        if self._starts:
            session.get_providers = lambda: [name for name, _ in providers]
        return session


def test_devices_go_by_any_case_and_gpu_is_no_slip_of_cpu(
    exported: tuple[Path, ExportCertificate],
) -> None:
    assert open_runtime(exported[0], device="CPU").device == "cpu"
    with pytest.raises(ConfigError, match=r"'gpu'.*OpenVINO.*Known here: auto, cpu") as error:
        open_runtime(exported[0], device="gpu")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("starts", [True, False])
def test_a_card_is_used_where_it_is_named_and_never_replaced_in_silence(
    exported: tuple[Path, ExportCertificate], monkeypatch: pytest.MonkeyPatch, starts: bool
) -> None:
    card = _Card(pytest.importorskip("onnxruntime"), starts)
    monkeypatch.setitem(sys.modules, "onnxruntime", card)
    with pytest.raises(ConfigError, match=r"'tensorrt'.*auto, cpu, cuda; .*onnxruntime-gpu"):
        open_runtime(exported[0], device="tensorrt")
    if not starts:
        with pytest.raises(ConfigError, match=r"'cuda'.*could not start.*use cpu"):
            open_runtime(exported[0], device="cuda")
        return
    runtime = open_runtime(exported[0], device="cuda")
    assert (runtime.device, runtime.precision) == ("cuda", "float32")
    names = [name for name, _ in card.asked[-1]]
    assert names == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert open_runtime(exported[0]).device == "cpu"


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
    images = np.zeros((2, 1, 64, 64), np.float32)
    assert open_runtime(tmp_path / "best.onnx").engine.run(images).logits.shape[0] == 2


def test_the_same_weights_give_the_same_bytes(
    exported: tuple[Path, ExportCertificate], traced: dict[object, Any]
) -> None:
    traced.clear()
    weights = load_weights(exported[0].with_suffix(".pt"))
    weights.detector, weights.fused = fuse_model(weights.detector), True
    write_onnx(weights, exported[0].with_name("again.onnx"), Layout())
    assert exported[0].with_name("again.onnx").read_bytes() == exported[0].read_bytes()
