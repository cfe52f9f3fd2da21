"""What is shipped: the wheel built from the sdist, installed alone and used in an empty folder."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import kdlnet

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = {"kdlnet": "kdlnet", "kdlnet_cli": "cli"}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Stdout of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """The sdist or wheel of ``source``, made without the network."""
    script = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    run(sys.executable, "-W", "ignore", "-c", script, cwd=source)
    (archive,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel built from the unpacked sdist of a copy, so that the sdist is proved complete."""
    folder = tmp_path_factory.mktemp("build")
    ignore = shutil.ignore_patterns(".*", "build", "dist", "runs", "data", "*.egg-info")
    # Only the root's own data/ and runs/ go: the package kdlnet/data stays.
    shutil.copytree(REPOSITORY, folder / "tree", ignore=_at_the_root(ignore))
    sdist = build("sdist", folder / "tree", folder)
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(folder / "sdist")
    (source,) = (folder / "sdist").iterdir()
    return build("wheel", source, folder)


def _at_the_root(ignore):
    def choose(folder: str, names: list[str]) -> set[str]:
        return ignore(folder, names) if Path(folder) == REPOSITORY else {"__pycache__"}

    return choose


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    run(
        *(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"),
        *("--target", target, wheel),
        cwd=target,
    )
    return target


def test_every_folder_with_code_is_a_listed_package() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    on_disk = {
        ".".join([package, *file.parent.relative_to(REPOSITORY / folder).parts])
        for package, folder in PACKAGES.items()
        for file in (REPOSITORY / folder).rglob("*.py")
    }
    assert set(listed) == on_disk
    assert listed == sorted(listed)


def test_every_package_has_an_init() -> None:
    for folder in PACKAGES.values():
        for file in (REPOSITORY / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), file.parent


def test_wheel_holds_the_code_the_dataset_list_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {name for name in names if name.endswith(".py")}
    assert shipped == {
        f"{package}/{file.relative_to(REPOSITORY / folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for file in (REPOSITORY / folder).rglob("*.py")
    }
    assert {"kdlnet/datasets.yaml", "kdlnet/py.typed", "kdlnet_cli/py.typed"} <= names
    templates = (REPOSITORY / "kdlnet/report/templates").iterdir()
    assert {f"kdlnet/report/templates/{file.name}" for file in templates} <= names
    weights = (file for file in (REPOSITORY / "weights").rglob("*") if file.is_file())
    assert {f"kdlnet/{file.relative_to(REPOSITORY).as_posix()}" for file in weights} <= names
    assert any(name.endswith("/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)


def test_wheel_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    script = "import kdlnet, kdlnet_cli; print(kdlnet.__file__); print(kdlnet_cli.__file__)"
    places = run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(installed))
    assert all(place.startswith(str(installed)) for place in places.split()), places

    version = run(
        sys.executable, "-m", "kdlnet_cli", "--version", cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert version.split() == ["kdlnet", kdlnet.__version__]
    assert list(tmp_path.iterdir()) == []


def test_wheel_knows_the_datasets_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    name, *_ = yaml.safe_load((REPOSITORY / "datasets.yaml").read_text(encoding="utf-8"))
    script = f"""
from kdlnet.data.catalog import find_dataset, look_up
print(find_dataset({name!r}).source)
print(*look_up("magnetic-tile")[0].lists.values(), sep="\\n")
"""
    source, *lists = run(
        sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(installed)
    ).splitlines()
    assert source == str(installed / "kdlnet" / "datasets.yaml")
    assert len(lists) == 3
    assert all(Path(file).is_relative_to(installed) and Path(file).is_file() for file in lists)


@pytest.mark.skipif(os.name == "nt", reason="the script is an .exe there")
def test_console_script(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "kdlnet"
    listed = run(sys.executable, script, "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "train" in listed


@pytest.mark.skipif(os.name == "nt", reason="the script is an .exe there")
def test_console_script_hears_ctrl_c_before_the_commands_are_imported(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, installed / "bin" / "kdlnet", "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, installed)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_runner_asks_for_what_kdlnet_asks_for() -> None:
    """The same lower bounds; opencv comes without its windows."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    core = set(config["options"]["install_requires"].split())
    exported = set(config["options.extras_require"]["export"].split())
    lines = (REPOSITORY / "requirements-run.txt").read_text(encoding="utf-8").splitlines()
    asked = {line.replace("-headless", "") for line in lines if not line.startswith("#")}
    assert asked <= core | exported and "numpy>=2.0" in asked


def test_version_has_a_heading_in_the_changelog() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(kdlnet.__version__)}\b", changelog, re.MULTILINE)
