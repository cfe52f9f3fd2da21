"""What a new training takes over from weights."""

from __future__ import annotations

from torch import Tensor

from kdlnet.errors import WeightsError
from kdlnet.inference.released import START
from kdlnet.inference.weights import Weights
from kdlnet.models.network import Network


def transfer(weights: Weights, detector: Network, names: tuple[str, ...]) -> list[str]:
    """Copies into ``detector`` what ``weights`` has of it; lines that say what was done.

    Rows of the class layer are matched by class name, others start fresh; the rest must have the
    same structure. Raises WeightsError when it has not, and for a fused source.
    """
    if weights.fused:
        raise WeightsError(
            f"{str(weights.path)!r} is fused and cannot be trained; start from the unfused file "
            "it was made from"
        )
    if weights.purpose == START:
        return _transfer_start(weights, detector)
    source, target = weights.detector.state_dict(), detector.state_dict()
    odd = sorted(set(source) ^ set(target)) + [
        key for key in source if key in target and source[key].shape[1:] != target[key].shape[1:]
    ]
    if odd:
        raise WeightsError(
            f"{str(weights.path)!r} is a {weights.model!r} with {weights.arguments}; its layer "
            f"{odd[0]!r} does not fit the model to train. Use the same --model, block and channels"
        )
    rows = {name: row for row, name in enumerate(weights.names)}
    found = [(i, rows[name]) for i, name in enumerate(names) if name in rows]
    for key, value in target.items():
        _copy_rows(value, source[key], found) if "class_logits" in key else value.copy_(source[key])
    fresh = [name for name in names if name not in rows]
    lines = [f"started from {str(weights.path)!r}: {len(found)} of {len(names)} classes taken over"]
    if fresh:
        lines.append(f"classes that start fresh: {', '.join(fresh)}")
    return lines


def _transfer_start(weights: Weights, detector: Network) -> list[str]:
    """Backbone and neck of a start; the head keeps its own fresh values.

    A model of one channel takes the sum of the stem's kernels over the three: on a grey image that
    is the same.
    """
    target = detector.state_dict()
    for key, value in weights.detector.state_dict().items():
        if key.startswith("head."):
            continue
        into = target.get(key)
        if into is not None and key.startswith("backbone.stem.") and into.shape[1:2] == (1,):
            value = value.sum(1, keepdim=True)
        if into is None or into.shape != value.shape:
            raise WeightsError(
                f"{str(weights.path)!r} is a start for {weights.model!r} with blocks "
                f"{weights.arguments.block!r}; its layer {key!r} does not fit the model to train. "
                "Use the same --model and block"
            )
        into.copy_(value)
    name = "" if weights.path is None else weights.path.name
    return [f"started from {name}, a backbone and neck that learned without labels"]


def _copy_rows(target: Tensor, source: Tensor, rows: list[tuple[int, int]]) -> None:
    for to, start in rows:
        target[to].copy_(source[start])
