"""A detector that knows what good parts look like: what ``kdlnet anomaly`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdlnet.data.joined import find_datasets
from kdlnet.data.learned import Learned
from kdlnet.events import Listener, Message, ignore
from kdlnet.inference.copies import content_of, copy_path, require_unchanged
from kdlnet.inference.evaluate import count_learned, detect, open_split
from kdlnet.inference.good_parts import learn_normality
from kdlnet.inference.released import released_or_file
from kdlnet.inference.torch_engine import TorchEngine
from kdlnet.inference.weights import load_weights, save_weights
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.curves import best_thresholds
from kdlnet.metrics.image_level import image_level
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import DEFAULT_SCORE, VerdictRule
from kdlnet.models.network import Network
from kdlnet.utils.device import find_device, prepare
from kdlnet.utils.given import AnyPath, Name, as_path, checked


@dataclass(frozen=True)
class Figures:
    """Of a network on val, in [0, 1]; None where val cannot tell.

    ``auroc`` is the share of pairs of a defective image and a good one in which the defective one
    has the higher score; ``caught`` that of the defective parts which one threshold stops that
    rejects at most so many percent of the good ones (PBn, :mod:`kdlnet.metrics.image_level`).
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    auroc: float | None
    caught: dict[str, float | None]


@dataclass(frozen=True)
class Anomaly:
    """What was learned and what it changes on val.

    ``path`` is the copy of ``weights``. ``good`` counts the images of train that were learned, and
    ``compared`` those of val that say how far a good part may be from them.
    """

    weights: Path
    path: Path
    data: str
    good: int
    compared: int
    images: int
    defective: int
    thresholds: dict[str, Any]
    before: Figures
    after: Figures

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {**asdict(self), "weights": str(self.weights), "path": str(self.path)}


@checked
def anomaly(
    weights: AnyPath,
    *,
    data: Name | Sequence[Name],
    data_root: AnyPath | None = None,
    batch: int = 16,
    device: str = "auto",
    out: AnyPath | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> Anomaly:
    """Learns the good parts of ``data`` and writes a copy of ``weights`` that knows them.

    In it the scores of all boxes of an image rise or fall by how unlike the good parts of train it
    is, in units of how unlike those of val are: see :mod:`kdlnet.models.normality`. Its threshold
    is that of the best F1 on val; sizes and counts of the verdict stay. The copy is ``out``, by
    default ``<name>-anomaly`` beside the weights. ``data`` is one dataset or several.

    Raises DataError for too few good parts, WeightsError for what are no weights, KdlnetError where
    the copy would replace what is there, or ``weights`` changed meanwhile.
    """
    weights, data_root, out = as_path(weights), as_path(data_root), as_path(out)
    file = released_or_file(weights)
    target = find_device(device)
    prepare(target)
    content = content_of(file)
    loaded = load_weights(file, target)
    path = copy_path(weights, file, "anomaly", out, overwrite)
    info = find_datasets(data, data_root)
    train, val = (
        open_split(loaded, info, split, None, False, on_event)[0] for split in ("train", "val")
    )
    count_learned(loaded, val.paths, "val", on_event)
    old = loaded.detector
    found = learn_normality(old, train, val, batch, target, on_event)
    before = detect(TorchEngine(old, target), val, batch, on_event=on_event)
    network = Network(old.backbone, old.neck, old.head, found.normality).eval()
    after = detect(TorchEngine(network, target), val, batch, on_event=on_event)
    score = best_thresholds(after, loaded.names)[-1]
    result = Anomaly(
        weights,
        path,
        info.name,
        len(found.learned),
        len(found.compared),
        len(val.paths),
        sum(len(one.truth_boxes) > 0 for one in after),
        _scored(loaded.rule, loaded.names, score),
        _figures(before, loaded.names),
        _figures(after, loaded.names),
    )
    if loaded.calibration:
        text = "the calibrated thresholds are those of other scores: kdlnet calibrate chooses anew"
        on_event(Message(text, "warning"))
    known = loaded.learned
    if known.images:  # else it would tell of these alone
        known |= Learned.of([train.paths[image] for image in found.learned])
    told = {name: getattr(result.after, name) for name in ("ap", "ap50", "ap75")}
    copied = replace(
        loaded,
        detector=network,
        arguments=replace(loaded.arguments, normality=True),
        thresholds=result.thresholds,
        calibration={},
        metrics=loaded.metrics | told,
        training={},
        learned=known,
    )
    require_unchanged(file, content)
    copy_path(weights, file, "anomaly", out, overwrite)  # another may be there by now
    save_weights(path, copied)
    return result


def _scored(rule: VerdictRule, names: Sequence[str], score: float | None) -> dict[str, Any]:
    """``rule`` from ``score`` on and without UNSURE, with its sizes and counts; None: the usual."""
    score = DEFAULT_SCORE if score is None else score
    classes = [replace(rule.of(label), score=score, unsure=None) for label in range(len(names))]
    return VerdictRule(tuple(classes)).to_dict(names)


def _figures(results: Sequence[ImageResult], names: Sequence[str]) -> Figures:
    found, whole = average_precision(results, names), image_level(results)
    caught = {percent: share.value for percent, share in whole.pb.items()}
    return Figures(found.ap, found.ap50, found.ap75, whole.auroc.value, caught)
