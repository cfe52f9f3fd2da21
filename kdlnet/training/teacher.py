"""Teachers: frozen, fused, their classes in the student's order, several answers averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdlnet.errors import WeightsError
from kdlnet.events import Listener, Message
from kdlnet.inference.evaluate import detect
from kdlnet.inference.released import from_anywhere, released_or_file
from kdlnet.inference.replayed import replayed_on
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import Weights, load_weights
from kdlnet.metrics.average_precision import AveragePrecision, average_precision
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.training.parts import RunParts
from kdlnet.types import RawPredictions
from kdlnet.utils.files import sha256_of
from kdlnet.utils.paths import shown

_LOST = 0.8
"""A teacher that keeps less than this share of the AP it was saved with is warned of."""
_WEAK = 0.1
"""So is one with a lower AP50 than this: it finds next to nothing itself."""


class Member:
    """One fused detector in eval mode. ``order`` picks its classes in the student's order."""

    def __init__(self, detector: Network, order: Tensor | None) -> None:
        self.detector = detector
        self.order = order
        device = next(detector.parameters()).device
        self.forward = replayed_on(device, detector, features=True)

    def __call__(self, images: Tensor) -> RawPredictions:
        return self._ordered(self.forward(images))

    def head(self, features: Sequence[Tensor]) -> RawPredictions:
        """What its head says of features (B, C, H, W), a level each; gradients flow into them."""
        raw: RawPredictions = self.detector.head(features)
        return self._ordered(raw)

    def _ordered(self, raw: RawPredictions) -> RawPredictions:
        if self.order is None:
            return raw
        logits = raw.logits.index_select(2, self.order)
        return RawPredictions(logits, raw.bins, raw.points, raw.strides, raw.features)


class Mirrored:
    """A member that looks at the images mirrored left to right, and answers for them upright."""

    def __init__(self, member: Member) -> None:
        self.member = member

    def __call__(self, images: Tensor) -> RawPredictions:
        raw = self.member(images.flip(3))
        shapes = [feature.shape[-2:] for feature in raw.features]
        order = mirrored_points(shapes, images.device)
        bins = raw.bins.index_select(1, order)[:, :, [2, 1, 0, 3]]
        return RawPredictions(
            raw.logits.index_select(1, order),
            bins,
            raw.points,
            raw.strides,
            tuple(feature.flip(3) for feature in raw.features),
        )


def mirrored_points(shapes: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Index of the mirror image of each point of grids of (H, W), one after another, row by row."""
    parts, first = [], 0
    for height, width in shapes:
        grid = torch.arange(first, first + height * width, device=device)
        parts.append(grid.view(height, width).flip(1).flatten())
        first += height * width
    return torch.cat(parts)


class Ensemble:
    """Several members as one teacher: the mean of their scores and of their distance bins.

    Features and ``head`` are those of the first, so terms on features want a single teacher.
    ``reached`` has a row for each that was loaded: ``weights``, ``split``, ``ap``, ``ap50`` and the
    file's ``sha256``.
    """

    def __init__(self, members: Sequence[Member], mirrored: bool = False) -> None:
        self.reached: list[dict[str, Any]] = []
        self.members = list(members)
        self.answering: list[Member | Mirrored] = list(members)
        if mirrored:
            self.answering += [Mirrored(member) for member in members]

    def __call__(self, images: Tensor) -> RawPredictions:
        answers = [member(images) for member in self.answering]
        first = answers[0]
        if len(answers) == 1:
            return first
        scores = torch.stack([raw.logits.float().sigmoid() for raw in answers]).mean(dim=0)
        shares = torch.stack([raw.bins.float().softmax(dim=-1) for raw in answers]).mean(dim=0)
        logits = torch.logit(scores, eps=1e-6)
        bins = shares.clamp(min=1e-12).log()  # a share that is 0 in all of them stays finite
        return RawPredictions(logits, bins, first.points, first.strides, first.features)

    def head(self, features: Sequence[Tensor]) -> RawPredictions:
        return self.members[0].head(features)


def load_teachers(
    paths: Sequence[Path], parts: RunParts, needs_features: bool, on_event: Listener
) -> Ensemble:
    """The teachers of a run, checked against its student; says what each reaches on val.

    Raises WeightsError for one that does not fit (see :func:`check_teacher`).
    """
    loaded = [load_weights(path) for path in paths]
    for weights in loaded:
        check_teacher(weights, parts)
    if needs_features:
        _check_features(loaded, parts)
    members = [frozen(weights, parts) for weights in loaded]
    together = Ensemble(members, parts.config.distill.mirrored)
    split = parts.config.data.val_split
    for path, weights, member in zip(paths, loaded, members, strict=True):
        reached = _on_val(member, parts)
        _tell(f"teacher {shown(path)!r}", reached, weights.metrics.get("ap"), split, on_event)
        digest = sha256_of(released_or_file(path))
        row = {"split": split, "ap": reached.ap, "ap50": reached.ap50, "sha256": digest}
        together.reached.append({"weights": str(from_anywhere(path)), **row})
    if len(together.answering) > 1:
        reached = _on_val(together, parts)
        _tell(f"the mean of {len(together.answering)} answers", reached, None, split, on_event)
    return together


def check_teacher(teacher: Weights, parts: RunParts) -> None:
    """Raises WeightsError unless teacher and student see the same pixels, points and classes."""
    name = repr(str(teacher.path))
    missing = [wanted for wanted in parts.info.names if wanted not in teacher.names]
    if missing:
        raise WeightsError(
            f"teacher {name} does not know the class {missing[0]!r} (it knows "
            f"{', '.join(teacher.names)}): train a teacher on this dataset"
        )
    if teacher.detector.strides != parts.detector.strides:
        raise WeightsError(
            f"teacher {name} has strides {teacher.detector.strides}, the student "
            f"{parts.detector.strides}: choose a student with the same, such as {teacher.model!r}"
        )
    contracts = (teacher.preprocess, parts.train.preprocess)
    own, seen = ({"roi": None, **contract.to_dict()} for contract in contracts)
    other = [key for key in own if own[key] != seen[key]]
    if other:
        raise WeightsError(
            f"teacher {name} was trained with {_listed(own, other)}, the student would see "
            f"{_listed(seen, other)}: use the same --image-size, --tile, --roi, "
            "channels and window"
        )


def _listed(values: dict[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {values[key]}" for key in keys)


def frozen(teacher: Weights, parts: RunParts) -> Member:
    """The teacher fused, without gradients, on the device of the run.

    And without what it knows of good parts: a mosaic or a warped image is unlike all of them.
    """
    detector = fuse_model(teacher.detector).to(parts.device).requires_grad_(False)
    detector.normality = None
    detector.to(memory_format=torch.channels_last)
    if teacher.names == parts.info.names:
        return Member(detector, None)
    order = torch.tensor([teacher.names.index(name) for name in parts.info.names])
    return Member(detector, order.to(parts.device))


def _check_features(teachers: Sequence[Weights], parts: RunParts) -> None:
    if len(teachers) > 1:
        raise WeightsError(
            "distill.pkd_weight, cwd_weight and cross compare features with one teacher: give one "
            "--teacher, or set them to 0"
        )
    wanted, found = parts.detector.neck.widths, teachers[0].detector.neck.widths
    if wanted != found:
        raise WeightsError(
            f"teacher {str(teachers[0].path)!r} has features of {found} channels, the student "
            f"of {wanted}: terms on features (pkd, cwd, cross) need the same structure; use the "
            "terms on outputs"
        )


def _on_val(teacher: Callable[[Tensor], RawPredictions], parts: RunParts) -> AveragePrecision:
    results = detect(TorchEngine(teacher, parts.device), parts.val, parts.config.batch)
    return average_precision(results, parts.info.names)


def _tell(
    name: str, reached: AveragePrecision, promised: float | None, split: str, on_event: Listener
) -> None:
    """Says what teachers reached on ``split``, and warns where they have little to teach."""
    figures = f"AP {_shown(reached.ap)}, AP50 {_shown(reached.ap50)}"
    on_event(Message(f"{name}: {figures} on {split}"))
    doubt = _doubt(reached, promised)
    if doubt:
        on_event(Message(f"{name} {doubt}", "warning"))


def _doubt(reached: AveragePrecision, promised: float | None) -> str | None:
    """Why a student may learn little from a teacher that ``reached`` this on its images."""
    if promised and (reached.ap or 0.0) < _LOST * promised:
        return (
            f"had AP {promised:.3f} when it was saved: these are other images or other labels, "
            "and a student of it will hardly do better"
        )
    if reached.ap50 is not None and reached.ap50 < _WEAK:
        return (
            "finds next to nothing itself: a student has little to learn from it; train it longer "
            "first"
        )
    return None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
