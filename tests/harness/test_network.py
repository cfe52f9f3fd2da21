"""No connection is made, at import or by a verb: factories have no network, data stays there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import importlib, pkgutil, sys

def listen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print(event, arguments, flush=True)

sys.addaudithook(listen)
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError:
    pass
"""


def test_imports_open_no_connection(tmp_path: Path) -> None:
    """Of every module; the one that the script itself tries shows that it listens."""
    line = [sys.executable, "-c", SCRIPT, "kdlnet", "kdlnet_cli"]
    run = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert run.returncode == 0, run.stderr
    tries = run.stdout.splitlines()
    assert tries
    assert all("127.0.0.1" in one and "9" in one for one in tries), tries
