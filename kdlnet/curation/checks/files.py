"""Checks of the image files themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from PIL import Image

from kdlnet.curation.checks.survey import ImageFacts, Survey, readable
from kdlnet.curation.findings import Finding
from kdlnet.curation.writer import split_command
from kdlnet.errors import DataError
from kdlnet.images.folder import by_suffix, unread_line
from kdlnet.images.read import header_of
from kdlnet.utils.manifest import report_of
from kdlnet.utils.paths import typed
from kdlnet.utils.words import counted

_TURNED = range(2, 9)
_SAME_FORMAT = {"MPO": "JPEG"}  # a camera's JPEG with a preview behind it
_WITH_ALPHA = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})
_LEAST_SIDE = 32
_LEAST_SPREAD = 1.0  # grey levels


def check_split(survey: Survey) -> Iterator[Finding]:
    """Splits that cannot be listed, a val that is not there, images that are in more than one."""
    for split, reason in survey.missing.items():
        fix = "correct data.yaml or its list file"
        yield Finding("split", "error", reason, split, fix=fix)
    if survey.names and "train" in survey.splits and "val" not in {*survey.splits, *survey.missing}:
        if "onto" in report_of(survey.root):
            message = "drawn defects alone, no split val: they are judged by real ones"
            fix = f"train on both: kdlnet train --data REAL --data {typed(survey.data)}"
            yield Finding("split", "info", message, fix=fix)
        else:
            message = "there is no split val, without which train does not begin"
            fix = split_command(survey.data, survey.root, "test" in survey.splits)
            yield Finding("split", "warning", message, fix=fix)
    for image in survey.images:
        if len(image.splits) > 1:
            message = f"is listed in {' and '.join(image.splits)}"
            yield Finding(
                "split", "error", message, image.split, image.path, list(image.splits), "keep one"
            )


def check_unreadable(survey: Survey) -> Iterator[Finding]:
    """Files that are truncated, empty, or no images."""
    for image in survey.images:
        if image.error and _pages(image) == 1:
            yield Finding(
                "unreadable",
                "error",
                image.error,
                image.split,
                image.path,
                fix="mend it, or remove it and its row in the list",
            )


def check_pages(survey: Survey) -> Iterator[Finding]:
    """Files with several pages or pictures, which are not read."""
    for image in survey.images:
        pages = _pages(image)
        if pages > 1:
            name = "pages" if image.header.format == "TIFF" else "pictures"
            message = f"holds {pages} {name}: train and val leave it out, predict skips it"
            fix = "save each as a file of its own, with its own labels"
            yield Finding("pages", "warning", message, image.split, image.path, pages, fix)


def _pages(image: ImageFacts) -> int:
    """The pictures of a file that could not be read; one that could has one."""
    try:
        return header_of(image.path).pictures if image.error else 1
    except (DataError, OSError, ValueError):
        return 1


def check_suffix(survey: Survey) -> Iterator[Finding]:
    """Files whose content is of another format than their name says, or which is not read."""
    if survey.pictures:
        message = unread_line(survey.pictures)
        yield Finding("suffix", "warning", message, value=by_suffix(survey.pictures))
    Image.init()
    known = Image.registered_extensions()
    for image in survey.images:
        named = known.get(image.path.suffix.lower(), "")
        found = _SAME_FORMAT.get(image.header.format, image.header.format)
        if found and named and found != named:
            message = f"is a {found} file named {image.path.suffix}"
            fix = "rename it; some tools refuse it or read it differently"
            yield Finding("suffix", "warning", message, image.split, image.path, found, fix)


def check_rotation(survey: Survey) -> Iterator[Finding]:
    """Images that are shown turned or mirrored by their EXIF orientation."""
    for image in survey.images:
        if image.header.orientation in _TURNED:
            yield Finding(
                "rotation",
                "warning",
                f"EXIF orientation {image.header.orientation}: kdlnet turns it before use, "
                "a tool that ignores EXIF drew its boxes on the image as stored",
                image.split,
                image.path,
                image.header.orientation,
                "look at its boxes; save it upright if they are off",
            )


def check_size(survey: Survey) -> Iterator[Finding]:
    """Tiny images one by one, and how many sizes there are."""
    sizes = Counter(pixels.size for _, pixels in readable(survey.images))
    for image, pixels in readable(survey.images):
        height, width = pixels.size
        if min(pixels.size) < _LEAST_SIDE:
            message = f"only {width} x {height} pixels"
            fix = "remove it if it is a thumbnail"
            yield Finding("size", "warning", message, image.split, image.path, [height, width], fix)
    if len(sizes) > 1:
        (height, width), most = sizes.most_common(1)[0]
        heights, widths = zip(*sizes, strict=True)
        message = (
            f"{len(sizes)} sizes, {min(widths)}-{max(widths)} wide and {min(heights)}-"
            f"{max(heights)} high; the most frequent is {width} x {height} ({most} images)"
        )
        yield Finding("size", "info", message, value=len(sizes))


def check_mode(survey: Survey) -> Iterator[Finding]:
    """Bit depths and channels that differ, transparency, grey stored as colour, flat images."""
    depths = Counter(pixels.dtype for _, pixels in readable(survey.images))
    common = depths.most_common(1)[0][0] if depths else ""
    for image, pixels in readable(survey.images):
        if pixels.dtype != common:
            message = f"is {pixels.dtype}, {depths[common]} others are {common}"
            fix = "give all images one bit depth"
            yield Finding("mode", "error", message, image.split, image.path, pixels.dtype, fix)
        if pixels.spread < _LEAST_SPREAD:
            message = f"is flat: every pixel is about {pixels.mean:.0f}"
            fix = "remove it if the camera or the light was off"
            if boxes := len(image.labels.labels):
                message += f", and it has {counted(boxes, 'box', 'boxes')}"
                fix += "; keep it if a part without light is the defect"
            yield Finding("mode", "warning", message, image.split, image.path, pixels.mean, fix)
        if image.header.mode in _WITH_ALPHA:
            message = f"has transparency ({image.header.mode}), which is dropped"
            yield Finding("mode", "info", message, image.split, image.path, image.header.mode)
    grey = sum(pixels.grey for _, pixels in readable(survey.images))
    stored = sum(pixels.grey and pixels.channels == 3 for _, pixels in readable(survey.images))
    if 0 < grey < sum(depths.values()):
        message = f"{grey} images are grey, {sum(depths.values()) - grey} have colour"
        yield Finding("mode", "info", message, value=grey)
    elif stored:
        message = f"all {grey} images are grey, {stored} of them stored as three equal channels"
        fix = "channels: 1 in data.yaml trains a model with one input channel"
        yield Finding("mode", "info", message, value=stored, fix=fix)
