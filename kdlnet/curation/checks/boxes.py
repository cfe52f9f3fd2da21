"""Checks of the labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.checks.survey import ImageFacts, Pixels, Survey, readable
from kdlnet.curation.findings import Finding, Severity
from kdlnet.curation.groups import name_below
from kdlnet.data.labels import FEW, ImageLabels, count_boxes, reason_to_leave_out
from kdlnet.data.listing import label_path
from kdlnet.data.other_tools import conversion
from kdlnet.metrics.result import box_iou
from kdlnet.utils.text import plain
from kdlnet.utils.words import counted

LEAST_SIDE, LEAST_SIZE = 3.0, 8.0  # pixels of the network input; size is the root of the area
_SAME = 0.9  # IoU from which two boxes are one
_UNBALANCED = 10.0
_DESCRIBE = "give the folder a data.yaml (docs/files.md)"


def check_missing(survey: Survey) -> Iterator[Finding]:
    """Images without label files, and splits without any box."""
    for split in survey.splits if survey.names else []:
        images = survey.of(split)
        elsewhere = survey.unread.elsewhere  # another check names them
        absent = [im for im in images if not im.labelled and im.path not in elsewhere]
        bare = [image for image in images if not len(image.labels.labels)]
        empty = [image.path for image in bare if image.labelled and not image.problems]
        faulty = any(image.problems for image in bare)
        if not any(len(image.labels.labels) for image in images):
            message = f"no box in all {len(images)} images of {split}"
            fix = (
                f"the labels of {survey.below(images[0])} belong into {label_path(images[0].path)}"
            )
            if faulty or not absent:
                fix = "correct the rows: 'rows' says how" if faulty else "draw the defects"
            yield Finding("labels", "error", message, split, value=len(images), fix=fix)
        elif absent:
            message = f"{len(absent)} of {len(images)} images have no label file: taken as good"
            fix = "give good parts an empty file, so that a forgotten one shows"
            yield Finding("labels", "info", message, split, absent[0].path, len(absent), fix)
        if 0 < len(empty) < len(images):
            message = f"{len(empty)} of {len(images)} images have an empty label file: good parts"
            yield Finding("labels", "info", message, split, empty[0], len(empty))


def check_orphans(survey: Survey) -> Iterator[Finding]:
    """Label files that nothing reads: those not where they belong, and those of no image.

    Names that differ only in their Unicode form (NFC, as Linux and Windows write it, or NFD, as
    macOS may) look the same and are not found, so they are told in ASCII.
    """
    if not survey.names:
        yield from _labels_beside(survey)
        return
    by_path = {image.path: image for image in survey.images}
    for path, file in survey.unread.elsewhere.items():
        image, wanted = by_path[path], label_path(path)
        found, asked = file.name, wanted.name
        if file.parent != wanted.parent:
            found, asked = (name_below(place, survey.root) for place in (file, wanted))
        message = f"its labels {found!a} are not found: the image asks for {asked!a}"
        fix = "move or rename the label file; of names that look the same, bring both to NFC"
        if command := conversion(file):
            message, fix = f"its labels {found!a} are another tool's", f"use {command}"
        yield Finding("orphans", "error", message, image.split, path, file.name, fix)
    known = {label_path(path) for path in by_path}
    passed = known | set(survey.unread.elsewhere.values())
    folders = {file.parent for file in known} - {path.parent for path in by_path}
    lost = [
        file
        for folder in sorted(folders)
        for file in sorted(folder.glob("*"))
        if file.suffix.lower() == ".txt" and file not in passed
    ]
    lost = [file for file in lost if file.name != "classes.txt"]
    ownerless = survey.unread.ownerless  # those too that lie beside images
    if ownerless:  # images may have been renamed without them
        files = counted(len(ownerless), "label file")
        message = f"{files} of no image, first {ownerless[0].name}; "
        message += f"{counted(survey.unread.missing, 'image')} without one: taken as good"
        fix = "rename those of renamed images, too, delete those of images that are gone"
        yield Finding("orphans", "error", message, value=len(ownerless), fix=fix)
    if lost := [file for file in lost if file not in ownerless]:
        files = counted(len(lost), "label file")
        message = f"{files} without a listed image, first {lost[0].name}"
        fix = "add their images to a split, or correct their names"
        yield Finding("orphans", "warning", message, value=len(lost), fix=fix)


def _labels_beside(survey: Survey) -> Iterator[Finding]:
    """Label files of a plain folder, none of which is read: one finding each way, ours last."""
    of = f"of {counted(len(survey.images), 'image')}"
    beside: dict[str, list[tuple[Path, Path]]] = defaultdict(list)
    for image, file in survey.unread.elsewhere.items():
        beside[conversion(file)].append((image, file))
    for command in sorted(beside, reverse=True):
        image, file = beside[command][0]
        message = f"{len(beside[command])} {of} have labels that are not read, first {file.name!a}"
        fix = f"use {command}" if command else _DESCRIBE
        yield Finding("orphans", "warning", message, None, image, len(beside[command]), fix)
    if survey.named:
        image, (file, command) = next(iter(survey.named.items()))
        name = name_below(file, survey.root)
        message = f"{len(survey.named)} {of} are named in {name!a}, another tool's labels"
        fix = f"they are not read: use {command}"
        yield Finding("orphans", "warning", message, None, image, len(survey.named), fix)


def check_shared(survey: Survey) -> Iterator[Finding]:
    """Images whose names differ in the suffix alone: the boxes of one are given to the other."""
    facts = {image.path: image for image in survey.images}
    for first, second in survey.unread.shared:
        image, value = facts[second], survey.below(facts[first])
        if image.labelled:
            message = f"reads the label file of {value}: {label_path(second).name}"
            fix = "remove one of the two images, or give each a name of its own with its labels"
            yield Finding("shared-labels", "error", message, image.split, image.path, value, fix)


def check_rows(survey: Survey) -> Iterator[Finding]:
    """Rows that training drops or clips; repeated rows are the next check's."""
    for image in survey.images:
        grave = reason_to_leave_out(len(image.labels.labels), image.problems)
        for problem in image.problems:
            if problem.reason == "duplicate":
                continue
            fix = ""
            if problem.action == "dropped":
                fix = problem.advice or "correct the row"
                fix += "; until then the image is left out of training and val" if grave else ""
            yield Finding(
                "rows",
                "warning" if problem.action == "dropped" else "info",
                f"{problem.place(problem.file.name)}: {problem.action}: "
                f"{problem.reason}: {problem.value}",
                image.split,
                image.path,
                problem.reason,
                fix,
            )


def check_repeated(survey: Survey) -> Iterator[Finding]:
    """Boxes that are there twice: the same row, or nearly the same box with any class."""
    for image in survey.images:
        rows = sum(problem.reason == "duplicate" for problem in image.problems)
        same, other = _overlapping(image.labels)
        if rows + same:
            equal = f"{rows} equal row{'s' * (rows > 1)}, which training reads once"
            near = f"{same} nearly equal box{'es' * (same > 1)}, which training counts twice"
            told = "; ".join([equal] * (rows > 0) + [near] * (same > 0))
            message = f"boxes that are there twice: {told}"
            fix = "remove one of each"
            yield Finding(
                "duplicate-box", "warning", message, image.split, image.path, rows + same, fix
            )
        if other:
            message = f"{other} boxes carry two classes"
            fix = "decide for one class, or merge the two"
            yield Finding("duplicate-box", "warning", message, image.split, image.path, other, fix)


def check_small(survey: Survey) -> Iterator[Finding]:
    """Boxes of a few pixels once the image is resized: many of them are missed."""
    height, width = survey.image_size
    for image, pixels in readable(survey.images):
        sides = box_sides(image, pixels) * scale(pixels.size, survey.image_size)
        small = too_small(sides)
        if not small.any():
            continue
        growths = growth(sides[small])
        worst = sides[small][growths.argmax()]
        needed = float(growths.max()) * max(height, width)
        native = max(pixels.size)
        fix = f"--image-size {32 * int(np.ceil(needed / 32))}"
        if needed > 1.5 * native:
            fix = "few pixels in the image itself: photograph it from nearer, or check the box"
        elif needed > 1280:
            fix += " or --tile 640"
        yield Finding(
            "small-box",
            "warning",
            f"too small at {height}x{width}: {int(small.sum())} of "
            f"{counted(len(small), 'box', 'boxes')}, the smallest {worst[0]:.1f} x {worst[1]:.1f}",
            image.split,
            image.path,
            int(small.sum()),
            fix,
        )


def check_classes(survey: Survey) -> Iterator[Finding]:
    """Classes that a split lacks, are rare or named alike, and how far apart their numbers are."""
    every = count_boxes((image.labels for image in survey.images), survey.names)
    used = {name for name, count in every.items() if count}
    yield from _alike(survey.names)
    for name in survey.names if used else ():
        if name not in used:
            message = f"class {name} has no box in any split: a model never finds it"
            fix = "collect some, or let it stand: it harms no other class"
            yield Finding("classes", "warning", message, value=name, fix=fix)
    for split in survey.splits if used else []:
        counts = count_boxes((image.labels for image in survey.of(split)), survey.names)
        counts = {name: count for name, count in counts.items() if name in used}
        if not any(counts.values()):
            continue
        for name, count in counts.items():
            if not count:
                message = f"class {name} has no box in {split}"
                fix = "collect some, or split again: kdlnet data split keeps classes in proportion"
                severity: Severity = "error" if split == "train" else "warning"
                yield Finding("classes", severity, message, split, value=name, fix=fix)
            elif count < FEW:
                message = f"class {name} has {count} {'boxes' if count > 1 else 'box'} in {split}"
                fix = "collect more of it: its figures will be chance"
                yield Finding("classes", "warning", message, split, value=count, fix=fix)
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        message, fix, severity = f"boxes: {listed}", "", "info"
        ranked = sorted((count, name) for name, count in counts.items() if count)
        (fewest, rare), (most, common) = ranked[0], ranked[-1]
        times = most / fewest
        if split == "train" and times > _UNBALANCED:
            message = f"{common} has {times:.0f} times as many boxes as {rare}; {message}"
            fix = f"collect more of {rare}, and read its own AP beside that of all classes"
            severity = "warning"
        yield Finding("classes", severity, message, split, value=counts, fix=fix)


def _alike(names: Sequence[str]) -> Iterator[Finding]:
    """Classes that people take for one, as where two have labelled."""
    called: dict[str, list[str]] = defaultdict(list)
    for name in names:
        called["".join(plain(name).split())].append(name)
    for same in called.values():
        if len(same) > 1:
            shown = ", ".join(map(repr, same))
            message = f"classes {shown} differ in case, blanks or Unicode form alone"
            fix = "if they are one kind of defect, give all its boxes one class"
            yield Finding("classes", "warning", message, value=same, fix=fix)


def box_sides(image: ImageFacts, pixels: Pixels) -> NDArray[np.float64]:
    """(N, 2) width and height of the boxes in pixels of the original image."""
    boxes = image.labels.boxes
    height, width = pixels.size
    sides: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]) * (width, height)
    return sides


def scale(size: tuple[int, int], image_size: tuple[int, int]) -> float:
    """Factor of the letterbox from an image of ``size`` (H, W) to ``image_size`` (H, W)."""
    return min(image_size[0] / size[0], image_size[1] / size[1])


def too_small(sides: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) of (N, 2) sides in pixels of the network input: which are below the least size."""
    found: NDArray[np.bool_] = growth(sides) > 1
    return found


def growth(sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of (N, 2) sides above 0: the factor that takes a box to the least size."""
    sides = sides.clip(min=1e-6)  # the product of two next to nothing would be 0
    needed: NDArray[np.float64] = np.maximum(
        LEAST_SIDE / sides.min(axis=1, initial=np.inf), LEAST_SIZE / np.sqrt(sides.prod(axis=1))
    )
    return needed


def _overlapping(labels: ImageLabels) -> tuple[int, int]:
    """Pairs of boxes above the IoU of one box: of the same class, of two classes."""
    boxes = labels.boxes
    if len(boxes) < 2:
        return 0, 0
    one = np.triu(box_iou(boxes, boxes) >= _SAME, 1)
    alike = labels.labels[:, None] == labels.labels[None, :]
    return int((one & alike).sum()), int((one & ~alike).sum())
