"""What weights say of their calibration: the limits that were asked for, and on what they rest.

The record comes out of a file, so that nothing of its form is taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdlnet.report.pages.answer import Limits
from kdlnet.report.pages.words import visible


def common_limits(calibrations: Sequence[Mapping[str, Any]]) -> Limits:
    """What all of several files were to keep, none where they differ."""
    found = {limits_of(calibration) for calibration in calibrations}
    return found.pop() if len(found) == 1 else Limits()


def limits_of(calibration: Mapping[str, Any]) -> Limits:
    """The shares that the thresholds were chosen to keep, over all classes."""
    goal, unsure = _part(calibration, "goal"), _part(calibration, "unsure")
    limit, caught = _share(goal.get("limit")), _share(unsure.get("recall"))
    if goal.get("kind") == "overkill":
        return Limits(None if caught is None else _rest(caught), limit)
    if goal.get("kind") != "recall":
        limit = None
    kept = caught if caught is not None else limit
    return Limits(None if kept is None else _rest(kept))


def chosen_on(calibration: Mapping[str, Any]) -> tuple[str, str] | None:
    """Dataset and split whose parts chose the thresholds; None where no calibration did."""
    data, split = calibration.get("data"), _part(calibration, "chosen_on").get("split")
    return (data, split) if isinstance(data, str) and isinstance(split, str) else None


def choosers(calibration: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """For each class whose threshold was chosen the digest of the images that did, if known.

    A record that does not tell classes apart is one of all.
    """
    classes = calibration.get("choosers")
    if not isinstance(classes, Mapping):
        classes = dict.fromkeys(names, _part(calibration, "chosen_on").get("digest"))
    found = {name: classes.get(name) for name in names}
    return {name: digest for name, digest in found.items() if digest and isinstance(digest, str)}


def words_of(calibrations: Sequence[Mapping[str, Any]]) -> str:
    """One sentence for the reader, "" where no calibration chose; of folds it is the mean."""
    places = dict.fromkeys(map(chosen_on, calibrations))
    if not any(places):
        return ""
    on = " and ".join(
        ", ".join(map(visible, place)) if place else "parts that are not named" for place in places
    )
    if len(places) == 1:
        return f"It was chosen on {on}."
    return f"It is the mean of the folds’ thresholds, which were chosen on {on}."


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _share(value: Any) -> float | None:
    """A number in [0, 1], else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        return None
    return float(value)


def _rest(share: float) -> float:
    return round(1 - share, 9)  # 1 - 0.99 is 0.010000000000000009
