"""Recorded networks. Most of it only a GPU can show."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kdlnet.inference import replayed as module
from kdlnet.inference.replayed import Network, Replayed, replayed_on
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.types import RawPredictions
from kdlnet.utils.device import exact_float32, prepare

from ..support.blob_network import blob


@pytest.fixture
def network() -> torch.nn.Module:
    device = torch.device("cuda")
    prepare(device)
    return build_model("lightnet-n", ModelArguments(3), seed=0).eval().to(device)


@pytest.mark.gpu
@torch.inference_mode()
def test_replayed_answers_are_those_of_the_network(network: torch.nn.Module) -> None:
    replayed = Replayed(network)
    batches = [torch.rand(count, 3, 64, 96, device="cuda") for count in (2, 2, 2, 1, 2, 2, 1, 1)]
    answers = [replayed(images) for images in batches]
    assert len(replayed._recordings) == 2
    assert replayed._eager not in replayed._recordings.values()
    for images, answer in zip(batches, answers, strict=True):  # none was overwritten by a later one
        wanted = network(images)
        torch.testing.assert_close(answer.logits, wanted.logits, rtol=0, atol=0)
        torch.testing.assert_close(answer.bins, wanted.bins, rtol=0, atol=0)
        assert torch.equal(answer.points, wanted.points)


@pytest.mark.gpu
@torch.inference_mode()
def test_weights_that_change_and_exact_arithmetic_are_seen(network: torch.nn.Module) -> None:
    replayed, images = Replayed(network), torch.rand(1, 3, 64, 64, device="cuda")
    before = [replayed(images).logits for _ in range(4)][-1]
    for value in network.parameters():
        value.mul_(1.1)
    assert not torch.equal(replayed(images).logits, before)
    assert torch.equal(replayed(images).logits, network(images).logits)
    with exact_float32():
        exact = [replayed(images).logits for _ in range(4)][-1]
        assert torch.equal(exact, network(images).logits)
    assert len(replayed._recordings) == 2


@pytest.mark.gpu
def test_one_network_in_every_mode_it_is_asked_in(network: torch.nn.Module) -> None:
    replayed, images = Replayed(network, features=True), torch.rand(2, 3, 64, 64, device="cuda")
    modes = [torch.inference_mode(), torch.no_grad(), torch.autocast("cuda", torch.bfloat16)]
    for mode in modes:
        with mode, torch.no_grad():
            answers = [replayed(images) for _ in range(4)]
            wanted = network(images)
        assert torch.equal(answers[-1].logits, wanted.logits)
        assert all(map(torch.equal, answers[-1].features, wanted.features))
    assert len(replayed._recordings) == 3
    assert replayed._eager not in replayed._recordings.values()  # each was recorded


def test_networks_are_replayed_on_cuda_alone() -> None:
    network = build_model("lightnet-n", ModelArguments(3), seed=0)
    assert replayed_on(torch.device("cpu"), network) is network
    replayed = replayed_on(torch.device("cuda"), network, features=True)
    assert isinstance(replayed, Replayed) and replayed.features


@torch.inference_mode()
def test_what_cannot_be_recorded_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(network: object, images: torch.Tensor) -> object:
        asked.append(images.shape)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "_recorded", refuse)
    network = build_model("lightnet-n", ModelArguments(3), seed=0).eval()
    replayed, images = Replayed(network), torch.rand(1, 3, 64, 64)
    answers = [replayed(images) for _ in range(5)]
    assert asked == [images.shape]
    assert all(torch.equal(answer.logits, network(images).logits) for answer in answers)


@torch.inference_mode()
def test_threads_that_share_a_network_get_their_own_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recording has one input and one output, whoever calls."""

    def recorded(network: Network, images: torch.Tensor) -> Network:
        shown = images.clone()

        def replay(images: torch.Tensor) -> RawPredictions:
            shown.copy_(images)
            time.sleep(0.01)
            return network(shown)

        return replay

    monkeypatch.setattr(module, "_recorded", recorded)
    replayed = Replayed(blob)
    images = [torch.full((1, 1, 64, 64), level / 10) for level in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(torch.inference_mode()(replayed), images))
    for own, answer in zip(images, answers, strict=True):
        assert torch.equal(answer.logits, blob(own).logits)
