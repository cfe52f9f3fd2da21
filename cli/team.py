"""``--devices N``: one command done by N processes, which begin, are watched and end as one.

The processes are told of each other as torchrun does it, so that the library sees no difference.
Process 0 alone shows anything; what another one says when it fails is kept until it is known
whether process 0 has said it, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import typer

from kdlnet.errors import AGAIN
from kdlnet.utils.threads import usable_threads

from .errors import LOST, TEAM, UsageProblem
from .stops import FOR_A_GROUP, OWN_GROUP, STOPS

if sys.platform == "win32":
    import ctypes

_GRACE = 15.0  # seconds for the others once one of them has failed
_LOOK = 0.1
_LAUNCHED = "TORCHELASTIC_RUN_ID"  # set by torchrun
_SYNCHRONIZE, _FOR_EVER = 0x00100000, 0xFFFFFFFF  # of Windows: a right, and milliseconds


@dataclass(frozen=True)
class Work:
    """What a team does, in words, and what to do when it was cut off.

    With ``leader`` process 0 alone hears of Ctrl-C: it ends the others.
    """

    name: str
    again: str
    leader: bool


TRAINING = Work("training", AGAIN, leader=True)
PREDICTION = Work("prediction", "give the same command again: it goes on", leader=False)


def as_team(devices: int | None, context: typer.Context) -> None:
    """Has ``devices`` processes do the training of ``context``, and ends with their exit code.

    Returns where this process is one of them, or is to work alone.
    """
    if devices is None or in_team():
        return
    if devices > 1:
        raise typer.Exit(run_team(devices, context, TRAINING))
    _refuse_torchrun()


def run_team(devices: int, context: typer.Context, work: Work) -> int:
    """Has ``devices`` processes do the command of ``context``; their exit code."""
    _refuse_torchrun()
    return _Team(devices, context.obj, work).run()


def _refuse_torchrun() -> None:
    if "RANK" in os.environ:
        raise UsageProblem("--devices and torchrun exclude each other: leave --devices out")


def own_shard() -> str:
    """The share of a member of a team, such as 2/8."""
    return f"{int(os.environ['RANK']) + 1}/{os.environ['WORLD_SIZE']}"


def in_team() -> bool:
    """Whether this process was started by :func:`as_team`."""
    return TEAM in os.environ


@contextlib.contextmanager
def heard_once() -> Iterator[None]:
    """Silences every process of a team but the first; one whose launcher is gone ends, too."""
    gone = _team_is_gone if in_team() else _parent_is_gone if _LAUNCHED in os.environ else None
    if gone is not None:
        threading.Thread(target=_end_after, args=(gone,), daemon=True).start()
    if int(os.environ.get("RANK", "0")) == 0:
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _team_is_gone() -> None:
    """Returns then: the team writes nothing, its end is the end of standard input."""
    if sys.platform == "win32":  # there a library that is being loaded waits for such a read
        _wait_for(int(os.environ[TEAM]))  # the parent may be the python.exe of a venv, which waits
    else:
        os.read(0, 1)  # not sys.stdin: its lock would be held when the interpreter ends


def _parent_is_gone() -> None:
    """Returns once the process that started this one has ended."""
    parent = os.getppid()
    if sys.platform == "win32":
        _wait_for(parent)
        return
    while os.getppid() == parent:  # an orphan is given another one
        time.sleep(_LOOK)


def _wait_for(process: int) -> None:
    """Until it has ended: on Windows, where an orphan keeps the number of its parent."""
    if sys.platform == "win32":
        system = ctypes.WinDLL("kernel32")
        system.OpenProcess.restype = ctypes.c_void_p  # a handle may need more than an int
        handle = ctypes.c_void_p(system.OpenProcess(_SYNCHRONIZE, False, process))
        system.WaitForSingleObject(handle, _FOR_EVER)


def _end_after(gone: Callable[[], None]) -> None:
    gone()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(LOST)


class _Team:
    def __init__(self, count: int, arguments: Sequence[str], work: Work) -> None:
        self._work = work
        self._ends: dict[int, int] = {}  # exit codes in the order of their coming
        self._said: list[IO[bytes]] = []
        self._members: list[subprocess.Popen[bytes]] = []
        self._count, self._arguments = count, arguments

    def _begin(self) -> None:
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(_free_port()),
            "WORLD_SIZE": str(self._count),
            "OMP_NUM_THREADS": str(max(1, usable_threads() // self._count)),
            TEAM: str(os.getpid()),
        }
        with _stops_held_back():
            for number in range(self._count):
                numbers = {"RANK": str(number), "LOCAL_RANK": str(number)}
                self._start(shared | numbers)

    def _start(self, environment: dict[str, str]) -> None:
        said = tempfile.TemporaryFile()  # noqa: SIM115
        first = not self._members
        member = subprocess.Popen(
            [sys.executable, "-m", "kdlnet_cli", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=None if first else subprocess.DEVNULL,
            stderr=None if first else said,
            env=os.environ | environment,
            # Ctrl-C reaches this process alone, or the others would be gone before process 0.
            **OWN_GROUP,
        )
        self._said.append(said)
        self._members.append(member)

    def run(self) -> int:
        """Starts all and waits for them; the exit code of the whole."""
        deadline, stopped = float("inf"), False
        while len(self._ends) < self._count:
            try:
                if not self._members:
                    self._begin()  # here, for a stop that was held back is raised at its end
                if self._failed() and deadline == float("inf"):
                    deadline = time.monotonic() + _GRACE
                led = stopped and self._work.leader and self._ends.get(0)  # the others only help it
                if led or time.monotonic() > deadline:
                    break
                time.sleep(_LOOK)
            except KeyboardInterrupt:  # they end as they do alone
                if not self._members:
                    raise
                for member in self._members[:1] if self._work.leader else self._members:
                    member.send_signal(signal.SIGTERM if stopped else FOR_A_GROUP)
                deadline = time.monotonic() + _GRACE if stopped else deadline
                stopped = True
        for member in self._members:
            member.kill()
            member.wait()
        return self._outcome()

    def _failed(self) -> bool:
        """Notes who has ended since the last look; whether any has not ended well."""
        new = {
            number: member.poll()
            for number, member in enumerate(self._members)
            if number not in self._ends
        }
        ended = {number: code for number, code in new.items() if code is not None}
        # Of several that ended between two looks those that were killed came first.
        self._ends |= dict(sorted(ended.items(), key=lambda one: one[1]))
        return any(self._ends.values())

    def _outcome(self) -> int:
        """The exit code, after the one line that nobody has said yet where something failed."""
        first = self._ends.get(0, LOST)
        if first > 0 and first != LOST:
            return first  # it has said why
        causes = [number for number, code in self._ends.items() if code not in (0, LOST)]
        if not causes and all(self._ends.get(n) == 0 for n in range(len(self._members))):
            return 0
        code = self._ends[causes[0]] if causes else LOST
        print(f"error: {self._line(causes)}", file=sys.stderr, flush=True)
        return code if 0 < code != LOST else 1

    def _line(self, causes: Sequence[int]) -> str:
        name, again = self._work.name, self._work.again
        if not causes:
            return f"the processes of this {name} lost each other; {again}"
        member = f"process {causes[0] + 1} of {len(self._members)}"
        code = self._ends[causes[0]]
        if code < 0:
            return f"{member} of this {name} was killed ({_signal(-code)}); {again}"
        self._said[causes[0]].seek(0)
        said = self._said[causes[0]].read().decode(errors="replace").strip().splitlines()
        return f"{member}: {said[-1].removeprefix('error: ') if said else f'exit code {code}'}"


@contextlib.contextmanager
def _stops_held_back() -> Iterator[None]:
    """Until the end a stop waits, and in a process that is started here until it can heed it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
