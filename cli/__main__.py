"""``kdlnet`` and ``python -m kdlnet_cli``: hear Ctrl-C before the commands are imported."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from .stops import STOPS


def run() -> None:
    """The process of a command, which ends it."""
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    if sys.platform != "win32":  # a team holds them back until here
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    from .main import run as run_command

    run_command()


def _end(_number: int, _frame: object) -> None:
    """Ends at once what has not begun: no library breaks in the middle of its import."""
    lines = [(2, b"interrupted\n")]
    if "--json" in sys.argv:
        lines.append((1, b'{"error": {"code": 130, "message": "interrupted"}}\n'))
    for stream, line in lines if os.environ.get("RANK", "0") == "0" else ():
        with contextlib.suppress(OSError):  # closed, or a pipe whose reader was stopped, too
            os.write(stream, line)
    os._exit(130)


if __name__ == "__main__":
    run()
