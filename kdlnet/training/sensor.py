"""What a camera adds of its own: a lens out of focus and the grain of its sensor."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from kdlnet.types import ImageSize

_GRAIN = 1024  # side of the field of noise
_REACH = 2.5  # standard deviations that a blur looks to each side


def blurred(images: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Images (B, C, H, W) blurred by a Gaussian of ``sigma`` (B,) pixels, at most ``largest``.

    A sigma of 0 leaves an image as it is.
    """
    rows = sigma.nonzero()[:, 0]
    if not len(rows):
        return images
    reach = ceil(_REACH * largest)
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernels = torch.exp(-((steps / sigma[rows, None]) ** 2) / 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).to(images)
    some = images[rows.to(images.device)]
    channels = some.shape[1]
    kernels = kernels.repeat_interleave(channels, dim=0)[:, None, None]
    flat = some.reshape(1, -1, *some.shape[2:])
    for kernel, pad in ((kernels, (reach, reach, 0, 0)), (kernels.mT, (0, 0, reach, reach))):
        padded = functional.pad(flat, pad, mode="replicate")
        flat = functional.conv2d(padded, kernel, groups=flat.shape[1])
    return images.index_copy(0, rows.to(images.device), flat.view_as(some))


def grainy(images: Tensor, sigma: Tensor, places: Tensor, seed: int) -> Tensor:
    """Images (B, C, H, W) with Gaussian noise of standard deviation ``sigma`` (B,) added.

    It is cut from one field per ``seed`` at ``places`` (B, 2), y and x in [0, 1). Each channel has
    its own. A sigma of 0 leaves an image as it is.
    """
    rows = sigma.nonzero()[:, 0].tolist()
    if not rows:
        return images
    channels, height, width = images.shape[1:]
    field = _field(seed, channels, (height, width), torch.device(images.device))
    corners = (places * _GRAIN).long()
    images = images.clone()
    for row in rows:
        y, x = corners[row].tolist()
        images[row] += sigma[row].item() * field[:, y : y + height, x : x + width]
    return images


@lru_cache(maxsize=2)
def _field(seed: int, channels: int, size: ImageSize, device: torch.device) -> Tensor:
    """Standard normal numbers (channels, side + H, side + W) that repeat after each side."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(channels, _GRAIN, _GRAIN, generator=generator)
    down, across = (torch.arange(_GRAIN + length) % _GRAIN for length in size)
    return field[:, down][:, :, across].to(device)
