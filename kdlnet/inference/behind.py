"""Files that are written while the network works on the next images."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from kdlnet.inference.prediction import Prediction
from kdlnet.inference.skipped import Skipped
from kdlnet.inference.writer import PredictionWriter
from kdlnet.utils.threads import usable_threads

_WRITERS = 2, 4  # threads, at least and at most: some wait for the disk
_FEWEST = 2  # images that may wait to be written
_MOST_BYTES = 256 * 2**20  # of their pixels


class Behind:
    """Writes predictions with ``writer`` in threads of its own: pictures beside each other, and
    files that grow in the order of the calls.

    Up to two ``batch``es wait. A context; leaving it waits for the rest. An error of the writer is
    raised by a later call or at the end.
    """

    def __init__(self, writer: PredictionWriter, batch: int) -> None:
        self._writer = writer
        self._most = max(_FEWEST, 2 * batch)
        self._pictures = ThreadPoolExecutor(max(_WRITERS[0], min(_WRITERS[1], usable_threads())))
        self._in_turn = ThreadPoolExecutor(1)
        self._pending: deque[tuple[int, Future[None]]] = deque()
        self._waiting = 0  # bytes of their pixels

    def __call__(self, prediction: Prediction) -> None:
        size = 0 if prediction.image is None else prediction.image.nbytes
        self._wait_for(size)
        pictures = self._pictures.submit(self._writer.begin(prediction))
        self._pending.append((size, self._in_turn.submit(self._end, pictures, prediction)))
        self._waiting += size

    def skip(self, unread: Skipped) -> None:
        """Writes, in its turn, that an image could not be read."""
        self._wait_for(0)
        self._writer.start()
        self._pending.append((0, self._in_turn.submit(self._writer.skip, unread)))

    def _wait_for(self, size: int) -> None:
        while not self._room(size):
            done, future = self._pending.popleft()
            self._waiting -= done
            future.result()

    def _room(self, size: int) -> bool:
        if len(self._pending) < _FEWEST:
            return True
        return len(self._pending) < self._most and self._waiting + size < _MOST_BYTES

    def _end(self, pictures: Future[None], prediction: Prediction) -> None:
        pictures.result()
        self._writer.end(prediction)

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._pictures.shutdown(wait=True)
        self._in_turn.shutdown(wait=True)
        if error is None:
            for _, future in self._pending:
                future.result()
