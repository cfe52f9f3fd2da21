"""The public names of the package."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kdlnet
from kdlnet.errors import ConfigError, DataError, KdlnetError
from kdlnet.utils.given import checked

GOAL = kdlnet.Goal("recall", 0.9)


def test_every_public_name_exists_and_is_documented() -> None:
    assert set(kdlnet.__all__) == {*kdlnet._LAZY, "__version__"}
    for name in kdlnet._LAZY:
        assert inspect.getdoc(getattr(kdlnet, name)), name


def test_annotations_of_what_is_public_resolve() -> None:
    """Editors, pages and command lines are made from them."""
    found = [getattr(kdlnet, name) for name in kdlnet._LAZY]
    methods = [getattr(kdlnet.Detector, name) for name in ("load", "predict", "stream")]
    for work in (*filter(inspect.isfunction, found), *methods):
        assert "return" in typing.get_type_hints(work), work


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(kdlnet, "nonsense")


def test_importing_the_package_imports_no_torch() -> None:
    code = (
        "import sys, kdlnet; print([m for m in ('torch', 'pydantic', 'cv2') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Detector", {"path": "no.pt"}),
        ("anomaly", {"weights": "no.pt", "data": "no/data.yaml", "out": "no.pt"}),
        ("bench", {"weights": "no.onnx", "source": "no"}),
        ("calibrate", {"weights": "no.pt", "goal": GOAL, "data": "no/data.yaml", "out": "no.pt"}),
        ("compare", {"a": "no.pt", "b": ["no.pt"], "data": "no/data.yaml", "data_root": "no"}),
        ("distill", {"config": kdlnet.TrainConfig(), "teachers": "no.pt", "out": "no"}),
        ("export", {"weights": "no.pt", "out": "no.onnx"}),
        ("find_dataset", {"name": Path("no/data.yaml"), "data_root": "no"}),
        ("fuse", {"weights": "no.pt", "out": "no.pt"}),
        ("load_config", {"file": "no.yaml"}),
        ("train", {"config": kdlnet.TrainConfig(), "resume": "no"}),
        ("validate", {"weights": "no.pt", "data": Path("no/data.yaml"), "data_root": "no"}),
    ],
)
def test_paths_may_be_text_and_what_is_no_path_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: dict[str, Any]
) -> None:
    """Text was an AttributeError of str."""
    monkeypatch.chdir(tmp_path)
    work = kdlnet.Detector.load if name == "Detector" else getattr(kdlnet, name)
    with pytest.raises(KdlnetError, match="no"):
        work(**given)
    path = next(key for key in reversed(given) if key not in ("goal", "data", "config", "name"))
    with pytest.raises(ConfigError, match=rf"{path} 1\.5 is no path: give text or a Path"):
        work(**{**given, path: 1.5})


def test_a_dataset_may_be_given_as_a_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        kdlnet.find_dataset(tmp_path / "parts")
    with pytest.raises(DataError, match="does not exist"):
        kdlnet.compare("a.pt", "b.pt", data=tmp_path / "parts")
    with pytest.raises(KdlnetError, match="parts"):
        kdlnet.compare("a.pt", "b.pt", data=tmp_path / "parts", folds=True)
    with pytest.raises(ConfigError, match=r"dataset 1\.5 is no name: give text or a Path"):
        kdlnet.find_dataset(1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "wrong", "line"),
    [
        ("Detector", {"path": b"no.pt"}, "path b'no.pt' is no path: give text or a Path"),
        ("Detector", {"path": 5000 * "a"}, "path 'aaa.*aaa' is no path: it is too long for one"),
        ("find_dataset", {"name": 5000 * "a"}, "dataset 'aaa.*aaa' is no path: it is too long"),
        ("validate", {"data": "a\0b"}, "dataset 'a.*b' is no path: .* or has a NUL in it"),
        ("validate", {"data": "a\ud800"}, r"dataset 'a\\ud800' is no path: .* half of a letter"),
        ("train", {"config": "runs/a"}, "config 'runs/a' is no TrainConfig: give what load_config"),
        ("train", {"overwrite": None}, "overwrite None is no choice: give True or False"),
        ("train", {"on_event": 3}, "on_event 3 is no function: give one that takes an event"),
        ("distill", {"teacher_model": ["a"]}, r"teacher_model \['a'\] is no text: give a str"),
        ("distill", {"generations": 1.5}, "generations 1.5 is no whole number: allowed is 1 or"),
        ("distill", {"teachers": ["a.pt", None]}, "teachers None is no path: give text or a Path"),
        ("export", {"format": None}, "format None is no text: give a str"),
        ("export", {"max_drop": 0.1}, "max_drop 0.1 is no mapping: give a dict"),
        ("export", {"images": "40"}, "images '40' is no whole number: allowed is 1 or more"),
        ("calibrate", {"goal": 0.9}, "goal 0.9 is no Goal: give a kdlnet.Goal"),
        ("bench", {"threads": -1}, "threads -1 is out of range: allowed is 1 or more"),
        ("bench", {"data": memoryview(b"no")}, "dataset <memory at .*> is no name: give text or a"),
        ("compare", {"data": ["a", 1]}, "dataset 1 is no name: give text or a Path"),
        ("compare", {"seed": -1}, "seed -1 is out of range: allowed is 0 or more"),
        ("validate", {"split": np.ones((30, 30))}, r"split array\(\[\[1\..*\) is no text: give a"),
        ("validate", {"batch": np.int64(0)}, "batch 0 is out of range: allowed is 1 or more"),
        ("validate", {"mm_per_pixel": "1"}, "mm_per_pixel '1' is no number: allowed is above 0"),
        ("validate", {"folds": True, "data": 1.5}, "dataset 1.5 is no name: give text or a Path"),
        ("load_config", {"assignments": [1]}, "assignments 1 is no text: give a str"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line_before_anything_is_read(
    name: str, wrong: dict[str, Any], line: str
) -> None:
    needed = {
        "Detector": {},
        "load_config": {},
        "find_dataset": {},
        "calibrate": {"weights": "no.pt", "goal": GOAL, "data": "no"},
        "compare": {"a": "no.pt", "b": "no.pt", "data": "no"},
        "validate": {"weights": "no.pt", "data": "no"},
        "train": {"config": kdlnet.TrainConfig()},
        "distill": {"config": kdlnet.TrainConfig()},
    }.get(name, {"weights": "no.pt"})
    work = kdlnet.Detector.load if name == "Detector" else getattr(kdlnet, name)
    with pytest.raises(ConfigError, match=f"^{line}[^\n]*$"):
        work(**needed | wrong)


def test_scalars_of_numpy_will_do() -> None:
    found = {}

    @checked
    def work(batch: int = 1, overlap: float | None = None, strict: bool = False) -> None:
        found.update(batch=batch, overlap=overlap, strict=strict)

    work(np.int64(4), np.float32(0.5), strict=np.bool_(True))  # type: ignore[arg-type]
    assert list(map(type, found.values())) == [int, float, bool]
