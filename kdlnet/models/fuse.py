"""The walk of fusing: copy a model, replace every layer that knows its fused form."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import nn

Model = TypeVar("Model", bound=nn.Module)


@runtime_checkable
class Fusible(Protocol):
    """A layer that knows its replacement for inference."""

    def fuse(self) -> nn.Module: ...


def fuse_model(model: Model) -> Model:
    """A copy in eval mode where every layer with ``fuse()`` is replaced by what it returns.

    The distance bins stay: a fused model can still be a teacher. Fusing twice changes nothing.
    The original is left as it is.
    """
    fused = copy.deepcopy(model).eval()
    device = next(fused.parameters()).device
    if device.type != "meta":
        fused.to("cpu")  # not every accelerator has float64
    replace_layers(fused, Fusible, lambda layer: layer.fuse())
    return fused.to(device)


def is_fused(model: nn.Module) -> bool:
    """True when no layer is left that could be fused."""
    return not any(isinstance(module, Fusible) for module in model.modules())


def replace_layers(module: nn.Module, kind: type, replacement: Callable[[Any], nn.Module]) -> None:
    """Puts its ``replacement`` in the place of every ``kind`` of layer below ``module``."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, replacement(child))
        else:
            replace_layers(child, kind, replacement)
