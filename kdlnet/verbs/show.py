"""A dataset to look at: one HTML page and contact sheets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.findings import Finding, by_image, read_findings
from kdlnet.curation.groups import name_below, naming_root
from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.folders import image_folders
from kdlnet.data.label_files import read_images
from kdlnet.data.labels import ImageLabels, summarize
from kdlnet.data.listing import all_images, list_images
from kdlnet.data.outlines import simplified
from kdlnet.errors import DataError
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.folder import LeftOut, results_lines
from kdlnet.images.read import ImageArray, read_image
from kdlnet.report.draw import draw_detections
from kdlnet.report.images import Image, save_image, to_display
from kdlnet.report.page import PagePicture, dataset_page
from kdlnet.report.sheet import contact_sheet
from kdlnet.report.thumbnail import fitting_side, shrink, thumbnail
from kdlnet.utils.files import write_atomic, write_json
from kdlnet.utils.output import keep_apart, new_folder
from kdlnet.utils.words import counted

LIMIT = 1500
MEGABYTES = 32.0
_SAMPLES = 24  # images that tell how well the set compresses
_SHEET = 36  # images on a contact sheet
_CELL = 400
_READERS = 2
_SHOWN_BY_BROWSERS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True)
class DatasetView:
    """What was written into ``folder``. ``side`` is the longer side of the page's pictures."""

    folder: Path
    page: Path
    sheets: tuple[Path, ...]
    images: int
    of: int
    boxes: int
    unreadable: int
    side: int
    megabytes: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        places = {"folder": str(self.folder), "page": str(self.page)}
        return {**asdict(self), **places, "sheets": [str(sheet) for sheet in self.sheets]}


@dataclass(frozen=True)
class _Item:
    path: Path
    split: str
    labels: ImageLabels
    doubt: str  # why training leaves it out


_Drawn = tuple[PagePicture, Image | None]


def show_dataset(
    name: str,
    *,
    out: Path | None = None,
    split: str | None = None,
    limit: int = LIMIT,
    megabytes: float = MEGABYTES,
    findings: Path | None = None,
    seed: int = 0,
    data_root: Path | None = None,
    overwrite: bool = False,
    on_event: Listener = ignore,
) -> DatasetView:
    """Writes index.html and a contact sheet a split into ``out`` [runs/show/NAME].

    At most ``limit`` images, chosen by ``seed`` and told; those of one ``split`` alone if given.
    The pictures of the page are as large as ``megabytes`` (10^6 bytes) allow, never larger than
    the images. ``findings`` is the findings.json of a check. Images that cannot be read are named
    and stand on the page without a picture; those that training leaves out say why.

    Raises DataError for a dataset, split or file of findings that cannot be used.
    """
    info = find_dataset(name, data_root)
    items = _load(info, split, on_event)
    known = read_findings(findings) if findings else []
    paths = [item.path for item in items]
    if out is not None:
        keep_apart(out, [info.root, *{path.parent for path in paths}])
    chosen = _choose(len(items), limit, seed)
    if len(chosen) < len(items):
        text = f"{len(chosen)} of {len(items)} images, chosen by --seed; more with --limit"
        on_event(Message(text))
    root = naming_root(info.root)
    found, general = by_image(known, paths, root)
    if not any(found) and any(finding.image for finding in known):
        text = f"no finding of {str(findings)!r} is about an image shown here: is it another set's?"
        on_event(Message(text, "warning"))
    default, reads = Path("runs/show") / info.name, [info.source, findings]
    folder = new_folder(
        default, out, overwrite, reads=reads, images=paths, folders=image_folders(info)
    )
    side = _page_side([paths[i] for i in chosen], megabytes)
    shown = [items[i] for i in chosen]
    on_sheets = _sheet_choice(shown, seed)
    maker = _Maker(folder, root, info.names, side)
    drawn = maker.draw(shown, [found[i] for i in chosen], on_sheets, on_event)
    sheets = tuple(_write_sheets(folder, drawn, on_sheets))
    pictures = [picture for picture, _ in drawn]
    view = _write_page(folder, info, pictures, general, len(items), side, sheets)
    write_json(folder / "show.json", view.to_dict())
    return view


def _write_page(
    folder: Path,
    info: DatasetInfo,
    pictures: Sequence[PagePicture],
    general: Sequence[Finding],
    of: int,
    side: int,
    sheets: tuple[Path, ...],
) -> DatasetView:
    side = min(side, max(max(picture.size) for picture in pictures))
    boxes = sum(len(picture.boxes) for picture in pictures)
    few = f"{len(pictures)} of " if len(pictures) < of else ""
    count = f"{few}{counted(of, 'image')}, {counted(boxes, 'box', 'boxes')}"
    note = f"{count}, pictures of up to {side} px"
    page = dataset_page(info.name, info.names, pictures, general, note).encode()
    write_atomic(folder / "index.html", page)
    return DatasetView(
        folder=folder,
        page=folder / "index.html",
        sheets=sheets,
        images=len(pictures),
        of=of,
        boxes=boxes,
        unreadable=sum(not picture.jpeg for picture in pictures),
        side=side,
        megabytes=round(len(page) / 1e6, 2),
    )


def _load(info: DatasetInfo, split: str | None, on_event: Listener) -> list[_Item]:
    items, listed = [], list(all_images(info))
    for name in [split] if split else info.splits:
        left = LeftOut()
        paths = list_images(info, name, left)
        reading = read_images(paths, listed, len(info.names), info.kpt_shape)
        lines = [*results_lines(left.results), *reading.doubts(), summarize(reading.every_problem)]
        for line in filter(None, lines):
            on_event(Message(f"{name}: {line}", "warning"))
        found = zip(paths, reading.labels, reading.reasons, strict=True)
        items += [_Item(path, name, labels, reason) for path, labels, reason in found]
    return items


def _choose(count: int, limit: int, seed: int) -> list[int]:
    """At most ``limit`` of ``count`` positions, rising."""
    order: list[int] = np.random.default_rng(seed).permutation(count)[:limit].tolist()
    return sorted(order)


def _page_side(paths: Sequence[Path], megabytes: float) -> int:
    """What side fits, from a few images spread over the set."""
    rows = np.linspace(0, len(paths) - 1, min(_SAMPLES, len(paths))).round().astype(int)
    samples = []
    for row in rows:
        try:
            samples.append(read_image(paths[row]))
        except DataError:  # told when its turn comes
            continue
    return fitting_side(samples, len(paths), megabytes) if samples else 0


def _sheet_choice(items: Sequence[_Item], seed: int) -> dict[str, list[int]]:
    """Positions on the sheet of each split, alike beside alike."""

    def key(position: int) -> tuple[list[int], int]:
        return sorted(set(items[position].labels.labels.tolist())), position

    choice = {}
    for split in dict.fromkeys(item.split for item in items):
        own = [position for position, item in enumerate(items) if item.split == split]
        choice[split] = sorted((own[i] for i in _choose(len(own), _SHEET, seed)), key=key)
    return choice


def _corners(labels: ImageLabels, size: tuple[int, int]) -> list[list[float]]:
    """What the page shows of outlines, to a pixel, in an image of ``size`` (width, height)."""
    shown: list[list[float]] = []
    for outline in labels.outlines:
        corners: list[float] = []
        if outline is not None:
            corners = simplified(outline * size, 0.5).reshape(-1).tolist()
        shown.append(corners)
    return shown


@dataclass(frozen=True)
class _Maker:
    """Makes pictures for a page in ``folder``: ``side`` pixels, named by paths from ``root``."""

    folder: Path
    root: Path
    names: tuple[str, ...]
    side: int

    def draw(
        self,
        items: Sequence[_Item],
        findings: Sequence[Sequence[Finding]],
        on_sheets: dict[str, list[int]],
        on_event: Listener,
    ) -> list[_Drawn]:
        """A picture of each item for the page, and for those on sheets one for the sheet."""
        wanted = {position for split in on_sheets.values() for position in split}
        jobs = range(len(items))
        drawn = []
        with ThreadPoolExecutor(_READERS) as pool:
            made = pool.map(lambda i: self._one(items[i], findings[i], i in wanted), jobs)
            for done, (picture, sheet) in enumerate(made, start=1):
                if not picture.jpeg:
                    on_event(Message(picture.findings[-1].message, "warning"))
                drawn.append((picture, sheet))
                on_event(Progress("draw pictures", done, len(items)))
        return drawn

    def _one(self, item: _Item, findings: Sequence[Finding], on_sheet: bool) -> _Drawn:
        name = name_below(item.path, self.root)
        if item.doubt:
            findings = [*findings, Finding("left out", "error", item.doubt)]
        try:
            image = read_image(item.path)
        except DataError as error:
            fault = Finding(check="unreadable", severity="error", message=str(error))
            return PagePicture(name, item.split, (1, 1), b"", "", [], [*findings, fault]), None
        height, width = image.shape[:2]
        boxes = item.labels.boxes * np.array([width, height, width, height])
        labels = item.labels.labels
        picture = PagePicture(
            name=name,
            split=item.split,
            size=(height, width),
            jpeg=thumbnail(image, self.side),
            original=self._address(item.path, image),
            boxes=[
                (label, *box) for label, box in zip(labels.tolist(), boxes.tolist(), strict=True)
            ],
            findings=findings,
            outlines=_corners(item.labels, (width, height)),
        )
        return picture, self._for_sheet(image, boxes, labels) if on_sheet else None

    def _address(self, path: Path, image: ImageArray) -> str:
        """Where the page finds the file itself, "" if browsers do not show such files well."""
        if image.dtype != np.uint8 or path.suffix.lower() not in _SHOWN_BY_BROWSERS:
            return ""
        try:
            return quote(Path(os.path.relpath(path, self.folder)).as_posix())
        except ValueError:  # another drive, on Windows
            return path.as_uri()

    def _for_sheet(
        self, image: ImageArray, boxes: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> Image:
        small = shrink(to_display(image), 2 * _CELL)  # boxes are drawn once it is small
        return draw_detections(
            small, boxes * (small.shape[0] / image.shape[0]), labels, None, self.names
        )


def _write_sheets(
    folder: Path, drawn: Sequence[_Drawn], on_sheets: dict[str, list[int]]
) -> Iterator[Path]:
    for split, positions in on_sheets.items():
        chosen = [(drawn[i][1], drawn[i][0].name) for i in positions]
        pictures = [(picture, name) for picture, name in chosen if picture is not None]
        if pictures:
            path = folder / f"sheet-{split}.png"
            captions = [Path(name).name for _, name in pictures]
            save_image(path, contact_sheet([one for one, _ in pictures], captions, cell=_CELL))
            yield path
