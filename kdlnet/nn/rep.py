"""Three re-parameterizable 3x3 blocks behind one interface.

Each is built as ``Block(channels_in, channels_out, stride)``, maps (B, in, H, W) to
(B, out, ceil(H / stride), ceil(W / stride)), ends in ReLU, and ``fuse()`` returns one
:class:`~kdlnet.nn.conv.ConvAct` that gives the same output in eval mode. An identity branch
exists where input and output have the same shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlnet.nn.conv import ConvAct
from kdlnet.ops.reparam import fold_batch_norm, identity_kernel, pad_kernel


class RepBlock(nn.Module):
    """Interface of the blocks: a 3x3 kernel, its stride, and what it folds into."""

    stride: int

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.has_identity = channels_in == channels_out and stride == 1
        self.act = nn.ReLU(inplace=True)

    def sampled(self, x: Tensor) -> Tensor:
        """What a strided 1x1 sees of ``x``: every stride-th pixel.

        Sampling first is equal to a strided 1x1 convolution, whose backward pass crashes on
        three channels in channels_last in the CPU library of torch 2.15 (AVX-512).
        """
        return x if self.stride == 1 else x[..., :: self.stride, :: self.stride]

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel (out, in, 3, 3) and bias (out,) in float64 of the equal single convolution."""
        raise NotImplementedError

    def fuse(self) -> ConvAct:
        """The equal layer with one convolution, in the dtype and device of this one."""
        kernel, bias = self.folded()
        return ConvAct.from_kernel(kernel, bias, self.stride, next(self.parameters()).detach())


class SummedBlock(RepBlock):
    """Branch kernels are added first: one convolution and one BatchNorm also while training.

    The kernel is ``dense + gain1 * pointwise + gain0 * identity`` with a trained gain per output
    channel, so the branches shape the optimization, not the arithmetic of a step. Close to OREPA,
    arXiv 2204.00826, which also drops the branch BatchNorms; without its frequency and
    depthwise-separable branches.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, stride)
        self.dense = nn.Parameter(torch.empty(channels_out, channels_in, 3, 3))
        self.pointwise = nn.Parameter(torch.empty(channels_out, channels_in, 1, 1))
        self.gain = nn.Parameter(torch.ones(2 if self.has_identity else 1, channels_out))
        self.norm = nn.BatchNorm2d(channels_out)
        nn.init.kaiming_normal_(self.dense, nonlinearity="relu")
        nn.init.kaiming_normal_(self.pointwise, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        kernel = self._kernel(self.dense, self.pointwise, self.gain)
        result: Tensor = self.act(self.norm(F.conv2d(x, kernel, stride=self.stride, padding=1)))
        return result

    def folded(self) -> tuple[Tensor, Tensor]:
        parts = (part.detach().double() for part in (self.dense, self.pointwise, self.gain))
        return fold_batch_norm(self._kernel(*parts), None, self.norm)

    def _kernel(self, dense: Tensor, pointwise: Tensor, gain: Tensor) -> Tensor:
        centre = pointwise[:, :, 0, 0] * gain[0, :, None]
        if self.has_identity:
            centre = centre + torch.diag(gain[1])
        return dense + pad_kernel(centre[:, :, None, None], 3)


class RepVGGBlock(RepBlock):
    """Parallel 3x3, 1x1 and identity, each with its own BatchNorm. Source: arXiv 2101.03697."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, stride)
        self.dense = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.dense_norm = nn.BatchNorm2d(channels_out)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(channels_out)
        self.identity_norm = nn.BatchNorm2d(channels_out) if self.has_identity else None

    def forward(self, x: Tensor) -> Tensor:
        total = self.dense_norm(self.dense(x)) + self.pointwise_norm(
            self.pointwise(self.sampled(x))
        )
        if self.identity_norm is not None:
            total = total + self.identity_norm(x)
        result: Tensor = self.act(total)
        return result

    def folded(self) -> tuple[Tensor, Tensor]:
        weight = self.dense.weight.detach().double()
        kernel, bias = fold_batch_norm(weight, None, self.dense_norm)
        point = pad_kernel(self.pointwise.weight.detach().double(), 3)
        branches = [fold_batch_norm(point, None, self.pointwise_norm)]
        if self.identity_norm is not None:
            eye = identity_kernel(len(weight), 3, weight)
            branches.append(fold_batch_norm(eye, None, self.identity_norm))
        for branch_kernel, branch_bias in branches:
            kernel, bias = kernel + branch_kernel, bias + branch_bias
        return kernel, bias


class QARepVGGBlock(RepBlock):
    """BatchNorm on the 3x3 branch, none on 1x1 and identity, one after the sum.

    Keeps the folded weights easy to quantize. Source: QARepVGG, arXiv 2212.01593, variant S4.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, stride)
        self.dense = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.dense_norm = nn.BatchNorm2d(channels_out)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        total = self.dense_norm(self.dense(x)) + self.pointwise(self.sampled(x))
        if self.has_identity:
            total = total + x
        result: Tensor = self.act(self.norm(total))
        return result

    def folded(self) -> tuple[Tensor, Tensor]:
        kernel, bias = fold_batch_norm(self.dense.weight.detach().double(), None, self.dense_norm)
        kernel = kernel + pad_kernel(self.pointwise.weight.detach().double(), 3)
        if self.has_identity:
            kernel = kernel + identity_kernel(len(kernel), 3, kernel)
        return fold_batch_norm(kernel, bias, self.norm)


BLOCKS: dict[str, type[RepBlock]] = {
    "summed": SummedBlock,
    "repvgg": RepVGGBlock,
    "qarepvgg": QARepVGGBlock,
}
