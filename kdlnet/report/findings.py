"""Pictures of what a check of a dataset found."""

from __future__ import annotations

import numpy as np

from kdlnet.curation.checks.survey import ImageFacts, Survey
from kdlnet.curation.findings import Finding
from kdlnet.errors import DataError
from kdlnet.images.read import read_image
from kdlnet.report.draw import draw_detections
from kdlnet.report.images import Image, to_display
from kdlnet.report.sheet import contact_sheet

_SIDE_BY_SIDE = frozenset(
    {"conflicting-labels", "exact-duplicate", "near-duplicate", "group", "shared-labels"}
)
_WITH_BOXES = frozenset({"conflicting-labels", "duplicate-box", "small-box", "rows", "rotation"})
_MOST = 12  # images of a group on one sheet


def finding_picture(survey: Survey, finding: Finding) -> Image | None:
    """RGB uint8 (H, W, 3): the images that show the same side by side, or the image with its boxes.

    None for a finding that no picture explains or whose image cannot be read.
    """
    if finding.image is None:
        return None
    shown = {survey.below(image): image for image in survey.images}
    first = next(image for image in survey.images if image.path == finding.image)
    boxed = finding.check in _WITH_BOXES
    try:
        if finding.check in _SIDE_BY_SIDE:
            names = _others(finding)[:_MOST]
            images = [shown[name] for name in names]
            if first not in images:
                images.insert(0, first)
            pictures = [
                _with_boxes(survey, image) if boxed else to_display(read_image(image.path))
                for image in images
            ]
            captions = [f"{image.split}: {image.path.name}" for image in images]
            return contact_sheet(pictures, captions)
        if boxed:
            return _with_boxes(survey, first)
    except DataError:
        return None
    return None


def _others(finding: Finding) -> list[str]:
    """Names of the images that a finding of duplicates tells of."""
    if isinstance(finding.value, dict):
        return [finding.value["other"]]
    return finding.value if isinstance(finding.value, list) else [finding.value]


def _with_boxes(survey: Survey, image: ImageFacts) -> Image:
    pixels = read_image(image.path)
    height, width = pixels.shape[:2]
    boxes = image.labels.boxes * np.array([width, height, width, height])
    return draw_detections(pixels, boxes, image.labels.labels, None, survey.names)
