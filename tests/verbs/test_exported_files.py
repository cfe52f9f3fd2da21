"""Exported files where weights are expected: val, compare and calibrate take them as they are."""

from __future__ import annotations

import copy
import pickle
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from kdlnet.errors import KdlnetError, WeightsError
from kdlnet.inference.copies import copy_network
from kdlnet.inference.exporters import EXPORTERS
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.runtimes import open_runtime
from kdlnet.verbs.calibrate import Goal, calibrate
from kdlnet.verbs.compare import compare
from kdlnet.verbs.export import export
from kdlnet.verbs.val import validate

from ..support.weights_file import make_weights

FORMATS = ("onnx", "openvino", "torchscript")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Weights, and by format what they were exported to."""
    found = {"torch": make_weights(tmp_path_factory.mktemp("files") / "best.pt")}
    for format in FORMATS:
        for package in EXPORTERS[format].packages:
            pytest.importorskip(package)
        found[format] = Path(export(found["torch"], format=format).exported)
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_val_and_compare_find_what_they_find_with_the_weights(
    files: Mapping[str, Path], format: str, dataset: Path, tmp_path: Path
) -> None:
    figures = []
    for name in ("torch", format):
        result = validate(
            files[name], data=str(dataset), device="cpu", out=tmp_path / name, pictures=False
        )
        figures.append((result.precision.ap, result.verdicts.overall.to_dict()))
    assert figures[0][0] == pytest.approx(figures[1][0], abs=1e-4)
    assert figures[0][1] == figures[1][1]
    found = compare(
        [files["torch"]], [files[format]], data=str(dataset), split="val", device="cpu", rounds=100,
        out=tmp_path / "compare",
    )  # fmt: skip
    assert found.images == 12 and not found.flips.images


@pytest.mark.parametrize("format", FORMATS)
def test_calibrate_writes_a_copy_that_differs_in_its_header_alone(
    files: Mapping[str, Path], format: str, dataset: Path, tmp_path: Path
) -> None:
    file = files[format]
    before = [each.read_bytes() for each in sorted(file.parent.iterdir())]
    out = tmp_path / f"c{file.suffix}"
    goal = Goal("recall", 0.75, per_class=True)
    result = calibrate(file, goal, data=str(dataset), out=out, device="cpu", report="none")
    assert [each.read_bytes() for each in sorted(file.parent.iterdir())] == before
    runtime, original = open_runtime(out, device="cpu"), open_runtime(file, device="cpu")
    assert runtime.rule == result.rule != original.rule
    assert runtime.calibration == result.facts()
    again = tmp_path / f"again{file.suffix}"
    copy_network(out, again, thresholds={"score": 0.4}, calibration={})
    for one, two in zip(sorted(tmp_path.glob("again*")), _files(file), strict=True):
        assert one.read_bytes() == two.read_bytes()
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        open_runtime(out, device="cpu")


def _files(file: Path) -> list[Path]:
    return sorted({file, file.with_suffix(".bin")} if file.suffix == ".xml" else {file})


def test_a_copy_replaces_nothing_that_is_not_its_like(
    files: Mapping[str, Path], dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(files["torch"].parent, tmp_path / "a")
    file = tmp_path / "a" / files["openvino"].name
    goal = Goal("recall", 0.5)
    for out, told in ((file, "another file"), (file.with_suffix(".onnx"), r"the suffix \.xml")):
        with pytest.raises(KdlnetError, match=told):
            calibrate(file, goal, data=str(dataset), out=out, device="cpu", overwrite=True)
    numbers = tmp_path / "a" / "mine.bin"
    numbers.write_bytes(b"mine")
    for overwrite, told in ((False, r"mine\.bin' exists"), (True, r"mine\.bin' is no whole file")):
        with pytest.raises(KdlnetError, match=told):
            calibrate(
                file, goal, data=str(dataset), out=numbers.with_suffix(".xml"),
                overwrite=overwrite, device="cpu",
            )  # fmt: skip
    assert numbers.read_bytes() == b"mine"


def test_a_package_that_a_copy_needs_is_missed_before_the_work(
    files: Mapping[str, Path], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    said: list[object] = []
    with pytest.raises(KdlnetError, match="needs the package 'onnx'"):
        calibrate(
            files["onnx"], Goal("recall", 0.5), data=str(dataset), out=tmp_path / "c.onnx",
            device="cpu", on_event=said.append,
        )  # fmt: skip
    assert not said and not list(tmp_path.glob("c.onnx*"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_detector_that_cannot_be_pickled_says_what_to_send(
    files: Mapping[str, Path], format: str
) -> None:
    """It was an AttributeError about a local object; a copy in the same process works."""
    detector = Predictor.load(files[format], device="cpu")
    with pytest.raises(KdlnetError, match=r"cannot be pickled.*send the path.*Detector\.load"):
        pickle.dumps(detector)
    image = np.zeros((64, 64), np.uint8)
    assert len(copy.deepcopy(detector).predict(image)) == 1
