"""The state of a run on disk: what an epoch leaves there, and going on from it."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from pydantic import BaseModel

from kdlnet.config import TrainConfig, load_config, stored_config
from kdlnet.data.digest import images_digest
from kdlnet.data.learned import Learned
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.inference.released import from_anywhere
from kdlnet.inference.weights import Weights
from kdlnet.models.zoo import ModelArguments
from kdlnet.training.parts import RunParts
from kdlnet.training.places import at_place_of
from kdlnet.training.run_folder import RunFolder
from kdlnet.training.validation import Validation
from kdlnet.utils.paths import typed

_SHARE = 0.05
"""Of the time, what last.pt may take: with epochs of a fraction of a second some go unsaved."""

_LONGEST = 3.0
"""Seconds: a disk that was slow once does not put the next checkpoint off for long."""

UNKNOWN = ""
"""Which weights a run began with that an older version began."""


class Checkpoints:
    """Saves and restores what resume needs: all tensors and counters that training changes."""

    def __init__(
        self,
        parts: RunParts,
        folder: RunFolder,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        validation: Validation,
    ) -> None:
        self.parts = parts
        self.folder = folder
        self.average = parts.average
        self.optimizer = optimizer
        self.scaler = scaler
        self.validation = validation
        self.state = parts.state
        self._init = None if parts.init is None else str(from_anywhere(parts.init))
        self._saved, self._took = 0.0, 0.0
        self._digests = [images_digest(part.paths) for part in (parts.train, parts.val)]
        self._labels = [part.labels_digest for part in (parts.train, parts.val)]
        self._learned = parts.learned | Learned.of(parts.train.paths)

    def save(self, best: bool, over: bool) -> None:
        """Writes results.csv, last.pt, and best.pt when this epoch is the best.

        last.pt is left as it is while writing it would take more than a small share of the time
        since it was last written, but for the ``best`` epoch and when the run is ``over``.
        """
        self.folder.save_rows(self.state.rows)
        began = time.perf_counter()
        if best or over or self._took <= _SHARE * (began - self._saved):
            self._save_weights(best)
            self._saved = time.perf_counter()
            self._took = min(self._saved - began, _LONGEST)

    def _save_weights(self, best: bool) -> None:
        weights = self._weights()
        weights.training = {
            "config": self.parts.config.to_dict(),
            "images": len(self.parts.train),
            "digests": self._digests,
            "labels": self._labels,
            "detector": self.parts.detector.state_dict(),
            "masks": None if self.parts.masks is None else self.parts.masks.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "state": self.state.state_dict(),
            "init": self._init,
        }
        self.folder.save(weights, best)

    def restore(self, saved: Weights) -> None:
        """Takes over everything ``save`` wrote."""
        self.folder.mend_best(saved)
        training = saved.training
        self.parts.detector.load_state_dict(training["detector"])
        if self.parts.masks is not None:
            self.parts.masks.load_state_dict(training["masks"])
        self.average.model.load_state_dict(saved.detector.state_dict())
        self.average.updates = training["updates"]
        self.optimizer.load_state_dict(training["optimizer"])
        if training["scaler"]:  # empty where float16 was not used: on another device it may be
            self.scaler.load_state_dict(training["scaler"])
        self.validation.thresholds = dict(saved.thresholds)
        self._init = training.get("init", UNKNOWN)
        for name, value in training["state"].items():
            setattr(self.state, name, value)

    def moved(self, saved: Weights) -> bool:
        """Whether the place of the dataset, or the device, is another than ``saved`` has.

        Raises DataError where it has other images there. A run of an older version knows but the
        number of its training samples.
        """
        config = stored_config(saved.training["config"])
        before, now = config.data, self.parts.config.data
        if (before.name, before.root) == (now.name, now.root):
            return config.device != self.parts.config.device
        digests = saved.training.get("digests")
        samples = saved.training["images"], len(self.parts.train)
        same = samples[0] == samples[1] if digests is None else digests == self._digests
        if not same:
            raise DataError(
                f"{', '.join(now.names)!r} does not hold the images that the run began with in "
                f"{', '.join(before.names)!r} ({samples[0]} samples, here {samples[1]}): name "
                "the place these were moved to, or start a new run with --init"
            )
        return True

    def others(self, saved: Weights) -> tuple[str, str]:
        """What of train and of val is another than when ``saved`` was written.

        "images", or "labels" of the same images, else "". A run of an older version does not know
        its labels, or but the number of its training samples.
        """
        images = saved.training.get("digests") or self._digests
        labels = saved.training.get("labels") or self._labels
        pictures = [was != now for was, now in zip(images, self._digests, strict=True)]
        marks = [was != now for was, now in zip(labels, self._labels, strict=True)]
        count = saved.training["images"] != len(self.parts.train)
        return _other(count or pictures[0], marks[0]), _other(pictures[1], marks[1])

    def _weights(self) -> Weights:
        parts = self.parts
        row = self.state.rows[-1] if self.state.rows else {}
        arguments = ModelArguments(
            len(parts.info.names), parts.train.preprocess.channels, parts.config.model.block
        )
        return Weights(
            self.average.model,
            parts.config.model.name,
            arguments,
            tuple(parts.info.names),
            parts.train.preprocess,
            thresholds=self.validation.thresholds,
            metrics={key: row[key] for key in ("epoch", "ap", "ap50", "ap75") if key in row},
            learned=self._learned,
        )


def _other(images: bool, labels: bool) -> str:
    return "images" if images else "labels" if labels else ""


def last_weights(resume: Path) -> Path:
    """The last.pt meant by a run folder, its weights folder or the file itself.

    Raises WeightsError when it is none, or lies outside of a run.
    """
    usual = RunFolder(resume).last
    for file in (usual, resume / usual.name, resume):
        if file.is_file():
            folder = RunFolder.around(file)
            if file.absolute().parent == folder.last.parent and folder.config.is_file():
                return file
            raise WeightsError(
                f"{str(file)!r} is not inside its run folder, where the run would go on: give the "
                "folder that kdlnet train made, or start a new run from the file with --init"
            )
    if RunFolder(resume).series.is_file():
        raise WeightsError(
            f"{str(resume)!r} holds several trainings of kdlnet distill: "
            f"kdlnet distill --resume {typed(str(resume))}"
        )
    if RunFolder(resume).config.is_file():
        raise WeightsError(
            f"{str(resume)!r} holds settings and no weights/last.pt: it ended before the first one "
            "was written, or that was removed. Give the command that began it again"
        )
    what = "holds no weights/last.pt to resume from" if resume.is_dir() else "does not exist"
    raise WeightsError(f"{str(resume)!r} {what}: give the folder of a run that kdlnet train began")


def saved_config(saved: Weights, asked: TrainConfig) -> TrainConfig:
    """The settings of a run that can be resumed, its dataset and its device as ``asked`` says.

    Raises WeightsError when ``saved`` is no such run.
    """
    if not saved.training:
        raise WeightsError(
            f"{str(saved.path)!r} holds no training state; resume from weights/last.pt of a run, "
            "or start a new run from it with --init"
        )
    config = stored_config(saved.training["config"])
    file = RunFolder.around(saved.path or Path()).config
    own = load_config(file, base=config.to_dict())
    require_unchanged(file, own, at_place_of(own, config))
    return at_place_of(asked, at_place_of(own, config))


def require_unchanged(file: Path, own: BaseModel, began: BaseModel) -> None:
    """Raises ConfigError where a run's ``own`` settings, in ``file``, are not as it ``began``."""
    if own != began:
        raise ConfigError(
            f"{str(file)!r} was changed after the run began; a run goes on with the settings it "
            "had: undo the change, or start a new run with --config and --init"
        )
