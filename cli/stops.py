"""The signals by which people and their systems stop a command, and its processes."""

from __future__ import annotations

import signal
import sys
from typing import Any

OWN_GROUP: dict[str, Any]
"""For subprocess: what it begins does not hear the Ctrl-C of this process."""

if sys.platform == "win32":
    from subprocess import CREATE_NEW_PROCESS_GROUP

    STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)
    OWN_GROUP = {"creationflags": CREATE_NEW_PROCESS_GROUP}
    FOR_A_GROUP = signal.CTRL_BREAK_EVENT
else:
    STOPS = (signal.SIGINT, signal.SIGTERM)
    OWN_GROUP = {"process_group": 0}
    FOR_A_GROUP = signal.SIGINT
