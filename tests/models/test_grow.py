"""A larger network takes over all answers of a smaller one and can learn more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kdlnet.errors import ConfigError
from kdlnet.models.fuse import fuse_model
from kdlnet.models.grow import grow
from kdlnet.models.network import Network
from kdlnet.models.zoo import MODELS, ModelArguments, _assemble, build_model

GROWING = [("lightnet-n", "lightnet"), ("lightnet-n-p2", "lightnet-p2")]


def _trained(name: str, seed: int, channels: int = 3, classes: int = 2) -> Network:
    """In float64; no two weights of its norms, gains and biases are alike."""
    detector = build_model(name, ModelArguments(classes, channels), seed).double()
    random = torch.Generator().manual_seed(seed)
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                assert values is not None
                values.data.uniform_(0.5, 1.5, generator=random)
    for value in detector.parameters():
        if value.ndim != 4:
            value.data.uniform_(0.5, 1.5, generator=random)
    return detector


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("small", "large"), GROWING)
def test_it_answers_as_the_small_one(small: str, large: str, training: bool) -> None:
    before, after = _trained(small, 1).train(training), _trained(large, 2).train(training)
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(after(images).logits, before(images).logits)
        grow(before, after)
        first, second = before(images), after(images)
    torch.testing.assert_close(second.logits, first.logits)
    torch.testing.assert_close(second.bins, first.bins)


def test_one_class_of_grey_images() -> None:
    before = _trained("lightnet-n", 1, channels=1, classes=1).eval()
    after = _trained("lightnet", 2, channels=1, classes=1).eval()
    grow(before, after)
    images = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(after(images).logits, before(images).logits)


def test_a_model_of_the_same_size_is_copied() -> None:
    before, after = _trained("lightnet", 1), _trained("lightnet", 2)
    grow(before, after)
    torch.testing.assert_close(dict(after.state_dict()), dict(before.state_dict()))


def test_what_nobody_read_is_read_after_a_step() -> None:
    detector = build_model("lightnet", ModelArguments(2), seed=0)
    grow(build_model("lightnet-n", ModelArguments(2), seed=1), detector)
    kernels = [value for value in detector.parameters() if value.ndim == 4]
    unread = [value == 0 for value in kernels]
    assert sum(map(torch.sum, unread)) > 100_000
    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    raw = detector.train()(images)
    (raw.logits.square().mean() + raw.bins.square().mean()).backward()
    for kernel, places in zip(kernels, unread, strict=True):
        assert kernel.grad is not None
        learns = (kernel.grad[places] != 0).float()  # but for dead units, which any network has
        assert not len(learns) or learns.mean() > 0.9


@pytest.mark.parametrize("small", MODELS)
@pytest.mark.parametrize("large", MODELS)
def test_any_other_pair_is_refused(small: str, large: str) -> None:
    if small == large or (small, large) in GROWING:
        return
    with torch.device("meta"):
        pair = [build_model(name, ModelArguments(2)) for name in (small, large)]
    with pytest.raises(ConfigError):
        grow(*pair)


PLAN: dict[str, Any] = {
    "stem": 16,
    "widths": (16, 32, 32, 32),
    "depths": (0, 1, 1, 1),
    "neck": (16, 16, 16),
    "neck_depth": 1,
    "head": (32, 32),
}


def test_a_block_that_reads_itself_only_in_the_large_one() -> None:
    """Heads of 32 channels on 16 of the neck have no identity, those on 32 have one."""
    plans = PLAN, PLAN | {"neck": (32, 32, 32)}
    before, after = (_assemble(ModelArguments(2), **plan).double().eval() for plan in plans)
    after.head.class_blocks[0].gain.data[1] = 5.0
    grow(before, after)
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(after(images).logits, before(images).logits)


@pytest.mark.parametrize(
    ("less", "why"),
    [
        ({"neck": (16, 8, 16)}, "16 channels do not fit into 8"),
        ({"head": (32, 16)}, "32 channels do not fit into 16"),
        ({"neck_depth": 0}, "1 blocks in a row do not fit into 0"),
        ({"depths": (1, 1, 1, 1)}, "one has a stage in its backbone that the other lacks"),
    ],
)
def test_what_has_less_somewhere_is_refused(less: dict[str, Any], why: str) -> None:
    small, large = (_assemble(ModelArguments(2), **plan) for plan in (PLAN, PLAN | less))
    with pytest.raises(ConfigError, match=why):
        grow(small, large)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (ModelArguments(3), "classes 2 do not grow into 3"),
        (ModelArguments(2, channels=1), "images of 3 channels, not of 1"),
    ],
)
def test_other_classes_and_channels_are_refused(other: ModelArguments, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        grow(build_model("lightnet-n", ModelArguments(2)), build_model("lightnet", other))


@pytest.mark.parametrize("block", ["repvgg", "qarepvgg"])
def test_other_blocks_are_refused(block: str) -> None:
    small = build_model("lightnet-n", ModelArguments(1, block=block))
    with pytest.raises(ConfigError, match="only unfused blocks of the kind 'summed' grow"):
        grow(small, build_model("lightnet", ModelArguments(1, block=block)))


def test_fused_ones_are_refused() -> None:
    small = fuse_model(build_model("lightnet-n", ModelArguments(1)))
    with pytest.raises(ConfigError, match="unfused"):
        grow(small, build_model("lightnet", ModelArguments(1)))
