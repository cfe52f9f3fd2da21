"""``python -m kdlnet_cli``."""

from __future__ import annotations

from .main import run

if __name__ == "__main__":
    run()
