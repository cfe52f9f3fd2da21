"""The state of a pre-training on disk: the start it has come to, and what going on needs."""

from __future__ import annotations

from pathlib import Path

import torch

from kdlnet.errors import WeightsError
from kdlnet.inference.released import START
from kdlnet.inference.weights import Weights
from kdlnet.models.zoo import ModelArguments
from kdlnet.pretraining.mimic import Mimic
from kdlnet.pretraining.settings import PretrainConfig
from kdlnet.settings import load_settings
from kdlnet.training.average import WeightAverage
from kdlnet.training.checkpoints import require_unchanged
from kdlnet.training.loop import LoopState
from kdlnet.training.run_folder import RunFolder
from kdlnet.types import Preprocess


class StartCheckpoints:
    """Saves and restores all tensors and counters that a pre-training changes."""

    def __init__(
        self,
        config: PretrainConfig,
        folder: RunFolder,
        average: WeightAverage[Mimic],
        student: Mimic,
        optimizer: torch.optim.Optimizer,
        state: LoopState,
    ) -> None:
        self.config = config
        self.folder = folder
        self.average = average
        self.student = student
        self.optimizer = optimizer
        self.state = state

    def save(self, best: bool, over: bool) -> None:
        """Writes results.csv, last.pt, and best.pt when this epoch is the best."""
        self.folder.save_rows(self.state.rows)
        start = self._start()
        start.training = {
            "pretrain": self.config.to_dict(),
            "over": over,
            "student": self.student.state_dict(),
            "average": self.average.model.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "state": self.state.state_dict(),
        }
        self.folder.save(start, best)

    def restore(self, saved: Weights) -> None:
        """Takes over everything ``save`` wrote."""
        self.folder.mend_best(saved)
        training = saved.training
        self.student.load_state_dict(training["student"])
        self.average.model.load_state_dict(training["average"])
        self.average.updates = training["updates"]
        self.optimizer.load_state_dict(training["optimizer"])
        for name, value in training["state"].items():
            setattr(self.state, name, value)

    def _start(self) -> Weights:
        row = self.state.rows[-1] if self.state.rows else {}
        size = self.config.image_size
        return Weights(
            self.average.model.detector,
            self.config.model.name,
            ModelArguments(1, 3, self.config.model.block),
            (),
            Preprocess((size, size)),
            metrics={key: row[key] for key in ("epoch", "explained") if key in row},
            purpose=START,
        )


def saved_settings(saved: Weights, asked: PretrainConfig) -> PretrainConfig:
    """The settings of a run that can go on, its device as ``asked`` says.

    Raises WeightsError for weights of another kind, ConfigError where the run's file of settings
    says something else by now.
    """
    if "pretrain" not in saved.training:
        raise WeightsError(
            f"{str(saved.path)!r} is not the last.pt of a pre-training: give the folder that "
            "kdlnet pretrain made, or go on with kdlnet train --resume"
        )
    config = PretrainConfig.model_validate(saved.training["pretrain"])
    file = RunFolder.around(saved.path or Path()).config
    own = load_settings(PretrainConfig, file, base=config.to_dict())
    require_unchanged(file, own, config.model_copy(update={"device": own.device}))
    return own.model_copy(update=asked.model_dump(include={"device"}, exclude_unset=True))
