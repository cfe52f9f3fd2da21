"""docs/files.md names every file that a verb leaves, and the keys of those that programs read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from kdlnet.inference.desk import SETTINGS
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.series import Series

if TYPE_CHECKING:
    from .conftest import Command

PAGE = Path(__file__).resolve().parents[2] / "docs" / "files.md"
NAMED = set(re.findall(r"`([^`\n]+)`", PAGE.read_text(encoding="utf-8")))


def unnamed(folder: Path) -> list[str]:
    """The files in ``folder`` of which the page names neither the place nor a folder above it."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [
        file.as_posix()
        for file in files
        if not {file.as_posix(), *(f"{above.as_posix()}/" for above in file.parents)} & NAMED
    ]


def test_what_train_val_and_predict_leave(
    kdlnet: Command, trained: Path, weights: Path, dataset: Path
) -> None:
    assert kdlnet("val --quiet --out val", weights, "--data", dataset).code == 0
    kinds = " ".join(f"--save {kind}" for kind in ("images", "txt", "crops", "csv", "json"))
    line = f"predict --quiet --out predict --score 0.01 {kinds} --weights"
    assert kdlnet(line, weights, min((dataset / "images").iterdir())).code == 0
    for folder in (trained, Path("val"), Path("predict")):
        assert unnamed(folder) == [], folder
    assert set(json.loads(Path("predict/predictions.json").read_text())) <= NAMED


def test_what_a_series_and_a_watch_keep_of_themselves() -> None:
    assert {RunFolder(Path()).series.name, SETTINGS, *Series.model_fields} <= NAMED
