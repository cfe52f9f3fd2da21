"""Checks for images that are there twice, within a split and across splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from kdlnet.curation.checks.survey import Survey
from kdlnet.curation.duplicates import DuplicatePair
from kdlnet.curation.findings import Finding, Severity
from kdlnet.utils.words import counted

_LARGE_OVERLAP = 0.5
_LISTED = 50  # members of a group that a finding names
_SPLIT = "split again by groups: kdlnet data split --group-by DIR/groups.csv of this check's --out"


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
    same, a warning when they overlap by less.
    """
    order = {split: number for number, split in enumerate(survey.splits)}
    found: dict[int, list[tuple[DuplicatePair, int]]] = defaultdict(list)
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
            "error" if pair.overlap >= _LARGE_OVERLAP else "warning",
            f"shares {pair.overlap:.0%} with {survey.below(other)} in {other.split}{more}",
            image.split,
            image.path,
            {"other": survey.below(other), "overlap": pair.overlap, "agreeing": pair.score},
            _SPLIT,
        )


def check_groups(survey: Survey) -> Iterator[Finding]:
    """Groups of images of one scene: an error for each that is spread over splits; their number."""
    for group in survey.groups:
        images = [survey.images[position] for position in group]
        counts = Counter(image.split for image in images)
        if len(counts) < 2:
            continue
        listed = ", ".join(f"{split} {counts[split]}" for split in survey.splits if counts[split])
        names = [survey.below(image) for image in images[:_LISTED]]
        message = f"{len(group)} images of one scene are spread over splits: {listed}"
        yield Finding("group", "error", message, None, images[0].path, names, _SPLIT)
    if survey.groups:
        count, largest = sum(map(len, survey.groups)), max(map(len, survey.groups))
        groups = counted(len(survey.groups), "group")
        message = (
            f"{count} of {len(survey.images)} images are in {groups}, each of one scene, the "
            f"largest of {largest}"
        )
        fix = "keep groups whole when splitting: there are fewer independent parts than images"
        if 2 * largest > len(survey.images) > 2:
            fix = "if these are different parts on one fixture, the groups mean nothing: group by "
            fix += "a rule on the file name instead"
        yield Finding("group", "info", message, value=len(survey.groups), fix=fix)
