"""The command line where only the packages of a runner are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_RUN = """
import sys
for name in {missing}:
    sys.modules[name] = None  # an import fails, and none is found
from kdlnet_cli.main import main
sys.exit(main(sys.argv[1:]))
"""
MISSING = (
    *("torch", "torchvision", "safetensors", "scipy"),
    *("matplotlib", "faster_coco_eval", "jinja2"),
)


def run_without_torch(folder: Path, *arguments: object) -> tuple[int, Any, str]:
    """Exit code, document and stderr of ``kdlnet ARGUMENTS --json`` in ``folder``."""
    command = [sys.executable, "-c", _RUN.format(missing=MISSING), *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr
