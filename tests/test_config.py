"""Settings changed: checked as when they were read, and otherwise the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdlnet.config import TrainConfig, build_config, load_config
from kdlnet.errors import ConfigError
from kdlnet.utils.files import write_yaml


def test_a_changed_section_keeps_its_other_values() -> None:
    config = build_config({"seed": 3, "optim": {"lr": 0.5}, "data": {"window": "0-4095"}})
    other = config.changed(epochs=7, optim={"momentum": 0.5}, distill={"teachers": ("a", "b")})
    assert (other.epochs, other.seed) == (7, 3)
    assert (other.optim.lr, other.optim.momentum) == (0.5, 0.5)
    assert other.data.window == (0, 4095) and other.distill.teachers == ("a", "b")
    assert config.optim.momentum == 0.9 and config.changed() == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs = 0"),
        ({"optim": {"lr": -1}}, r"optim.lr = -1"),
        ({"optim": {"lrr": 1}}, "did you mean 'optim.lr'"),
        ({"image_size": 100}, "multiple of 32"),
    ],
)
def test_a_change_is_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig().changed(**values)


def test_a_section_without_a_line_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data:\n  # name: parts\noptim:\n")
    assert load_config(tmp_path / "config.yaml", {"data.name": "mine"}).data.name == "mine"


def test_a_value_that_may_be_of_two_kinds_is_told_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"setting data\.name = "):
        build_config({"data": {"name": 7}})


@pytest.mark.parametrize("value", ["parts", None])
def test_a_value_in_the_place_of_a_section_is_told_what_belongs_there(value: object) -> None:
    with pytest.raises(ConfigError, match=f"data = {value!r}: data is a section.*data\\.name"):
        build_config({"data": value})


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    config = TrainConfig().changed(image_size=(64, 96), tile={"size": (48, 64)}, time=60.5)
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    assert load_config(tmp_path / "config.yaml") == config


def test_off_is_off_though_yaml_takes_it_for_false(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("amp: off\n")
    assert load_config(file, {}, []).amp == load_config(None, {}, ["amp=off"]).amp == "off"
    with pytest.raises(ConfigError, match="amp = True"):
        load_config(None, {}, ["amp=on"])


@pytest.mark.parametrize(
    ("key", "listed", "elsewhere"),
    [("optim.lrr", "optim.momentum", "augment"), ("lr", "optim.*", "momentum")],
)
def test_an_unknown_setting_is_told_those_beside_it(key: str, listed: str, elsewhere: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'optim\.lr'\? Known: ") as error:
        load_config(assignments=[f"{key}=1"])
    assert listed in str(error.value) and elsewhere not in str(error.value)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """YAML takes the last one: the rate of the first section would be lost."""
    text = "optim:\n  lr: 0.001\noptim:\n  weight_decay: 0.01\n"
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"key .optim. is there twice.* line 3"):
        load_config(tmp_path / "c.yaml")
