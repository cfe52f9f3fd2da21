"""Convolution layers before and after fusing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdlnet.ops.reparam import fold_batch_norm


class ConvAct(nn.Module):
    """Convolution with bias and ReLU: what every layer of a fused model is.

    Maps (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride)). ``act`` False leaves the
    ReLU out.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    @classmethod
    def from_kernel(cls, kernel: Tensor, bias: Tensor, stride: int, like: Tensor) -> ConvAct:
        """A ConvAct with these weights in the dtype, device and memory format of ``like``."""
        out, into, size, _ = kernel.shape
        with torch.device("meta"):  # nothing is drawn that is thrown away
            layer = cls(into, out, size, stride)
        layer.conv.weight = nn.Parameter(kernel.to(like.dtype))
        layer.conv.bias = nn.Parameter(bias.to(like.dtype))
        return layer.eval()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.conv(x))
        return result


class ConvNormAct(nn.Module):
    """Convolution, BatchNorm, ReLU. Shapes as :class:`ConvAct`."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.act = nn.ReLU(inplace=True)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.norm(self.conv(x)))
        return result

    def fuse(self) -> ConvAct:
        """The equal layer without BatchNorm, folded in float64."""
        weight = self.conv.weight.detach()
        kernel, bias = fold_batch_norm(weight.double(), None, self.norm)
        return ConvAct.from_kernel(kernel, bias, self.stride, weight)
