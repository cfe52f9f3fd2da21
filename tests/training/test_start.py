"""Where a training without weights of its own begins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdlnet.config import TrainConfig, build_config
from kdlnet.errors import ConfigError, DataError, WeightsError
from kdlnet.events import Message
from kdlnet.inference import transfer
from kdlnet.inference.released import find_start
from kdlnet.inference.weights import Weights, load_weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.training.parts import RunParts, prepare_run
from kdlnet.types import Preprocess

from ..support.squares import make_dataset
from ..support.weights_file import NAMES, SIZE, make_weights

KEY = "backbone.stages.1.0.dense"


@pytest.fixture(autouse=True)
def _the_released_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "find_start", find_start)


def begun(config: TrainConfig, **model: object) -> tuple[torch.Tensor, float | None, list[str]]:
    """A kernel of the model that a run begins with, its rate, and what was said."""
    run, lines = prepared(config, **model)
    return run.detector.state_dict()[KEY], run.config.optim.lr, lines


def prepared(
    config: TrainConfig, init: Path | None = None, **model: object
) -> tuple[RunParts, list[str]]:
    """A run with other settings of the model, and what was said."""
    values = config.to_dict()
    values["model"] |= model
    lines: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Message):
            lines.append(event.text)

    return prepare_run(build_config(values), None, init, listen), lines


@pytest.mark.parametrize("channels", [1, 3])
def test_a_training_begins_at_the_released_start(config: TrainConfig, channels: int) -> None:
    kernel, rate, lines = begun(config, channels=channels)
    released = find_start("lightnet-n", "summed")
    assert released is not None
    start = load_weights(released, start=True).detector.state_dict()[KEY]
    assert torch.equal(kernel, start.float())
    assert rate == config.optim.base_lr()  # the rate of a third is for trained weights
    (told,) = [line for line in lines if "started from" in line]
    assert "lightnet-n-start.safetensors" in told
    assert "--init none" in told


def test_a_set_without_boxes_starts_from_nothing(config: TrainConfig, tmp_path: Path) -> None:
    config = config.changed(data={"name": str(make_dataset(tmp_path / "good", 1))})
    lines: list[object] = []
    with pytest.raises(DataError, match="no box to learn from"):
        prepare_run(config, None, None, lines.append)
    assert not [line for line in lines if isinstance(line, Message)]


def test_none_is_from_scratch(config: TrainConfig) -> None:
    kernel, rate, lines = begun(config, start="none")
    fresh = build_model("lightnet-n", ModelArguments(2, 3), seed=config.seed).state_dict()[KEY]
    assert torch.equal(kernel, fresh)
    assert rate == config.optim.base_lr()
    assert not [line for line in lines if "started from" in line]


@pytest.mark.parametrize("other", [{"block": "repvgg"}, {"name": "lightnet-n-p2"}])
def test_what_has_no_start_begins_from_scratch(config: TrainConfig, other: dict[str, str]) -> None:
    entry = {"name": "lightnet-n", "block": "summed"} | other
    assert find_start(entry["name"], entry["block"]) is None
    (told,) = [line for line in prepared(config, **entry)[1] if "start" in line]
    assert told.startswith(
        f"no start comes with kdlnet for {entry['name']} with blocks {entry['block']}: from scratch"
    )
    assert not [line for line in prepared(config, **entry, start="none")[1] if "start" in line]


def test_weights_of_ones_own_come_first(config: TrainConfig, tmp_path: Path) -> None:
    released = find_start("lightnet-n", "summed")
    assert released is not None
    own = tmp_path / "own.safetensors"
    own.write_bytes(released.read_bytes())
    lines: list[object] = []
    prepare_run(config, None, own, lines.append)
    said = [event.text for event in lines if isinstance(event, Message)]
    assert any(own.name in line for line in said)


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_of_a_smaller_model_grow(
    config: TrainConfig, tmp_path: Path, channels: int
) -> None:
    small = load_weights(make_weights(tmp_path / "small.pt", channels))
    run, lines = prepared(config, init=small.path, name="lightnet", channels=channels)
    assert run.config.model.name == "lightnet" and run.config.optim.lr == pytest.approx(0.002)
    at = next(i for i, line in enumerate(lines) if "started from" in line)
    assert "small.pt': 2 of 2 classes taken over" in lines[at]
    assert lines[at + 1] == (
        "lightnet-n has grown into lightnet: what was taken over is as it was, the rest begins at "
        "lightnet-start.safetensors"
    )
    images = torch.rand(1, channels, 64, 96)
    with torch.no_grad():
        mine, theirs = run.detector.eval()(images).logits, small.detector(images).logits
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    released = find_start("lightnet", "summed")
    assert released is not None
    start = load_weights(released, start=True).detector.state_dict()["backbone.stem.dense"].float()
    stem = run.detector.state_dict()["backbone.stem.dense"]
    assert torch.equal(stem[16:], start[16:] if channels == 3 else start[16:].sum(1, keepdim=True))


def test_what_grows_without_the_start_begins_at_the_seed(
    config: TrainConfig, tmp_path: Path
) -> None:
    small = make_weights(tmp_path / "small.pt")
    stems = []
    for seed in (1, 2):
        changed = config.changed(seed=seed)
        run, lines = prepared(changed, init=small, name="lightnet", start="none")
        assert any(line.endswith("the rest begins at random") for line in lines)
        stems.append(run.detector.state_dict()["backbone.stem.dense"])
    assert torch.equal(stems[0][:16], stems[1][:16])
    assert not torch.equal(stems[0][16:], stems[1][16:])


def test_weights_of_the_same_model_do_not_grow(config: TrainConfig, tmp_path: Path) -> None:
    lines = prepared(config, init=make_weights(tmp_path / "same.pt"))[1]
    assert not any("grown" in line for line in lines)


def test_a_start_of_ones_own_grows(config: TrainConfig) -> None:
    lines = prepared(config, init=find_start("lightnet-n", "summed"), name="lightnet")[1]
    assert any("lightnet-n has grown into lightnet" in line for line in lines)


def test_weights_that_know_good_parts_grow_without(config: TrainConfig, tmp_path: Path) -> None:
    arguments = ModelArguments(2, normality=True)
    own = Weights(
        build_model("lightnet-n", arguments), "lightnet-n", arguments, NAMES, Preprocess(SIZE)
    )
    save_weights(tmp_path / "own.pt", own)
    lines = prepared(config, init=tmp_path / "own.pt", name="lightnet")[1]
    assert any("has grown into lightnet" in line for line in lines)
    assert any("kdlnet anomaly learns it anew" in line for line in lines)


@pytest.mark.parametrize(
    ("channels", "model"),
    [
        (3, {"name": "lightnet-l"}),
        (3, {"name": "lightnet-n-p2"}),
        (3, {"name": "lightnet", "block": "repvgg"}),
        (1, {"name": "lightnet", "channels": 3}),
    ],
)
def test_weights_do_not_grow_into_any_model(
    config: TrainConfig, tmp_path: Path, channels: int, model: dict[str, object]
) -> None:
    small = make_weights(tmp_path / "small.pt", channels)
    with pytest.raises(WeightsError, match=r"is a 'lightnet-n'.*does not fit the model to train"):
        prepared(config, init=small, **model)


def test_a_window_beyond_the_bits_of_the_images_is_refused(config: TrainConfig) -> None:
    config = config.changed(data={"window": (0.0, 4095.0)})
    with pytest.raises(ConfigError, match=r"data\.window 0-4095 for 8-bit images: allowed is 0 to"):
        prepare_run(config, None, None, lambda event: None)
