from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kdlnet.errors import KdlnetError
from kdlnet.utils.lock import alone_in

HOLD = (
    "import sys, time; from pathlib import Path; from kdlnet.utils.lock import alone_in\n"
    "with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """Killed, not closed: nothing is left that would have to be removed by hand."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(KdlnetError, match="another kdlnet is at work"), alone_in(tmp_path):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with alone_in(tmp_path):
        pass


def test_a_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone_in(tmp_path):
        raise ZeroDivisionError
    with alone_in(tmp_path):
        pass
