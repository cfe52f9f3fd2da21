"""Weights files: a plain dict of tensors and builtins, written atomically, read without code."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from kdlnet import __version__
from kdlnet.data.learned import Learned
from kdlnet.errors import WeightsError
from kdlnet.inference.kinds import KINDS, WEIGHTS_KINDS, kind_of
from kdlnet.inference.released import START, released_names, released_or_file
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.models.fuse import fuse_model
from kdlnet.models.network import Network
from kdlnet.models.zoo import MODELS, ModelArguments, build_model
from kdlnet.types import FORMATS, Preprocess
from kdlnet.utils.files import write_atomic
from kdlnet.utils.parse import parse_image_size
from kdlnet.utils.seal import SEAL, is_damaged, sealed

_MOST_PIXELS = 2**28  # of a network's input
_FOLDER = 0x10  # the attribute of MS-DOS, which torch's reader of archives goes by
_META = ("model", "arguments", "names", "preprocess", "fused", "thresholds", "metrics")


@dataclass
class Weights:
    """A detector with all that inference needs to know about it.

    ``thresholds`` are what :meth:`VerdictRule.of_weights` reads, and ``calibration`` says how they
    were chosen, empty where no calibration did; ``training`` is what resume needs, empty in
    best.pt; ``path`` is the file it came from; ``purpose`` is ``detect`` or :data:`START`;
    ``learned`` are the images that were learned from, in this training and in those before it.
    """

    detector: Network
    model: str
    arguments: ModelArguments
    names: tuple[str, ...]
    preprocess: Preprocess
    fused: bool = False
    thresholds: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    purpose: str = "detect"
    learned: Learned = field(default_factory=Learned)

    @property
    def rule(self) -> VerdictRule:
        """Which boxes make a part NG or UNSURE."""
        return VerdictRule.of_weights(self.thresholds, self.names)

    def describe(self) -> dict[str, Any]:
        """All but the tensors, as builtins."""
        return {
            "model": self.model,
            "arguments": self.arguments.to_dict(),
            "names": list(self.names),
            "preprocess": self.preprocess.to_dict(),
            "fused": self.fused,
            "thresholds": dict(self.thresholds),
            "calibration": dict(self.calibration),
            "metrics": dict(self.metrics),
            "purpose": self.purpose,
            "learned": self.learned.to_header(),
        }


def save_weights(path: Path, weights: Weights) -> None:
    """Writes ``*.safetensors`` or a torch file, atomically. Raises KdlnetError when it cannot."""
    state = {
        key: value.detach().cpu().contiguous()
        for key, value in weights.detector.state_dict().items()
    }
    format = weights.preprocess.format
    header = {"format": format, "kdlnet": __version__, **weights.describe()}
    _write(path, {**header, "state": state, "training": weights.training})


def copy_weights(source: Path, path: Path, **facts: Any) -> None:
    """Writes ``source`` again with other ``facts``, keys of Weights.describe.

    The tensors stay as they are stored, to the bit; what resume needs is left out. Raises
    KdlnetError when it cannot.
    """
    _write(path, {**_read(source), **facts, "kdlnet": __version__, "training": {}})


def _write(path: Path, content: dict[str, Any]) -> None:
    if path.suffix.lower() == ".safetensors":
        header = {key: content[key] for key in content if key not in ("state", "training", *SEAL)}
        facts = {"kdlnet": json.dumps({**SEAL, **header})}
        write_atomic(path, sealed(safetensors.torch.save(content["state"], facts)))
        return
    buffer = io.BytesIO()
    torch.save({key: content[key] for key in content if key not in SEAL}, buffer)
    write_atomic(path, buffer.getvalue())


def load_weights(path: Path, device: torch.device | str = "cpu", *, start: bool = False) -> Weights:
    """Reads a weights file, whatever its suffix; the detector is in eval mode on ``device``.

    Where there is no such file, ``path`` may be the name of released weights, such as
    ``lightnet-n-neu-det``.

    Nothing in the file can run code. Raises WeightsError for a file that is missing, damaged, no
    weights file, unsafe, from a newer format, or whose tensors do not fit its model, and for a
    start, which has no classes, unless ``start`` allows it.
    """
    content = _read(path)
    missing = [key for key in ("format", *_META, "state") if key not in content]
    if missing:
        raise WeightsError(
            f"{str(path)!r} is not a kdlnet weights file (no {missing[0]!r} in it); "
            "give a file that kdlnet train, distill or fuse wrote"
        )
    if content["format"] not in FORMATS:
        raise WeightsError(
            f"{str(path)!r} has weights format {content['format']}, this kdlnet reads "
            f"{' and '.join(map(str, FORMATS))}: "
            "use the kdlnet version that wrote it"
        )
    weights = _assemble(path, content)
    if weights.purpose == START and not start:
        raise WeightsError(
            f"{str(path)!r} is a start for trainings and has learned no class: give it to kdlnet "
            "train --init or distill --init, and what they make to this verb"
        )
    weights.detector.to(device).to(memory_format=torch.channels_last)
    return weights


def _read(path: Path) -> dict[str, Any]:
    path = released_or_file(path)
    if not path.exists():
        raise _missing(path)
    if path.is_dir():
        raise WeightsError(f"{str(path)!r} is a folder; give a file, such as {_best_in(path)}")
    kind = kind_of(path)
    if kind is not None and kind not in WEIGHTS_KINDS:
        raise WeightsError(
            f"{str(path)!r} is {KINDS[kind].title}, which only runs: give the .pt it was made from"
        )
    try:
        content = _read_safetensors(path) if kind == "safetensors" else _read_torch(path)
    except WeightsError:
        raise
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{str(path)!r} was not loaded: it is damaged, or holds Python objects that could run "
            "code. Give a file that kdlnet wrote"
        ) from None
    except Exception as error:  # what a damaged byte raises in two libraries has no common class
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{str(path)!r} is not a readable weights file: {reason}") from None
    return content if isinstance(content, dict) else {}


def _read_safetensors(path: Path) -> dict[str, Any]:
    if is_damaged(path.read_bytes()):
        raise _damaged(path)
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get("kdlnet", "{}"))
        return {**dict(header), "state": {key: file.get_tensor(key) for key in file.keys()}}  # noqa: SIM118


def _best_in(folder: Path) -> Path:
    """Where the best weights of a run are that is at, or around, ``folder``."""
    return folder / ("best.pt" if folder.name == "weights" else "weights/best.pt")


def _missing(path: Path) -> WeightsError:
    hint = ""
    if path.parent == Path() and not path.suffix:
        hint = f", nor are there released weights of that name: {', '.join(released_names())}"
    return WeightsError(f"weights file {str(path)!r} does not exist{hint}")


def _read_torch(path: Path) -> Any:
    if not zipfile.is_zipfile(path):  # an old pickle, or no weights at all: not even tried
        raise pickle.UnpicklingError
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise WeightsError(
                f"{str(path)!r} is TorchScript of another tool: a program, which is never run "
                "here. Give the weights it was made from"
            )
        # torch compresses nothing, so that no bomb unpacks here, and looks at no checksum.
        plain = all(map(_is_plain, archive.infolist()))
        if not plain or archive.testzip() is not None:
            raise _damaged(path)
    with path.open("rb") as file:  # given a name, torch decides by its suffix
        return torch.load(file, map_location="cpu", weights_only=True)


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is bytes as they are. Torch reads nothing for what is marked as a folder."""
    stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
    return stored and not entry.external_attr & _FOLDER


def _damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"{str(path)!r} is damaged: its bytes are not those that were written. Copy it again"
    )


def _assemble(path: Path, content: dict[str, Any]) -> Weights:
    name = content["model"]
    if not isinstance(name, str) or name not in MODELS:
        raise WeightsError(
            f"{str(path)!r} holds the model {name!r}, which this kdlnet does not know"
        )
    try:
        weights = _fitted(content)
    except Exception as error:  # a header may hold anything
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"the tensors in {str(path)!r} do not fit its model {name!r}: {reason}"
        ) from None
    weights.path = path
    return weights


def _fitted(content: dict[str, Any]) -> Weights:
    """The model with its tensors. Raises all kinds of errors where they do not fit."""
    arguments = ModelArguments(**content["arguments"])
    names, preprocess = tuple(content["names"]), Preprocess.from_dict(content["preprocess"])
    purpose = str(content.get("purpose", "detect"))
    # Before the network is built: a number in the header must not fill the memory.
    _check_names(arguments, names if purpose != START else ("",))
    _check_contract(arguments, preprocess)
    with torch.device("cpu"):  # a program's own default may be another
        detector = build_model(content["model"], arguments, seed=0)
        if content["fused"]:
            detector = fuse_model(detector)
    detector.load_state_dict(content["state"])
    weights = Weights(
        detector=detector.eval(),
        model=content["model"],
        arguments=arguments,
        names=names,
        preprocess=preprocess,
        fused=bool(content["fused"]),
        thresholds=dict(content["thresholds"]),
        calibration=dict(content.get("calibration", {})),
        metrics=dict(content["metrics"]),
        training=content.get("training", {}),
        purpose=purpose,
        learned=Learned.of_header(content.get("learned")),
    )
    _ = weights.rule  # raises where the thresholds are none
    return weights


def _check_names(arguments: ModelArguments, names: tuple[str, ...]) -> None:
    """Raises ValueError where there is not one name a class."""
    if len(names) != arguments.num_classes:
        raise ValueError(f"{len(names)} class names for {arguments.num_classes} classes")


def _check_contract(arguments: ModelArguments, contract: Preprocess) -> None:
    """Raises ValueError where the parts of a file contradict each other."""
    if contract.channels != arguments.channels:
        raise ValueError(f"{contract.channels} channels for a model of {arguments.channels}")
    if contract.window[0] >= contract.window[1]:
        raise ValueError(f"an empty intensity window {contract.window}")
    height, width = parse_image_size(list(contract.image_size))
    if height * width > _MOST_PIXELS:
        raise ValueError(f"an input of {width} x {height} pixels")
