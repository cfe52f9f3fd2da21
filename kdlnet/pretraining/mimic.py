"""The student of a pre-training and its loss: a detector's maps through 1x1 layers to a teacher's.

The backbone's maps learn the teacher's maps of their own stride. Those of the neck learn the next
coarser one, enlarged, so that its way down has something to bring: what is where, at fine strides.
The coarsest also learns the teacher's vector of the whole image. The 1x1 layers are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlnet.models.network import Network
from kdlnet.types import StepOutput

from .teachers import STRIDES, Lesson

_FAR = 6.0
"""Deviations: what is farther out pulls no more. Half precision and outliers meet here."""


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of each channel of a teacher, maps first, then the vector."""

    means: tuple[Tensor, ...]
    deviations: tuple[Tensor, ...]

    def __call__(self, lesson: Lesson) -> Lesson:
        """``lesson`` with every channel around 0 and of unit size."""
        scaled = [
            ((x.float() - _along(m, x)) / _along(d, x)).clamp(-_FAR, _FAR)
            for x, m, d in zip(
                (*lesson.maps, lesson.vector), self.means, self.deviations, strict=True
            )
        ]
        return Lesson(tuple(scaled[:-1]), scaled[-1])

    def to(self, device: torch.device) -> Scale:
        """The same on ``device``."""
        means, deviations = (
            tuple(x.to(device) for x in each) for each in (self.means, self.deviations)
        )
        return Scale(means, deviations)


def measured_scale(lesson: Lesson) -> Scale:
    """The scale of the channels of ``lesson``, of as many views as there are at hand."""
    means, deviations = [], []
    for x in (*lesson.maps, lesson.vector):
        values = x.float().transpose(0, 1).flatten(1)
        means.append(values.mean(1))
        deviations.append(values.std(1).clamp(min=1e-3))
    return Scale(tuple(means), tuple(deviations))


def _along(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.ndim - 2))


class Mimic(nn.Module):
    """A detector with the 1x1 layers that its maps go through; ``widths`` are the teacher's
    channels by stride and ``vector`` the length of its vector."""

    def __init__(self, detector: Network, widths: Sequence[int], vector: int) -> None:
        super().__init__()
        self.detector = detector
        levels = len(STRIDES)
        backbone, neck = detector.backbone.widths[-levels:], detector.neck.widths[-levels:]
        coarser = [*widths[1:], widths[-1]]
        self.of_backbone = nn.ModuleList(map(_layer, backbone, widths))
        self.of_neck = nn.ModuleList(map(_layer, neck, coarser))
        self.of_image = _layer(neck[-1], vector)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Guesses by name, see :func:`wanted`, of images (B, channels, H, W)."""
        levels = len(STRIDES)
        maps = self.detector.backbone(images)
        merged = self.detector.neck(maps[-len(self.detector.strides) :])[-levels:]
        guesses = {
            f"backbone{s}": f(x)
            for s, f, x in zip(STRIDES, self.of_backbone, maps[-levels:], strict=True)
        }
        guesses |= {f"neck{s}": f(x) for s, f, x in zip(STRIDES, self.of_neck, merged, strict=True)}
        vector = self.of_image(merged[-1].mean((2, 3), keepdim=True))
        return guesses | {"image": vector.flatten(1)}


def wanted(lesson: Lesson) -> dict[str, Tensor]:
    """What :class:`Mimic` should give, by name, for a scaled lesson."""
    targets = {f"backbone{s}": x for s, x in zip(STRIDES, lesson.maps, strict=True)}
    for stride, below, above in zip(STRIDES, lesson.maps, lesson.maps[1:], strict=False):
        targets[f"neck{stride}"] = F.interpolate(
            above, size=below.shape[2:], mode="bilinear", align_corners=False
        )
    return targets | {f"neck{STRIDES[-1]}": lesson.maps[-1], "image": lesson.vector}


def mimic_loss(guesses: dict[str, Tensor], targets: dict[str, Tensor]) -> StepOutput:
    """The sum of the smooth L1 losses of all names, in the parts backbone, neck and image."""
    losses = {name: F.smooth_l1_loss(guesses[name].float(), targets[name]) for name in targets}
    parts: dict[str, Tensor] = {}
    for name, loss in losses.items():
        part = part_of(name)
        parts[part] = parts.get(part, torch.zeros_like(loss)) + loss.detach()
    return StepOutput(torch.stack(list(losses.values())).sum(), parts)


def part_of(name: str) -> str:
    """``backbone`` for ``backbone8``: what is said of the strides together."""
    return name.rstrip("0123456789")


def _layer(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 1)
