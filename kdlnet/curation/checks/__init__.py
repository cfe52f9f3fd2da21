"""What is wrong with a dataset before any training.

A check is a function of a :class:`Survey` that yields findings; ``CHECKS`` holds them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kdlnet.curation.checks import advice, boxes, drift, files, leaks
from kdlnet.curation.checks.survey import Survey
from kdlnet.curation.findings import SEVERITIES, Finding
from kdlnet.errors import DataError, unknown

CHECKS: dict[str, Callable[[Survey], Iterator[Finding]]] = {
    "conflicting-labels": leaks.check_conflicts,
    "split": files.check_split,
    "unreadable": files.check_unreadable,
    "pages": files.check_pages,
    "exact-duplicate": leaks.check_exact,
    "near-duplicate": leaks.check_near,
    "group": leaks.check_groups,
    "suffix": files.check_suffix,
    "rotation": files.check_rotation,
    "size": files.check_size,
    "mode": files.check_mode,
    "labels": boxes.check_missing,
    "orphans": boxes.check_orphans,
    "shared-labels": boxes.check_shared,
    "rows": boxes.check_rows,
    "duplicate-box": boxes.check_repeated,
    "small-box": boxes.check_small,
    "classes": boxes.check_classes,
    "drift": drift.check_drift,
    "advice": advice.check_advice,
}


def choose_checks(names: Sequence[str] = ()) -> list[str]:
    """``names`` in the order of CHECKS, () for all. Raises DataError for an unknown one."""
    for name in names:
        if name not in CHECKS:
            raise DataError(unknown("check", name, CHECKS))
    return [name for name in CHECKS if not names or name in names]


def run_checks(survey: Survey, names: Sequence[str] = ()) -> list[Finding]:
    """All findings, worst first, those of one severity in the order of CHECKS.

    ``names`` are the checks to run, () all. Raises DataError for an unknown one.
    """
    found = [finding for name in choose_checks(names) for finding in CHECKS[name](survey)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
