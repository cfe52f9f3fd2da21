"""The label files of a dataset: read in one form, and those found that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdlnet.data.labels import (
    ImageLabels,
    LabelProblem,
    read_labels,
    read_rows,
    reason_to_leave_out,
)
from kdlnet.data.listing import label_path
from kdlnet.data.other_tools import TOOLS, conversion
from kdlnet.data.rows import RowForm, form_of
from kdlnet.data.strays import LABELS, Strays
from kdlnet.utils.words import counted

ANY_CLASS = 2**31  # for a folder without class names


class LabelReader:
    """Reads the labels of ``images``. What their rows hold is decided once, for all of them.

    ``kpt_shape`` is that of the data.yaml: how many keypoints of how many numbers follow a box.
    ``label_of`` says where the label file of an image belongs.
    """

    def __init__(
        self,
        images: Iterable[Path],
        num_classes: int,
        kpt_shape: tuple[int, int] | None = None,
        label_of: Callable[[Path], Path] = label_path,
    ) -> None:
        self.num_classes = num_classes
        self.label_of = label_of
        if kpt_shape is None:
            self.form = form_of(row for image in images for row in read_rows(label_of(image)))
        else:
            self.form = RowForm(keypoints=kpt_shape[0] * kpt_shape[1])

    def __call__(self, image: Path) -> tuple[ImageLabels, list[LabelProblem]]:
        """The labels of one image. Raises DataError when its file exists but cannot be read."""
        return self.read(self.label_of(image))

    def read(self, file: Path) -> tuple[ImageLabels, list[LabelProblem]]:
        return read_labels(file, self.num_classes, self.form)


@dataclass(frozen=True)
class Unread:
    """Label files with boxes in them that no image is read with.

    ``elsewhere`` names for an image without a label file the one of its name that lies in another
    place, is called a little differently or is another tool's, the last also beside an empty one.
    In a survey of a plain folder, which no data.yaml describes, those where they belong count, too.
    ``ownerless`` are those, beside the label files that are looked for, whose name no image has,
    and ``missing`` counts the images they may belong to. ``shared`` are pairs of images that are
    read with the same file. ``label_of`` is that of the reader.
    """

    elsewhere: dict[Path, Path] = field(default_factory=dict)
    ownerless: list[Path] = field(default_factory=list)
    missing: int = 0
    shared: list[tuple[Path, Path]] = field(default_factory=list)
    label_of: Callable[[Path], Path] = label_path

    def lines(self, images: int) -> list[str]:
        """What to say of them before a split of so many ``images`` is used."""
        lines = []
        if self.elsewhere:
            lines.append(
                f"{len(self.elsewhere)} of {images} images are left out: their label files are not "
                f"where they are looked for, first {self.first()}"
            )
        return [*lines, *self.doubts(images)]

    def doubts(self, images: int) -> list[str]:
        """Lines about label files that no image has, and that several have."""
        lines = []
        if self.shared:
            one, two = self.shared[0]
            lines.append(
                f"{len(self.shared)} of {images} images are read with the label file of another "
                f"one, first {two.name!r} with that of {one.name!r}: rename one of them"
            )
        return [*lines, *filter(None, [self.doubt(images)])]

    def doubt(self, images: int) -> str:
        """A line about those that no image has, "" where there are none."""
        if not self.ownerless:
            return ""
        files = counted(len(self.ownerless), "label file")
        return (
            f"{self.missing} of {images} images have no label file and are taken as good, but "
            f"no image has the name of {files} where theirs belong, first "
            f"{str(self.ownerless[0])!r}: if images were renamed, rename their label files, too; "
            "delete those of images that are gone"
        )

    def first(self) -> str:
        """One of ``elsewhere`` and what to do."""
        image, file = next(iter(self.elsewhere.items()))
        if command := conversion(file):
            return f"{str(file)!r}, another tool's: use {command}"
        return f"{str(file)!r}, which belongs in {str(self.label_of(image))!r}: move or rename them"


@dataclass(frozen=True)
class Reading:
    """What label files say of some images, in their order.

    ``reasons`` has a line for each image that cannot be taken as labelled, "" for the others.
    """

    labels: list[ImageLabels]
    problems: list[list[LabelProblem]]
    reasons: list[str]
    unread: Unread

    @property
    def every_problem(self) -> list[LabelProblem]:
        return [problem for each in self.problems for problem in each]

    def doubts(self) -> list[str]:
        """What to say where all images are kept, also those that training leaves out."""
        lines = self.unread.doubts(len(self.reasons))
        doubtful = [reason for reason in self.reasons if reason]
        if doubtful:
            lines.insert(
                0,
                f"train and val leave out {len(doubtful)} of {len(self.reasons)} images, and they "
                "count as no good parts: not all of their labels are read and understood, first "
                f"{doubtful[0]}",
            )
        return lines


def read_images(
    images: Sequence[Path],
    listed: Iterable[Path],
    num_classes: int,
    kpt_shape: tuple[int, int] | None,
) -> Reading:
    """Reads the labels of ``images``; ``listed`` are all images of the dataset."""
    reader = LabelReader(images, num_classes, kpt_shape)
    found = [reader(image) for image in images]
    marked = {image for image, (labels, _) in zip(images, found, strict=True) if len(labels.labels)}
    unread = find_unread(images, listed, reader, marked)
    reasons = [
        _why_left_out(image, *each, unread.elsewhere.get(image))
        for image, each in zip(images, found, strict=True)
    ]
    labels, problems = [each for each, _ in found], [each for _, each in found]
    return Reading(labels, problems, reasons, unread)


def _why_left_out(
    image: Path, labels: ImageLabels, problems: list[LabelProblem], elsewhere: Path | None
) -> str:
    if elsewhere is not None:
        if command := conversion(elsewhere):
            return f"{image}: its labels {str(elsewhere)!r} are another tool's: use {command}"
        return f"{image}: its labels {str(elsewhere)!r} belong in {str(label_path(image))!r}"
    reason = reason_to_leave_out(len(labels.labels), problems)
    return f"{image}: {reason}" if reason else ""


def find_unread(
    images: Sequence[Path],
    listed: Iterable[Path],
    reader: LabelReader,
    marked: Container[Path] = (),
) -> Unread:
    """The label files that ``images`` may have missed; ``listed`` are all images of the dataset.

    Those ``marked`` are known to have boxes: their label files are not read once more.

    Where the label file of an image belongs, beside the image, and in the folders beside that
    of the images is looked for a name that differs in case, Unicode form or suffix; also for the
    files of VOC and LabelMe, for these also where the label file is empty: what was drawn later.
    """
    missing, empty = [], []
    first: dict[Path, Path] = {}
    shared = []
    for image in images:
        file = reader.label_of(image)
        if not file.is_file():
            missing.append(image)
            continue
        if first.setdefault(file, image) != image:
            shared.append((first[file], image))
        if image not in marked and not any(read_rows(file)):
            empty.append(image)
    if not (missing or empty):
        return Unread(shared=shared)
    search = Strays({reader.label_of(image) for image in listed}, reader.read, reader.label_of)
    strays = {image: search.find(image, LABELS) for image in missing}
    strays |= {image: search.find(image, TOOLS.keys()) for image in empty}
    elsewhere = {image: file for image, file in strays.items() if file is not None}
    rest = [image for image in missing if image not in elsewhere]
    ownerless = search.ownerless(rest, set(elsewhere.values()))
    folders = {file.parent for file in ownerless}
    doubtful = sum(reader.label_of(image).parent in folders for image in rest)
    return Unread(elsewhere, ownerless, doubtful, shared, reader.label_of)
