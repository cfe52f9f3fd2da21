"""Several threads do the same work, and nobody can tell but by the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from kdlnet.utils.lanes import in_turn


def halves(number: int) -> float:
    time.sleep(0.01 * (number % 3))  # later ones are done before earlier ones
    return number / 2


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_answers_come_in_the_order_of_the_questions(lanes: int) -> None:
    assert list(in_turn(halves, range(17), lanes)) == [number / 2 for number in range(17)]
    assert list(in_turn(halves, [], lanes)) == []


def test_as_many_work_at_once_as_there_are_lanes() -> None:
    meeting = threading.Barrier(3, timeout=10)  # breaks unless three are there at once
    assert len(list(in_turn(lambda number: meeting.wait(), range(9), 3))) == 9
    here = threading.get_ident()
    assert set(in_turn(lambda number: threading.get_ident(), range(3), 1)) == {here}


@pytest.mark.parametrize(("most", "ahead"), [(100, 4), (1, 1)])
def test_no_more_is_taken_than_fits(most: int, ahead: int) -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    made = []
    for done in in_turn(lambda number: number, things(), 3, lambda number: 2, most):
        made.append(done)
        assert len(taken) - done <= ahead
    assert made == list(range(9))


@pytest.mark.parametrize("lanes", [1, 3])
def test_an_error_comes_after_what_was_before_it(lanes: int) -> None:
    def things() -> Iterator[int]:
        yield from range(5)
        raise KeyError("the source is gone")

    found: list[float] = []
    with pytest.raises(KeyError, match="gone"):
        found.extend(in_turn(halves, things(), lanes))
    assert found == [0, 0.5, 1, 1.5, 2]

    def fails(number: int) -> float:
        return 1 / (3 - number)

    found = []
    with pytest.raises(ZeroDivisionError):
        for one in in_turn(fails, range(9), lanes):
            found.append(one)
    assert found == [1 / 3, 1 / 2, 1]


def test_nothing_runs_on_behind_a_caller_who_has_left() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        return number

    answers = in_turn(work, range(1000), 2)
    next(answers)
    answers.close()
    count = len(begun)
    time.sleep(0.2)
    assert len(begun) == count < 6
