"""What lies where in the folder of a run."""

from __future__ import annotations

from pathlib import Path

from kdlnet.training.run_folder import RunFolder


def test_run_folder() -> None:
    run = Path("runs/a").absolute()
    assert RunFolder.around(run).path == RunFolder.around(run / "weights" / "last.pt").path == run
    assert RunFolder.around(Path("runs/a/weights/last.pt")).path == run
