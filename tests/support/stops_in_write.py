"""Run as a program: trains, and stops for good in the middle of writing a last.pt, to be killed.

``python -m tests.support.stops_in_write CONFIG OUT NUMBER``: the file of CONFIG, the run's folder,
and which write of last.pt, from 1. It says ``writing`` when the bytes are there and their name is
not.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from kdlnet.config import load_config
from kdlnet.training import checkpoints, run_folder
from kdlnet.verbs.train import train


def main(config: str, out: str, number: str) -> None:
    save, left = run_folder.save_weights, int(number)

    def counted(path: Path, weights: Any) -> None:
        nonlocal left
        left -= path.name == "last.pt"
        if left == 0:
            os.fsync = _stop  # type: ignore[assignment]
        save(path, weights)

    run_folder.save_weights = counted  # type: ignore[attr-defined]
    checkpoints._SHARE = float("inf")
    train(load_config(Path(config)), out=Path(out))


def _stop(handle: int) -> None:
    print("writing", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
