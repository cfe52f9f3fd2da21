"""Optimizer groups and schedules. Every schedule is a pure function of progress in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import nn


def make_optimizer(
    model: nn.Module, name: str, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW. Only kernels decay, not biases, norms or gains."""
    kernels = [p for p in model.parameters() if p.ndim == 4]
    others = [p for p in model.parameters() if p.ndim != 4]
    groups = [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=True)


def learning_rate(progress: float, peak: float, final: float, warmup: float) -> float:
    """Linear from 0 to ``peak`` over the share ``warmup``, then a cosine to ``final`` x peak."""
    if progress < warmup:
        return peak * progress / warmup
    along = (progress - warmup) / max(1 - warmup, 1e-9)
    return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(along, 1.0))))
