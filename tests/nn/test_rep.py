"""Every re-parameterizable block folds into one convolution that answers the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdlnet.nn.blocks import PyramidPool, RepStage
from kdlnet.nn.conv import ConvAct, ConvNormAct
from kdlnet.nn.rep import BLOCKS


def randomize_norms(model: nn.Module, seed: int = 0) -> None:
    """Gives every BatchNorm statistics of its own: with the default ones a fold proves nothing."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.weight.shape
            assert module.running_mean is not None and module.running_var is not None
            with torch.no_grad():
                module.weight.copy_(torch.rand(shape, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(shape, generator=generator) * 0.3)
                module.running_mean.copy_(torch.randn(shape, generator=generator) * 0.3)
                module.running_var.copy_(torch.rand(shape, generator=generator) + 0.3)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("channels_in", "stride"), [(6, 1), (6, 2), (4, 1), (4, 2)])
def test_a_folded_block_answers_the_same(block: str, channels_in: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = BLOCKS[block](channels_in, 6, stride).double().eval()
    randomize_norms(layer)
    for parameter in layer.parameters():  # gains too must differ from one another
        parameter.data += 0.1 * torch.rand_like(parameter)
    x = torch.randn(2, channels_in, 9, 7, dtype=torch.float64)
    fused = layer.fuse()
    assert isinstance(fused, ConvAct)
    assert [name for name, _ in fused.named_parameters()] == ["conv.weight", "conv.bias"]
    with torch.no_grad():
        torch.testing.assert_close(fused(x), layer(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_comparison_sees_a_wrong_fold(block: str) -> None:
    torch.manual_seed(0)
    layer = BLOCKS[block](6, 6, 1).eval()
    randomize_norms(layer)
    fused = layer.fuse()
    assert fused.conv.bias is not None
    fused.conv.bias.data += 1e-2
    x = torch.randn(2, 6, 9, 7)
    with torch.no_grad():
        assert (fused(x) - layer(x)).abs().max() > 5e-3


@pytest.mark.parametrize("block", BLOCKS)
def test_identity_only_where_shapes_agree(block: str) -> None:
    assert BLOCKS[block](4, 4, 1).has_identity
    assert not BLOCKS[block](4, 4, 2).has_identity
    assert not BLOCKS[block](4, 6, 1).has_identity


@pytest.mark.parametrize("block", BLOCKS)
def test_every_parameter_of_a_block_is_trained(block: str) -> None:
    torch.manual_seed(0)
    layer = BLOCKS[block](4, 4, 1)
    layer(torch.randn(2, 4, 6, 6)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_conv_norm_act_folds() -> None:
    torch.manual_seed(0)
    layer = ConvNormAct(5, 7, 3, 2).double().eval()
    randomize_norms(layer)
    x = torch.randn(2, 5, 8, 11, dtype=torch.float64)
    torch.testing.assert_close(layer.fuse()(x), layer(x), rtol=1e-10, atol=1e-10)


def test_strided_backward_with_three_channels_in_channels_last() -> None:
    # A strided 1x1 convolution crashed the process here (torch 2.15 on AVX-512).
    for block in BLOCKS.values():
        layer = block(3, 16, 2).to(memory_format=torch.channels_last)
        x = torch.rand(16, 3, 224, 224).to(memory_format=torch.channels_last)
        layer(x).sum().backward()


def test_shapes_of_stage_and_pool() -> None:
    x = torch.randn(1, 12, 5, 9)
    assert RepStage(BLOCKS["summed"], 12, 10, 4, 2)(x).shape == (1, 10, 5, 9)
    assert PyramidPool(12, 4)(x).shape == (1, 12, 5, 9)


def test_pool_sees_thirteen_pixels() -> None:
    pool = PyramidPool(1, 1).eval()
    for layer in (pool.reduce, pool.expand):
        layer.conv.weight.data.fill_(1.0)
    x = torch.zeros(1, 1, 31, 31)
    x[0, 0, 15, 15] = 1.0
    reached = pool(x)[0, 0, 15].nonzero().flatten()
    assert (reached.min().item(), reached.max().item()) == (15 - 6, 15 + 6)
