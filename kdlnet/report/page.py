"""One HTML page to look through a dataset: nothing but the file itself is needed.

The page lives in templates/: ``dataset.html`` with its style and script put in by jinja2.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdlnet.curation.findings import Finding
from kdlnet.report.colors import hexadecimal, palette
from kdlnet.types import ImageSize

Row = tuple[int, float, float, float, float]


@dataclass(frozen=True, slots=True)
class PagePicture:
    """One image of the page.

    ``name`` is its path in the dataset, ``size`` (H, W) of the original. ``jpeg`` is what the page
    shows of it, empty for an image that cannot be read. ``original`` is its address relative to
    the page, "" where a browser could not show it. ``boxes`` are rows (class, x1, y1, x2, y2) in
    pixels of the original image, ``outlines`` the corners (x, y, x, y, ...) of each, none of those
    that are known by their box alone.
    """

    name: str
    split: str
    size: ImageSize
    jpeg: bytes
    original: str
    boxes: Sequence[Row]
    findings: Sequence[Finding] = ()
    outlines: Sequence[Sequence[float]] = ()


def dataset_page(
    title: str,
    names: Sequence[str],
    pictures: Sequence[PagePicture],
    general: Sequence[Finding] = (),
    note: str = "",
) -> str:
    """The page: ``pictures`` in their order, filters by split, class and finding.

    ``names`` are the classes, ``general`` the findings of no single image, ``note`` a line below
    the title. It loads nothing from a network; a policy in its head forbids it.
    """
    environment = Environment(
        loader=PackageLoader("kdlnet", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Base64 has no letter that HTML or JSON would read as their own.
    thumbnails = [base64.b64encode(picture.jpeg).decode() for picture in pictures]
    return environment.get_template("dataset.html").render(
        title=title,
        note=note,
        aspect=_cell_aspect(pictures),
        data=_data(names, pictures, general),
        thumbnails=json.dumps(thumbnails),
    )


def _data(
    names: Sequence[str], pictures: Sequence[PagePicture], general: Sequence[Finding]
) -> dict[str, Any]:
    """What the script reads: names once, then positions in them."""
    splits = list(dict.fromkeys(picture.split for picture in pictures))
    found = [finding for picture in pictures for finding in picture.findings]
    checks = [check for check, _ in Counter(finding.check for finding in found).most_common()]
    return {
        "names": list(names),
        "colors": [hexadecimal(color) for color in palette(len(names))],
        "splits": splits,
        "checks": checks,
        "general": [_line(finding, _place(finding)) for finding in general],
        "images": [
            {
                "name": picture.name,
                "split": splits.index(picture.split),
                "size": picture.size,
                "original": picture.original,
                "boxes": [
                    [row[0], *(round(value, 2) for value in row[1:])] for row in picture.boxes
                ],
                "outlines": [[round(value, 1) for value in row] for row in picture.outlines],
                "findings": [_line(finding) for finding in picture.findings],
            }
            for picture in pictures
        ],
    }


def _place(finding: Finding) -> str | None:
    return finding.split if finding.image is None else finding.image.as_posix()


def _line(finding: Finding, place: str | None = None) -> list[str]:
    """Check, severity and text; ``place`` is given where the picture does not say it."""
    where = f" ({place})" if place else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    return [finding.check, finding.severity, f"{finding.message}{where}{fix}"]


def _cell_aspect(pictures: Sequence[PagePicture]) -> float:
    """Width by height of the cells: that of the usual image, within reason."""
    aspects = [picture.size[1] / picture.size[0] for picture in pictures if picture.jpeg]
    return round(min(1.8, max(0.6, median(aspects))), 3) if aspects else 1.0
