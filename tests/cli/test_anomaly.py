"""``kdlnet anomaly``: what is told, where the copy goes, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from kdlnet.inference.weights import load_weights

from ..support.weights_file import make_file

if TYPE_CHECKING:
    from .conftest import Command


def make_parts(folder: Path, count: int) -> None:
    """``count`` images of train and of val; every tenth has a bright square that is labelled."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((64, 64, 3), 90 + number % 7, np.uint8)
            if number % 10 == 9:
                pixels[20:44, 20:44] = 250
                (folder / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
            cv2.imwrite(str(folder / "images" / split / f"{number}.png"), pixels)
    text = "train: images/train\nval: images/val\nnames: [square, disc]\n"
    (folder / "data.yaml").write_text(text)


def test_what_changed_is_told_and_the_copy_is_used(kdlnet: Command, tmp_path: Path) -> None:
    make_parts(tmp_path / "parts", 60)
    make_file(tmp_path / "best.pt")
    run = kdlnet("anomaly best.pt --data parts/data.yaml --quiet")
    assert run.code == 0, run.err
    assert "learned 54 good parts of train, scaled by 54 of val" in run.out
    assert "val: 54 good, 6 defective" in run.out
    assert "caught, at most 1 % of good rejected" in run.out
    assert "written best-anomaly.pt" in run.out
    assert load_weights(tmp_path / "best-anomaly.pt").arguments.normality
    seen = kdlnet("predict parts/images/val --save none --weights best-anomaly.pt")
    assert seen.code == 0, seen.err
    again = kdlnet("anomaly best.pt --data parts --json")
    assert again.code == 1 and "exists" in again.error
    told = kdlnet("anomaly best-anomaly.pt --data parts --json --out other.safetensors")
    assert told.code == 0 and told.document["good"] == 54
    assert told.document["before"] == told.document["after"]  # the same good parts once more


def test_what_cannot_be_done_is_one_line(kdlnet: Command, tmp_path: Path) -> None:
    make_parts(tmp_path / "parts", 30)
    make_file(tmp_path / "best.pt")
    run = kdlnet("anomaly best.pt --data parts")
    line = "train has 27 images without a defect, 50 or more are needed: add good parts"
    assert run.code == 1 and line in run.error
    run = kdlnet("anomaly best.pt")
    assert run.code == 2 and "no dataset" in run.error
    assert kdlnet("export best.pt --images 32").code == 0
    run = kdlnet("anomaly best.onnx --data parts")
    assert run.code == 1 and "give the .pt" in run.error and len(run.error.splitlines()) == 1
    assert not list(tmp_path.glob("*anomaly*"))
