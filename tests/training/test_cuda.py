"""What only a GPU can show. Skipped without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kdlnet.config import TrainConfig, build_config
from kdlnet.training.augment import Augmenter
from kdlnet.training.parts import prepare_run
from kdlnet.verbs.distill import distill
from kdlnet.verbs.fuse import fuse
from kdlnet.verbs.train import train

pytestmark = pytest.mark.gpu

EVERYTHING = {
    "mosaic": 0.5,
    "mixup": 0.5,
    "copy_paste": 0.5,
    "degrees": 10,
    "scale": 0.4,
    "brightness": 0.3,
    "contrast": 0.3,
    "hue": 0.1,
    "saturation": 0.4,
    "blur": 1.0,
    "noise": 0.05,
}


def _changed(config: TrainConfig, **values: object) -> TrainConfig:
    return build_config({**config.to_dict(), "device": "cuda", **values})


def test_augmentation_is_the_same_on_the_gpu(config: TrainConfig) -> None:
    parts = prepare_run(config, None, None, lambda event: None)
    augment = Augmenter(parts.train, seed=1, **EVERYTHING)  # type: ignore[arg-type]
    cpu, cuda = (augment(0, np.arange(8), True, device) for device in ("cpu", "cuda"))
    assert parts.train.images._resident is not None  # its pixels were copied there once
    torch.testing.assert_close(cuda.images.cpu(), cpu.images, rtol=0, atol=2e-3)
    torch.testing.assert_close(cuda.targets.boxes.cpu(), cpu.targets.boxes)


@pytest.mark.parametrize("amp", ["auto", "fp16", "off"])
def test_train_resume_distill_and_fuse(config: TrainConfig, tmp_path: Path, amp: str) -> None:
    changed = _changed(config, amp=amp, augment=EVERYTHING)
    teacher = train(changed, out=tmp_path / "teacher")
    assert train(changed, resume=teacher.folder).reason == "epochs"
    student = distill(changed, teachers=[teacher.best], out=tmp_path / "student")
    assert fuse(student.best, device="cuda").passed
