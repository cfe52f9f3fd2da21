from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from kdlnet.errors import DataError, WeightsError
from kdlnet.inference.folds import find_folds


def _arguments(error: BaseException) -> list[str]:
    """Of the command at the end of the message, as a shell reads it."""
    return shlex.split(str(error).rpartition(" kdlnet ")[2])


def test_the_commands_it_names_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders have blanks in their names; elsewhere than on Windows they are quoted with '."""
    monkeypatch.setattr("sys.platform", "linux")
    folds, runs = tmp_path / "my folds", tmp_path / "my runs"
    with pytest.raises(DataError) as none:
        find_folds(runs, folds, "val")
    assert _arguments(none.value) == ["data", "split", "DATA", "--folds", "5", "--out", str(folds)]
    for number in (1, 2):
        (folds / f"fold-{number}").mkdir(parents=True)
        (folds / f"fold-{number}" / "data.yaml").touch()
    with pytest.raises(WeightsError) as untrained:
        find_folds(runs, folds, "val")
    places = ["--data", str(folds / "fold-1"), "--out", str(runs / "fold-1")]
    assert _arguments(untrained.value) == ["train", *places]
