"""What a division of a dataset gives each part, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdlnet.curation.splits import groups_of_classes
from kdlnet.utils.words import counted

LEFT_OUT_NAME = "left-out.txt"


@dataclass(frozen=True)
class PartCounts:
    """What a part of a dataset holds. ``good`` counts its images without boxes or doubts.

    ``classes`` counts the images that hold each class. ``share`` is what was asked for, of the
    images that were divided; None for a split that was kept.
    """

    share: float | None
    images: int
    good: int
    boxes: int
    groups: int
    classes: dict[str, int]


@dataclass(frozen=True)
class SplitReport:
    """How a dataset was divided. ``parts`` are train, val, test or fold-1, fold-2, ...

    ``files`` are the data.yaml written into ``folder``. ``groups`` counts those that were divided,
    ``class_groups`` those with each class. ``deviation`` is, for "images", "good" and each class,
    how far the share of a part is from the one asked for where it is farthest, 0-1. ``left_out``
    counts images whose group is in the kept split. ``warnings`` are lines for people.
    """

    folder: Path
    files: tuple[Path, ...]
    parts: dict[str, PartCounts]
    groups: int
    class_groups: dict[str, int]
    deviation: dict[str, float]
    left_out: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        files = [str(file) for file in self.files]
        return {**asdict(self), "folder": str(self.folder), "files": files}


@dataclass(frozen=True)
class Images:
    """All images of a dataset: path, name below the root, classes of the boxes, group.

    ``doubtful`` are those that training leaves out: without a box they are no good parts.
    ``warnings`` are lines about all labels.
    """

    paths: list[Path]
    names: list[str]
    labels: list[list[int]]
    groups: list[str]
    doubtful: list[bool]
    warnings: list[str]

    def at(self, positions: Sequence[int]) -> Images:
        """Those at ``positions``, with all warnings."""
        return Images(
            [self.paths[i] for i in positions],
            [self.names[i] for i in positions],
            [self.labels[i] for i in positions],
            [self.groups[i] for i in positions],
            [self.doubtful[i] for i in positions],
            self.warnings,
        )

    def kinds(self) -> list[list[int]]:
        """What is to be shared out: classes, and -1 of doubtful images that have none."""
        return [
            found or [-1] * doubt for found, doubt in zip(self.labels, self.doubtful, strict=True)
        ]


@dataclass(frozen=True)
class Division:
    """Positions of images by part, the share of each part, and what was not divided."""

    parts: dict[str, list[int]]
    shares: dict[str, float]
    kept: dict[str, list[int]]
    left_out: list[int]


def report_division(
    out: Path,
    files: tuple[Path, ...],
    classes: Sequence[str],
    images: Images,
    division: Division,
    keep: str | None,
) -> SplitReport:
    """Counts, deviations and warnings; ``keep`` names the split that was not divided."""
    parts = {
        name: _count(images, part, classes, division.shares.get(name))
        for name, part in {**division.parts, **division.kept}.items()
    }
    divided = images.at([image for part in division.parts.values() for image in part])
    held = groups_of_classes(divided.labels, divided.groups, len(classes))
    class_groups = dict(zip(classes, held, strict=False))
    return SplitReport(
        folder=out,
        files=files,
        parts=parts,
        groups=len(set(divided.groups)),
        class_groups=class_groups,
        deviation=_deviation(parts, classes),
        left_out=len(division.left_out),
        warnings=tuple(_warnings(parts, class_groups, len(division.left_out), keep, images)),
    )


def _count(
    images: Images, part: Sequence[int], classes: Sequence[str], share: float | None
) -> PartCounts:
    chosen = images.at(part)
    return PartCounts(
        share=share,
        images=len(part),
        good=sum(not kinds for kinds in chosen.kinds()),
        boxes=sum(map(len, chosen.labels)),
        groups=len(set(chosen.groups)),
        classes={
            name: sum(k in found for found in chosen.labels) for k, name in enumerate(classes)
        },
    )


def _deviation(parts: Mapping[str, PartCounts], classes: Sequence[str]) -> dict[str, float]:
    divided = [part for part in parts.values() if part.share is not None]
    rows = {
        "images": [part.images for part in divided],
        "good": [part.good for part in divided],
        **{name: [part.classes[name] for part in divided] for name in classes},
    }
    return {
        name: max(
            abs(count / max(1, sum(counts)) - (part.share or 0.0)) if sum(counts) else 0.0
            for count, part in zip(counts, divided, strict=True)
        )
        for name, counts in rows.items()
    }


def _warnings(
    parts: Mapping[str, PartCounts],
    class_groups: Mapping[str, int],
    left_out: int,
    keep: str | None,
    images: Images,
) -> list[str]:
    lines = []
    if left_out:
        lines.append(
            f"{left_out} images are left out, because their groups have images in {keep}: see "
            f"{LEFT_OUT_NAME}"
        )
    divided = {name: part for name, part in parts.items() if part.share is not None}
    for name, groups in class_groups.items():
        without = [part for part, counts in divided.items() if not counts.classes[name]]
        if not any(counts.classes[name] for counts in parts.values()):
            lines.append(f"class {name!r} has no box in {', '.join(parts)}: a model never finds it")
        elif groups < len(divided):
            lines.append(
                f"class {name!r} is in {counted(groups, 'group')}, too few for {len(divided)} "
                f"parts: none of it in {', '.join(without)}"
            )
        elif without:
            lines.append(f"class {name!r}: none of it in {', '.join(without)}")
    return [*lines, *images.warnings]
