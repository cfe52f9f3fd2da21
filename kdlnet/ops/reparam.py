"""Algebra of re-parameterization: linear branches on one input are one convolution.

Kernels are (out, in / groups, k, k), biases (out,). Sources: RepVGG, arXiv 2101.03697,
section 3.3; diverse branch block, arXiv 2103.13425, transforms I, II and VI.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fold_batch_norm(
    kernel: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Kernel and bias of one convolution equal to ``norm(conv(x))`` in eval mode.

    Computed in the dtype of ``kernel``: give float64 for an exact fold.
    """
    mean, var = _buffer(norm.running_mean, kernel), _buffer(norm.running_var, kernel)
    gain = norm.weight.to(kernel) / (var + norm.eps).sqrt()
    shift = -mean if bias is None else bias - mean
    return kernel * gain[:, None, None, None], norm.bias.to(kernel) + shift * gain


def pad_kernel(kernel: Tensor, size: int) -> Tensor:
    """A kernel (O, I, k, k) of odd side k <= size with zeros around it: (O, I, size, size)."""
    margin = (size - kernel.shape[-1]) // 2
    return F.pad(kernel, [margin] * 4) if margin else kernel


def identity_kernel(channels: int, size: int, like: Tensor) -> Tensor:
    """Kernel (channels, channels, size, size) that returns its input."""
    kernel = torch.zeros(channels, channels, size, size, dtype=like.dtype, device=like.device)
    index = torch.arange(channels)
    kernel[index, index, size // 2, size // 2] = 1
    return kernel


def _buffer(value: Tensor | None, like: Tensor) -> Tensor:
    if value is None:
        raise ValueError("a BatchNorm without running statistics cannot be folded")
    return value.to(like)
