"""Checks for images that are there twice, within a split and across splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from kdlnet.curation.checks.survey import ImageFacts, Survey
from kdlnet.curation.duplicates import DuplicatePair
from kdlnet.curation.findings import Finding, Severity
from kdlnet.curation.groups import COPIES
from kdlnet.data.labels import ImageLabels, count_boxes, reason_to_leave_out
from kdlnet.metrics.result import box_iou
from kdlnet.utils.words import counted

_LARGE_OVERLAP = 0.5
_ONE_DEFECT = 0.5  # IoU from which two boxes are drawn around the same
_LISTED = 50  # members of a group that a finding names
_SPLIT = "split again by groups: kdlnet data split --group-by DIR/groups.csv of this check's --out"
_COPIES = "different parts on one fixture? kdlnet data split --group-by copies"
_DIVIDED = "different parts on one fixture? divided by copies, they may stay"


def check_conflicts(survey: Survey) -> Iterator[Finding]:
    """Images with equal pixels whose labels disagree: a model cannot learn both.

    An error when their classes differ (a good part has none), a warning when only boxes have no
    counterpart. Near duplicates are left alone: another light may show another defect.
    """
    copies: dict[int, list[ImageFacts]] = {}
    for pair in survey.pairs if survey.names else []:
        if pair.kind == "exact":
            same = copies.setdefault(pair.first, [survey.images[pair.first]])
            same.append(survey.images[pair.second])
    for same in copies.values():
        known = [image for image in same if _understood(survey, image)]
        for image in known[1:]:
            first = known[0]
            if _agree(first.labels, image.labels):
                continue
            here, there, name = _said(survey, image), _said(survey, first), survey.below(first)
            places = " at other places" if here == there else ""
            yield Finding(
                "conflicting-labels",
                "warning" if here.keys() == there.keys() else "error",
                f"{_words(here, image)} here, {_words(there, first)}{places} in {name}: the pixels "
                "are the same",
                image.split,
                image.path,
                {"other": name, "boxes": here, "boxes_of_other": there},
                "keep the image whose labels are right: a model cannot learn both",
            )


def check_exact(survey: Survey) -> Iterator[Finding]:
    """Images with equal pixels: an error across splits, else a warning."""
    for pair in survey.pairs:
        if pair.kind != "exact":
            continue
        first, second = survey.images[pair.first], survey.images[pair.second]
        crosses = first.split != second.split
        message = f"has the pixels of {survey.below(first)}" + crosses * f" in {first.split}"
        fix = "keep one of the two" + crosses * ": the test result counts what was learned by heart"
        severity: Severity = "error" if crosses else "warning"
        value = survey.below(first)
        yield Finding("exact-duplicate", severity, message, second.split, second.path, value, fix)


def check_near(survey: Survey) -> Iterator[Finding]:
    """Images that show what an image of another split shows: one finding for each such image.

    It is told of the image in the later split. An error when most of the smaller picture is the
    same, a warning when they overlap by less or the set was divided by copies, which says that they
    are different parts.
    """
    order = {split: number for number, split in enumerate(survey.splits)}
    found: dict[int, list[tuple[DuplicatePair, int]]] = defaultdict(list)
    group_of = {position: group for group in survey.groups for position in group}
    for pair in survey.pairs:
        a, b = (order[survey.images[position].split] for position in (pair.first, pair.second))
        if pair.kind == "near" and a != b:
            later, earlier = (pair.first, pair.second) if a > b else (pair.second, pair.first)
            found[later].append((pair, earlier))
    for later, others in found.items():
        pair, earlier = max(others, key=lambda other: (other[0].overlap, other[0].score))
        image, other = survey.images[later], survey.images[earlier]
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        yield Finding(
            "near-duplicate",
            _severity(survey) if pair.overlap >= _LARGE_OVERLAP else "warning",
            f"shares {pair.overlap:.0%} with {survey.below(other)} in {other.split}{more}",
            image.split,
            image.path,
            {"other": survey.below(other), "overlap": pair.overlap, "agreeing": pair.score},
            _apart(survey, group_of[later]),
        )


def check_groups(survey: Survey) -> Iterator[Finding]:
    """Groups of images of one scene, and their number: each that is spread over splits is an error.

    A warning in a set that was divided by copies.
    """
    for group in survey.groups:
        images = [survey.images[position] for position in group]
        counts = Counter(image.split for image in images)
        if len(counts) < 2:
            continue
        listed = ", ".join(f"{split} {counts[split]}" for split in survey.splits if counts[split])
        names = [survey.below(image) for image in images[:_LISTED]]
        message = f"{len(group)} images of one scene are spread over splits: {listed}"
        fix = _apart(survey, group)
        yield Finding("group", _severity(survey), message, None, images[0].path, names, fix)
    if survey.groups:
        count, largest = sum(map(len, survey.groups)), max(survey.groups, key=len)
        groups = counted(len(survey.groups), "group")
        message = (
            f"{count} of {len(survey.images)} images are in {groups}, each of one scene, the "
            f"largest of {len(largest)}"
        )
        fix = "keep groups whole when splitting: there are fewer independent parts than images"
        if case := _fixture(survey, largest):
            rule = ", or a rule on the file name" if case == _COPIES else ""
            fix = f"{case}{rule}; else keep groups whole"
        yield Finding("group", "info", message, value=len(survey.groups), fix=fix)


def _severity(survey: Survey) -> Severity:
    """Of images that look alike in several splits."""
    return "warning" if survey.group_by == COPIES else "error"


def _apart(survey: Survey, group: list[int]) -> str:
    """What to do about images of one scene that are in several splits."""
    case = _fixture(survey, group)
    return f"{case}; else --group-by groups.csv of this check's --out" if case else _SPLIT


def _fixture(survey: Survey, group: list[int]) -> str:
    """What to do if parts on one fixture look like one scene, "" where a group is no such case.

    Such a group is most of the set.
    """
    if not 2 * len(group) > len(survey.images) > 2:
        return ""
    return _DIVIDED if survey.group_by == COPIES else _COPIES


def _understood(survey: Survey, image: ImageFacts) -> bool:
    """Whether its labels are all that was drawn: other checks tell where not."""
    if image.path in survey.unread.elsewhere:
        return False
    return reason_to_leave_out(len(image.labels.labels), image.problems) is None


def _said(survey: Survey, image: ImageFacts) -> dict[str, int]:
    """The classes of the image's boxes, how many each."""
    counts = count_boxes([image.labels], survey.names)
    return {name: count for name, count in counts.items() if count}


def _words(said: dict[str, int], image: ImageFacts) -> str:
    if said:
        return ", ".join(f"{name} {count}" for name, count in said.items())
    return "a good part" if image.labelled else "a good part (no label file)"


def _agree(a: ImageLabels, b: ImageLabels) -> bool:
    """Whether each box of one has a box of its class at its place in the other, both ways."""
    same = (box_iou(a.boxes, b.boxes) >= _ONE_DEFECT) & (a.labels[:, None] == b.labels[None, :])
    return bool(same.any(axis=0).all() and same.any(axis=1).all())
