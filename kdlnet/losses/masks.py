"""What a layer says of where defects lie, against their outlines."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdlnet.losses.normalizer import normalizer

DEFECT, UNKNOWN = 1, 2
"""Values of a mask: no defect is 0; inside of a box without an outline nothing is known."""

_GAMMA = 2.0


def mask_loss(logits: Tensor, masks: Tensor, looked_for: Tensor | None = None) -> Tensor:
    """Focal loss of the cells and Dice loss of the classes, a scalar.

    ``logits`` and ``masks`` (B, C, h, w); ``looked_for`` (B, C): classes that an image is not
    labelled for do not count. The focal loss (arXiv 1708.02002) is a sum divided by the cells that
    show a defect, the Dice loss (arXiv 1606.04797) the mean of the classes that the batch shows,
    each over all its cells.
    """
    logits = logits.float()
    counted = masks != UNKNOWN
    if looked_for is not None:
        counted = counted & looked_for[:, :, None, None]
    wanted = (masks == DEFECT) * counted.float()
    scores = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    focal = (entropy * (scores - wanted).abs() ** _GAMMA * counted).sum()
    scores, cells = scores * counted, (0, 2, 3)
    shown = wanted.sum(cells)
    dice = 1 - (2 * (scores * wanted).sum(cells) + 1) / (scores.sum(cells) + shown + 1)
    some = shown > 0
    return focal / normalizer(shown.sum()) + (dice * some).sum() / some.sum().clamp(min=1)
