"""kdlnet: train, distill, fuse and run small defect detectors.

>>> from kdlnet import Detector  # doctest: +SKIP
>>> for prediction in Detector.load("best.pt").predict("parts/"):  # doctest: +SKIP
...     print(prediction)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdlnet.engine.prediction import Prediction
    from kdlnet.engine.predictor import Predictor as Detector

__version__ = "0.1.0"

__all__ = ["Detector", "Prediction", "__version__"]

# Name here: module and name there. Loaded at first use, so that `import kdlnet` needs no torch.
_LAZY = {
    "Detector": ("kdlnet.engine.predictor", "Predictor"),
    "Prediction": ("kdlnet.engine.prediction", "Prediction"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
