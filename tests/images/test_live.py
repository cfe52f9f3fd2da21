"""Frames that come by themselves, and a reader that lags."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Generator

import numpy as np
import pytest

from kdlnet.errors import DataError
from kdlnet.images import live
from kdlnet.images.frame import Frame, OnProblem
from kdlnet.images.live import as_they_come

IMAGE = np.zeros((8, 8), np.uint8)


def frame(index: int) -> Frame:
    return Frame("camera 0", f"{index:06d}", IMAGE, index)


class Sender:
    """Sends frames up to a number when it is told to, each as soon as the one before is taken."""

    def __init__(self) -> None:
        self.sent, self._until, self._news = 0, 0, threading.Condition()

    def __call__(self, on_problem: OnProblem) -> Generator[Frame, None, None]:
        while True:
            with self._news:
                self._news.notify_all()
                self._news.wait_for(lambda: self._until > self.sent or self._until < 0)
            if self._until < 0:
                return
            self.sent += 1
            yield frame(self.sent - 1)

    def send(self, until: int) -> None:
        """Returns when they have come and the sender waits; -1 ends it."""
        with self._news:
            self._until = until
            self._news.notify_all()
            assert until < 0 or self._news.wait_for(lambda: self.sent >= until, timeout=60)
        time.sleep(0.05)


@pytest.fixture
def sender() -> Sender:
    """Each test ends it: a reader that leaves waits for it."""
    return Sender()


def refuse(error: DataError, *where: object) -> None:
    raise error


def test_a_burst_waits_and_comes_whole(sender: Sender) -> None:
    frames = as_they_come(sender, refuse)
    sender_thread = threading.Thread(target=sender.send, args=(12,))
    sender_thread.start()
    found = [next(frames) for _ in range(12)]
    sender_thread.join()
    assert [(one.index, one.passed) for one in found] == [(n, 0) for n in range(12)]
    sender.send(-1)
    assert list(frames) == []


def test_what_waits_too_long_is_passed_over(sender: Sender, monkeypatch) -> None:
    """From then on the newest comes, until nothing else waits; then all wait in order again."""
    frames = as_they_come(sender, refuse)
    sent = threading.Thread(target=sender.send, args=(1,))
    sent.start()
    assert next(frames).index == 0
    sent.join()
    sender.send(6)
    monkeypatch.setattr(live, "LATE", 0.0)  # the sender has sent all that it will for now
    assert (one := next(frames)).index == 5 and one.passed == 4
    monkeypatch.setattr(live, "LATE", 1e9)
    sender.send(9)
    assert (one := next(frames)).index == 8 and one.passed == 2
    sender.send(10)
    assert (one := next(frames)).index == 9 and one.passed == 0
    sender.send(13)
    assert [(one.index, one.passed) for one in (next(frames), next(frames))] == [(10, 0), (11, 0)]
    sender.send(-1)
    assert [one.index for one in frames] == [12]


def test_the_frames_that_wait_have_a_bound(sender: Sender, monkeypatch) -> None:
    monkeypatch.setattr(live, "_MOST_BYTES", 5 * IMAGE.nbytes)
    monkeypatch.setattr(live, "LATE", 1e9)
    frames = as_they_come(sender, refuse)
    sent = threading.Thread(target=sender.send, args=(1,))
    sent.start()
    next(frames)
    sent.join()
    sender.send(6)
    assert [next(frames).index for _ in range(2)] == [1, 2]
    sender.send(9)
    assert (one := next(frames)).index == 8 and one.passed == 5
    sender.send(-1)
    assert list(frames) == []


def test_problems_and_errors_come_in_their_turn(monkeypatch) -> None:
    def read(on_problem: OnProblem) -> Generator[Frame, None, None]:
        yield frame(0)
        on_problem(DataError("frame 1 is damaged"), "camera 0", 1, 0.1)
        yield frame(2)
        yield frame(3)
        raise DataError("its cable is out")

    def heard(late: float) -> list[object]:
        monkeypatch.setattr(live, "LATE", late)
        came: list[object] = []
        with pytest.raises(DataError, match="cable"):
            for one in as_they_come(read, lambda error, *where: came.append(str(error))):
                time.sleep(0.2 if not came else 0.0)
                came.append((one.index, one.passed))
        return came

    damaged = "frame 1 is damaged"
    assert heard(1e9) == [(0, 0), damaged, (2, 0), (3, 0)]
    # The first frame may have been taken at once or have waited.
    assert heard(-1.0) in ([(0, 0), damaged, (3, 1)], [damaged, (3, 2)])


def test_who_leaves_waits_a_little_and_closes_nothing_that_is_read(monkeypatch) -> None:
    """A silent camera was waited for, and with another exception closed in the midst of a read."""
    monkeypatch.setattr(live, "_LEAVE", 0.05)
    silent, closed = threading.Event(), []

    def read(on_problem: OnProblem) -> Generator[Frame, None, None]:
        try:
            yield frame(0)
            silent.wait(60)
            yield frame(1)
        finally:
            closed.append(threading.current_thread())

    before = set(threading.enumerate())
    with pytest.raises(TimeoutError):
        for _ in as_they_come(read, refuse):
            (reader,) = set(threading.enumerate()) - before
            raise TimeoutError
    assert closed == [] and reader.is_alive()
    silent.set()
    reader.join(60)
    assert closed == [reader]


def test_a_caller_that_the_thread_itself_collects(monkeypatch) -> None:
    """Garbage is collected in any thread: it cannot join itself."""
    frames: list[Generator[Frame, None, None]] = []
    taken, done = threading.Event(), []

    def read(on_problem: OnProblem) -> Generator[Frame, None, None]:
        yield frame(0)
        assert taken.wait(60)
        frames.pop().close()
        done.append(True)
        yield frame(1)

    frames.append(as_they_come(read, refuse))  # type: ignore[arg-type]
    assert next(frames[0]).index == 0
    (reader,) = live._running
    taken.set()
    reader.join(60)
    assert done == [True] and not live._running


def test_a_program_that_ends_in_between_ends_well() -> None:
    """The thread was in the middle of OpenCV when the interpreter went: the process aborted."""
    script = (
        "import cv2, numpy as np\n"
        "from kdlnet.images.frame import Frame\n"
        "from kdlnet.images.live import as_they_come\n"
        "def read(on_problem):\n"
        "    image, index = np.zeros((600, 800, 3), np.uint8), 0\n"
        "    while True:\n"
        "        yield Frame('camera', 'a', cv2.cvtColor(image, cv2.COLOR_BGR2RGB), index)\n"
        "        index += 1\n"
        "frames = as_they_come(read, print)\n"
        "print(next(frames).index)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
