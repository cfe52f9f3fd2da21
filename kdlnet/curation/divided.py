"""The groups of images by which datasets were divided: what is of one part is one draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdlnet.curation.groups import GROUPS, division_of, find_groups, image_names
from kdlnet.data.catalog import DatasetInfo
from kdlnet.errors import DataError
from kdlnet.events import Listener, Message
from kdlnet.utils.words import counted

Images = tuple[DatasetInfo, list[Path]]
"""A dataset and the images of it that were looked at."""


def names_of(parts: Sequence[Images]) -> list[str]:
    """How rules know the images of all parts, see :func:`~kdlnet.curation.groups.image_names`."""
    return [name for info, paths in parts for name in image_names(info, paths)]


def groups_of(parts: Sequence[Images], group_by: str | None, on_event: Listener) -> list[int]:
    """The group of each image of ``parts``, as numbers from 0.

    Without ``group_by`` they are grouped as ``kdlnet data split`` made the dataset, by the rule in
    its report, and else each stands for itself; that is told. Raises DataError as
    :func:`~kdlnet.curation.groups.find_groups` does.
    """
    if group_by is None:
        divided = [_divided(part) for part in parts]
        for message in dict.fromkeys(message for _, message in divided if message):
            on_event(message)
        groups = [group for found, _ in divided for group in found]
    else:
        paths = [path for _, images in parts for path in images]
        groups = find_groups(group_by, names_of(parts), paths)
    numbers: list[int] = np.unique(groups, return_inverse=True)[1].tolist()
    if len(groups) > 1 and not any(numbers):
        text = f"{group_by or 'data split'} puts all images into the group {groups[0]!r}"
        on_event(Message(f"{text}: no interval can be told from one group", "warning"))
    return numbers


def _divided(part: Images) -> tuple[list[str], Message | None]:
    """The groups that the dataset was divided by, and what is to be told of it.

    The division has a table of them, and their rule, which knows new images, too. Of several
    datasets as one no groups are known.
    """
    info, paths = part
    place, division = division_of(info.root)
    names, rule = names_of([part]), division.get("group_by")
    divided = [each.name for each in info.parts if division_of(each.root)[1].get("group_by")]
    if divided:
        text = f"data split divided {', '.join(divided)} by groups, which are not known of several"
        return names, Message(f"{text} datasets as one: each image stands for itself", "warning")
    if not isinstance(rule, str):
        return names, None
    for known in (str(place / GROUPS), rule):
        try:
            groups = find_groups(known, names, paths)
            return groups, Message(f"images are in groups as data split made them: '{rule}'")
        except DataError as error:
            reason = error
    text = f"the dataset was divided with --group-by '{rule}', which no longer holds: {reason}"
    return names, Message(f"{text}; each image stands for itself", "warning")


def tell_groups(groups: Sequence[object], split: str, on_event: Listener) -> None:
    """Warns where pictures share a part, and verdicts yet count each as a part of its own."""
    if (count := len(set(groups))) < len(groups):
        alike = f"the {len(groups)} images of {split} are {counted(count, 'group')}"
        how = "verdicts count each image as a part of its own: take what they prove for less"
        on_event(Message(f"{alike}, and pictures of one part are judged alike; {how}", "warning"))
