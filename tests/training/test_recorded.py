"""Training steps whose kernels are recorded. Most of it only a GPU can show."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdlnet.config import TrainConfig, build_config
from kdlnet.models.network import Network
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training import recorded as module
from kdlnet.training import run
from kdlnet.training.recorded import Recorded, is_recordable, recorded_detector
from kdlnet.types import RawPredictions
from kdlnet.utils.device import prepare
from kdlnet.verbs.distill import distill
from kdlnet.verbs.train import train


def test_what_is_recorded_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_recordable(torch.device("cuda"), 1)
    assert not is_recordable(torch.device("cuda"), 2)
    assert not is_recordable(torch.device("cpu"), 1)
    monkeypatch.setattr(module, "ranks", lambda: 2)
    assert not is_recordable(torch.device("cuda"), 1)


class _Named(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"twice": 2 * images}


def test_another_shape_and_what_cannot_be_recorded_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Size] = []

    def record(network: nn.Module, images: Tensor) -> module.Callable[[Tensor], module.Answer]:
        asked.append(images.shape)
        return lambda images: {"replayed": images}

    monkeypatch.setattr(module, "_recorded", record)
    recorded = Recorded(_Named())
    found = [list(recorded(torch.ones(n, 1, 2, 2))) for n in (2, 2, 1, 2)]
    assert found == [["replayed"], ["replayed"], ["twice"], ["replayed"]]
    with torch.autocast("cpu", torch.bfloat16):
        assert list(recorded(torch.ones(2, 1, 2, 2))) == ["twice"]
    assert len(asked) == 1

    def refuse(network: nn.Module, images: Tensor) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "_recorded", refuse)
    assert list(Recorded(_Named())(torch.ones(2, 1, 2, 2))) == ["twice"]


def test_a_recorded_detector_answers_as_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_recorded", lambda network, images: network)
    detector = build_model("lightnet-n", ModelArguments(3), seed=0)
    images = torch.rand(2, 3, 64, 64)
    raw = detector(images)
    _same(recorded_detector(detector, features=True)(images), raw)
    assert not recorded_detector(detector, features=False)(images).features


def _same(found: RawPredictions, wanted: RawPredictions) -> None:
    for name in ("logits", "bins", "points", "strides", "features"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name))


@pytest.fixture
def detector() -> Network:
    device = torch.device("cuda")
    prepare(device)
    return build_model("lightnet-n", ModelArguments(3), seed=0).to(device)


@pytest.mark.gpu
def test_recorded_gradients_are_those_of_the_network(detector: Network) -> None:
    shown = torch.rand(2, 3, 64, 96, device="cuda")
    module._recorded(module._Tensors(detector, True), shown)  # raises where nothing is recorded
    forward = recorded_detector(detector, features=True)
    before = {name: value.clone() for name, value in detector.named_buffers()}
    for seed in range(3):
        torch.manual_seed(seed)
        images = torch.rand(2, 3, 64, 96, device="cuda")
        for name, value in detector.named_buffers():  # each look changes them: begin alike
            value.copy_(before[name])
        found, statistics, gradients = _looked(detector, forward(images))
        for name, value in detector.named_buffers():
            value.copy_(before[name])
        wanted, expected, true_gradients = _looked(detector, detector(images))
        _same(found, wanted)
        torch.testing.assert_close(statistics, expected)
        for value, truth in zip(gradients, true_gradients, strict=True):
            torch.testing.assert_close(
                value, truth, rtol=0.02, atol=1e-3 * float(truth.abs().max())
            )


def _looked(
    detector: Network, raw: RawPredictions
) -> tuple[RawPredictions, dict[str, Tensor], list[Tensor]]:
    """An answer, the buffers after it, and the gradients of some loss of all its parts."""
    raw = RawPredictions(
        raw.logits, raw.bins, raw.points, raw.strides, tuple(x.clone() for x in raw.features)
    )
    loss = raw.logits.square().mean() + raw.bins.square().mean()
    loss = loss + torch.stack([x.square().mean() for x in raw.features]).sum()
    loss.backward()
    gradients = [value.grad.clone() for value in detector.parameters() if value.grad is not None]
    detector.zero_grad(set_to_none=True)
    buffers = {name: value.clone() for name, value in detector.named_buffers()}
    kept = RawPredictions(
        raw.logits.detach().clone(),
        raw.bins.detach().clone(),
        raw.points,
        raw.strides,
        tuple(x.detach() for x in raw.features),
    )
    return kept, buffers, gradients


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_a_recorded_training_learns_what_a_plain_one_does(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amp: str
) -> None:
    config = build_config({**config.to_dict(), "device": "cuda", "amp": amp, "epochs": 1})
    recorded = train(config, out=tmp_path / "recorded")
    monkeypatch.setattr(run, "is_recordable", lambda device, accumulate: False)
    plain = train(config, out=tmp_path / "plain")
    assert recorded.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=0.02)


@pytest.mark.gpu
def test_terms_on_features_reach_through_a_recording(config: TrainConfig, tmp_path: Path) -> None:
    config = build_config({**config.to_dict(), "device": "cuda"})
    teacher = train(config, out=tmp_path / "teacher").best
    config = config.changed(distill={"pkd_weight": 1.0})
    rows = distill(config, teachers=[teacher], out=tmp_path / "student")
    assert rows.reason == "epochs"
