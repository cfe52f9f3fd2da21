"""kdlnet: train, distill, fuse and run small defect detectors.

>>> from kdlnet import Detector  # doctest: +SKIP
>>> for prediction in Detector.load("best.pt").predict("parts/"):  # doctest: +SKIP
...     print(prediction)

The names in ``__all__`` are the public interface; a verb calls the function of its name. Paths
may be given as text. Torch is imported when the first of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdlnet.config import TrainConfig, load_config
    from kdlnet.data.catalog import find_dataset
    from kdlnet.errors import KdlnetError
    from kdlnet.inference.prediction import Prediction
    from kdlnet.inference.predictor import Predictor as Detector
    from kdlnet.metrics.evaluation import EvalResult
    from kdlnet.metrics.operating_point import Costs, Goal, Unsure
    from kdlnet.verbs.anomaly import anomaly
    from kdlnet.verbs.bench import bench
    from kdlnet.verbs.calibrate import calibrate
    from kdlnet.verbs.compare import compare
    from kdlnet.verbs.distill import distill
    from kdlnet.verbs.export import export
    from kdlnet.verbs.fuse import fuse
    from kdlnet.verbs.pretrain import pretrain
    from kdlnet.verbs.train import train
    from kdlnet.verbs.val import validate

__version__ = "0.1.0"

__all__ = [
    "Costs",
    "Detector",
    "EvalResult",
    "Goal",
    "KdlnetError",
    "Prediction",
    "TrainConfig",
    "Unsure",
    "__version__",
    "anomaly",
    "bench",
    "calibrate",
    "compare",
    "distill",
    "export",
    "find_dataset",
    "fuse",
    "load_config",
    "pretrain",
    "train",
    "validate",
]

# Name here: module and name there. Loaded at first use, so that `import kdlnet` needs no torch.
_LAZY = {
    "Costs": ("kdlnet.metrics.operating_point", "Costs"),
    "Detector": ("kdlnet.inference.predictor", "Predictor"),
    "EvalResult": ("kdlnet.metrics.evaluation", "EvalResult"),
    "Goal": ("kdlnet.metrics.operating_point", "Goal"),
    "KdlnetError": ("kdlnet.errors", "KdlnetError"),
    "Prediction": ("kdlnet.inference.prediction", "Prediction"),
    "TrainConfig": ("kdlnet.config", "TrainConfig"),
    "Unsure": ("kdlnet.metrics.operating_point", "Unsure"),
    "anomaly": ("kdlnet.verbs.anomaly", "anomaly"),
    "bench": ("kdlnet.verbs.bench", "bench"),
    "calibrate": ("kdlnet.verbs.calibrate", "calibrate"),
    "compare": ("kdlnet.verbs.compare", "compare"),
    "distill": ("kdlnet.verbs.distill", "distill"),
    "export": ("kdlnet.verbs.export", "export"),
    "find_dataset": ("kdlnet.data.catalog", "find_dataset"),
    "fuse": ("kdlnet.verbs.fuse", "fuse"),
    "load_config": ("kdlnet.config", "load_config"),
    "pretrain": ("kdlnet.verbs.pretrain", "pretrain"),
    "train": ("kdlnet.verbs.train", "train"),
    "validate": ("kdlnet.verbs.val", "validate"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
