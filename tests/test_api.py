"""The public names of the package."""

from __future__ import annotations

import inspect
import subprocess
import sys

import kdlnet


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
