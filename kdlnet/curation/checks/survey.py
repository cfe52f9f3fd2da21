"""One pass over a dataset: every image is decoded once and all that the checks need is kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from kdlnet.curation.duplicates import DuplicatePair, Fingerprint, clusters, find_pairs, fingerprint
from kdlnet.curation.formats.unread import still_packed
from kdlnet.curation.groups import division_of, name_below, naming_root
from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.dataset import load_split
from kdlnet.data.label_files import ANY_CLASS, LabelReader, Unread, find_unread
from kdlnet.data.labels import ImageLabels, LabelProblem, Split, parse_rows, read_rows
from kdlnet.data.listing import label_path, list_images
from kdlnet.data.other_tools import named_in_sets
from kdlnet.data.rows import BOX_COLUMNS
from kdlnet.data.survey import SplitSurvey, survey_of
from kdlnet.errors import DataError
from kdlnet.events import Listener, Progress, ignore
from kdlnet.images.folder import LeftOut, images_below
from kdlnet.images.read import header_of, is_grey, read_image

_READERS = 4
_AHEAD = 64  # decoded images that may wait


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself: format and mode as Pillow names them, "" if unknown."""

    format: str = ""
    mode: str = ""
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Pixels:
    """What was measured on the decoded image: its ``size`` is (H, W) after EXIF rotation.

    ``mean`` and ``spread`` (the standard deviation) are in file units, over all channels.
    """

    size: tuple[int, int]
    dtype: str
    channels: int
    grey: bool
    mean: float
    spread: float
    print: Fingerprint


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image, listed in ``splits``. ``pixels`` is None and ``error`` says why it is unreadable.

    ``labelled`` says whether it has a label file.
    """

    path: Path
    splits: tuple[str, ...]
    header: Header
    pixels: Pixels | None
    error: str
    labels: ImageLabels
    problems: tuple[LabelProblem, ...]
    labelled: bool

    @property
    def split(self) -> str:
        return self.splits[0]


@dataclass(frozen=True)
class Survey:
    """A dataset as it is. ``root`` is the folder that paths in reports are relative to.

    ``image_size`` (H, W) is the network input that boxes are judged at. ``missing`` maps a split
    that cannot be listed to the reason. ``pairs`` and ``groups`` hold positions in ``images``.
    ``names`` is empty for a plain folder, which has no labels; ``unread`` are label files,
    ``pictures`` are pictures that are not read. ``named`` are images of a plain folder that a file
    of another tool names, see :func:`named_in_sets`. ``data`` is what the dataset was asked for by.
    ``learned`` is what training looks at before it chooses, by the headers of the files and whether
    or not there is a val; None where no image or no box of train can be read. ``group_by`` is the
    rule that `data split` divided the dataset by, "" where it did not or had none.
    """

    name: str
    root: Path
    names: tuple[str, ...]
    image_size: tuple[int, int]
    images: list[ImageFacts]
    missing: dict[str, str] = field(default_factory=dict)
    pairs: list[DuplicatePair] = field(default_factory=list)
    groups: list[list[int]] = field(default_factory=list)
    unread: Unread = field(default_factory=Unread)
    pictures: set[Path] = field(default_factory=set)
    named: dict[Path, tuple[Path, str]] = field(default_factory=dict)
    data: str = ""
    learned: SplitSurvey | None = None
    group_by: str = ""

    @property
    def splits(self) -> list[str]:
        """Splits that have images, in their own order."""
        return list(dict.fromkeys(split for image in self.images for split in image.splits))

    def of(self, split: str) -> list[ImageFacts]:
        return [image for image in self.images if split in image.splits]

    def below(self, image: ImageFacts) -> str:
        """The image's path as reports name it."""
        return name_below(image.path, self.root)


@dataclass(frozen=True)
class Listing:
    """The images of a dataset, none of them opened.

    ``splits_of`` maps each image to the splits that list it, ``missing`` a split that cannot be
    listed to the reason. ``left`` is what was found and not taken. ``data`` is what the dataset was
    asked for by.
    """

    info: DatasetInfo
    splits_of: dict[Path, list[str]]
    missing: dict[str, str] = field(default_factory=dict)
    left: LeftOut = field(default_factory=LeftOut)
    data: str = ""


def list_dataset(name: str, data_root: Path | None = None) -> Listing:
    """The images of ``name``: an entry of datasets.yaml, a data.yaml or a folder of images.

    Raises DataError when there is no such dataset or no image in it.
    """
    folder = Path(name)
    try:
        info = find_dataset(name, data_root)
    except DataError:
        if not folder.is_dir() or (folder / "data.yaml").exists():
            raise
        return _plain_folder(folder)
    listed: dict[Path, list[str]] = {}
    missing: dict[str, str] = {}
    left = LeftOut()
    for split in info.splits:
        try:
            for path in list_images(info, split, left):
                listed.setdefault(path, []).append(split)
        except DataError as error:
            missing[split] = str(error)
    if not listed:
        raise DataError(next(iter(missing.values())))
    return Listing(info, listed, missing, left, name)


def _plain_folder(folder: Path) -> Listing:
    root = folder.resolve()
    left = LeftOut()
    listed = {path: ["images"] for path in images_below(root, left)}
    if not listed:
        fault = f"folder {str(folder)!r} holds neither a data.yaml nor images"
        raise DataError("; ".join(filter(None, (fault, still_packed(root)))))
    return Listing(DatasetInfo(root.name, folder, root, (), {}), listed, left=left)


def take_survey(
    listing: Listing,
    image_size: tuple[int, int] = (640, 640),
    on_event: Listener = ignore,
) -> Survey:
    """Reads all images and labels; ``on_event`` reports the work."""
    info, paths = listing.info, sorted(listing.splits_of)
    headers = [_header(path) for path in paths]
    reader = LabelReader(paths if info.names else [], len(info.names), info.kpt_shape)
    labels = reader if info.names else LabelReader(paths, ANY_CLASS)
    unread, named = find_unread(paths, paths, labels), {}
    if not info.names:
        unread = replace(unread, elsewhere=dict(_in_place(paths)) | unread.elsewhere)
        named = named_in_sets(info.root, paths)
    images = []
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(paths), _AHEAD):
            chunk = slice(start, start + _AHEAD)
            read = partial(_facts, reader)
            splits = [tuple(listing.splits_of[path]) for path in paths[chunk]]
            for facts in pool.map(read, paths[chunk], splits, headers[chunk]):
                images.append(facts)
                on_event(Progress("read images", len(images), len(paths)))
    on_event(Progress("compare images", 0, 1))
    pairs = find_pairs([image.pixels.print if image.pixels else None for image in images])
    on_event(Progress("compare images", 1, 1))
    groups = clusters(pairs, len(images))
    found = images, listing.missing, pairs, groups, unread, listing.left.unread, named, listing.data
    group_by = str(division_of(info.root)[1].get("group_by") or "")
    told = *found, _learned(info), group_by
    return Survey(info.name, naming_root(info.root), info.names, image_size, *told)


def _learned(info: DatasetInfo) -> SplitSurvey | None:
    if "train" not in info.splits:
        return None
    try:
        return survey_of(load_split(info, "train"), Split([], [], []), None)
    except DataError:
        return None


def _in_place(paths: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Images of a plain folder with the label files that a data.yaml would have them read with.

    Or refused with: a row may be faulty, and even name its class.
    """
    for path in paths:
        file = label_path(path)
        if any(_like_a_box(columns) for columns in read_rows(file)):
            yield path, file


def _like_a_box(columns: list[str]) -> bool:
    try:
        return len(columns) >= BOX_COLUMNS and bool([float(column) for column in columns[-4:]])
    except ValueError:
        return False


def _header(path: Path) -> Header:
    """From the first bytes, without decoding; an empty one when Pillow does not know the file."""
    try:
        # Not in the threads of the readers: the filter is one for the whole process.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            turn = header_of(path).turn
            with Image.open(path) as image:
                return Header(image.format or "", image.mode, turn)
    except (DataError, OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
        return Header()


def _facts(reader: LabelReader, path: Path, splits: tuple[str, ...], header: Header) -> ImageFacts:
    file = label_path(path)
    try:
        labels, problems = reader(path) if reader.num_classes else parse_rows("", file, 0)
    except DataError as error:
        labels, problems = parse_rows("", file, 0)
        problems = [LabelProblem(file, 0, "unreadable", str(error), "dropped")]
    pixels, reason = None, ""
    try:
        pixels = _measure(path)
    except DataError as error:
        reason = str(error)
    labelled = reader.num_classes > 0 and file.is_file()
    return ImageFacts(path, splits, header, pixels, reason, labels, tuple(problems), labelled)


def _measure(path: Path) -> Pixels:
    image = read_image(path)
    mean, spread = cv2.meanStdDev(image)
    return Pixels(
        size=(image.shape[0], image.shape[1]),
        dtype=image.dtype.name,
        channels=image.shape[2],
        grey=is_grey(image),
        mean=float(np.mean(mean)),
        spread=float(np.mean(spread)),
        print=fingerprint(image),
    )


def readable(images: list[ImageFacts]) -> Iterator[tuple[ImageFacts, Pixels]]:
    """Those that could be decoded, with what was measured on them."""
    for image in images:
        if image.pixels is not None:
            yield image, image.pixels
