"""Errors that are the user's to mend: one line with the value, what is allowed and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

AGAIN = "go on with --resume, or give the same command again where there is no last.pt yet"
"""What to do with a training that was cut off."""


class KdlnetError(Exception):
    """A problem the user can mend. The command line prints it as one line and exits with 1."""


class ConfigError(KdlnetError):
    """A setting that is unknown or out of range."""


class DataError(KdlnetError):
    """A dataset, image, label file or output folder that cannot be used as it is."""


class WeightsError(KdlnetError):
    """A weights file that is unreadable, unsafe or of another kind."""


class ProofFailed(KdlnetError):
    """A check the user asked for did not pass. The command line exits with 4."""


def unknown(
    kind: str,
    value: str,
    allowed: Iterable[str],
    hint: str = "",
    listed: Iterable[str] | None = None,
) -> str:
    """One line for an unknown name: the value, the closest match and the allowed ones.

    Of very many only those ``listed`` are named.

    >>> unknown("model", "lightnt", ["lightnet", "lightnet-n"])
    "unknown model 'lightnt'; did you mean 'lightnet'? Known: lightnet, lightnet-n"
    """
    names = list(allowed)
    folded = {name.casefold(): name for name in names}  # WBC is near to wbc
    close = [folded[name] for name in difflib.get_close_matches(value.casefold(), folded, n=1)]
    close = close or [name for name in names if name.rpartition(".")[2] == value]  # of a section
    guess = f"; did you mean {close[0]!r}?" if close else "."
    tail = f". {hint}" if hint else ""
    return f"unknown {kind} {value!r}{guess} Known: {', '.join(listed or names)}{tail}"
