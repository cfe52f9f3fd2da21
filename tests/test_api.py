"""The public names of the package."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kdlnet
from kdlnet.errors import ConfigError, DataError, KdlnetError

GOAL = kdlnet.Goal("recall", 0.9)


def test_every_public_name_exists_and_is_documented() -> None:
    assert set(kdlnet.__all__) == {*kdlnet._LAZY, "__version__"}
    for name in kdlnet._LAZY:
        assert inspect.getdoc(getattr(kdlnet, name)), name


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
        kdlnet.compare("a.pt", "b.pt", data=tmp_path / "parts")  # type: ignore[arg-type]
    with pytest.raises(KdlnetError, match="parts"):
        kdlnet.compare("a.pt", "b.pt", data=tmp_path / "parts", folds=True)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"dataset 1\.5 is no name: give text or a Path"):
        kdlnet.find_dataset(1.5)  # type: ignore[arg-type]
