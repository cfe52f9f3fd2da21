"""``python -m kdlnet_cli``."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    code = main()
    # A Ctrl-C that ended the exec() of a text, as exporters have them, is remembered: in place of
    # exiting with the code, `python -m` would kill itself by SIGINT. The next such text forgets it.
    exec("")
    sys.exit(code)
