"""A folder that a line writes into: each complete image answered once, whatever the writer does."""

from __future__ import annotations

import csv
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kdlnet.errors import ConfigError, DataError, KdlnetError
from kdlnet.events import Message
from kdlnet.images.stamp import Stamp
from kdlnet.images.watch import Arrival, FolderWatch
from kdlnet.inference import desk as answering
from kdlnet.inference.daybook import DayBook, Entry
from kdlnet.inference.skipped import Skipped
from kdlnet.types import Preprocess
from kdlnet.verbs.watch import watch_folder

from ..support.blob_network import make_predictor
from ..support.closed import closed

SETTLE = 0.1


def _png(seed: int, dtype: type[np.unsignedinteger[Any]] = np.uint8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64), dtype)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def line(tmp_path: Path) -> Path:
    (tmp_path / "line").mkdir()
    return tmp_path / "line"


@contextmanager
def _at_work(line: Path, **options: object) -> Iterator[list[Entry]]:
    """A watch in a thread of its own; leaving it waits until what is complete is answered."""
    answers: list[Entry] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def work() -> None:
        try:
            watch_folder(
                make_predictor(),
                Path("w.pt"),
                line,
                **{"out": line.parent / "out", "settle": SETTLE, **options},  # type: ignore[arg-type]
                stop=stop,
                on_answer=answers.append,
            )
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def _rows(out: Path) -> list[dict[str, str]]:
    text = "".join(file.read_text() for file in sorted(out.glob("????-??-??.csv")))
    return list(csv.DictReader(text.splitlines()))


def test_each_image_is_answered_once_and_a_restart_goes_on(line: Path) -> None:
    (line / "before.png").write_bytes(_png(0))
    with _at_work(line) as answers:
        (line / "sub").mkdir()
        (line / "sub" / "new.png").write_bytes(_png(1))
        _wait(lambda: len(answers) == 2)
        time.sleep(4 * SETTLE)
    out = line.parent / "out"
    assert sorted(entry.name for entry in answers) == ["before.png", "sub/new.png"]
    answer = json.loads((out / "verdicts" / "sub" / "new.png.json").read_text())
    assert answer["verdict"] in ("OK", "NG") and answer["weights"] == "w.pt"
    assert [row["name"] for row in _rows(out)] == [entry.name for entry in answers]
    (line / "third.png").write_bytes(_png(2))
    with _at_work(line) as answers:
        _wait(lambda: len(answers) == 1)
        time.sleep(4 * SETTLE)
    assert [entry.name for entry in answers] == ["third.png"]
    assert len(_rows(out)) == 3


def _warnings(told: list[str]) -> Callable[[object], None]:
    """A listener that keeps them in ``told``."""

    def hear(event: object) -> None:
        if isinstance(event, Message) and event.level == "warning":
            told.append(event.text)

    return hear


def test_images_of_another_bit_depth_are_told_once(line: Path) -> None:
    """As predict tells: a 12-bit camera whose files have 16 bits is nearly black to the weights."""
    told: list[str] = []
    with _at_work(line, on_event=_warnings(told)) as answers:
        for seed in range(2):
            (line / f"{seed}.png").write_bytes(_png(seed, np.uint16))
        _wait(lambda: len(answers) == 2)
    (text,) = told
    assert "has 16 bits" in text and "--window" in text


def test_images_seen_otherwise_than_calibrated_are_told(line: Path) -> None:
    told: list[str] = []
    stop = threading.Event()
    stop.set()
    seen = Preprocess((96, 96), 1).to_dict()
    predictor = replace(make_predictor(), calibration={"preprocess": seen})
    watch_folder(
        predictor, Path("w.pt"), line, out=line.parent / "out", stop=stop, on_event=_warnings(told)
    )
    assert [text for text in told if "rates do not hold" in text]


def test_pictures_that_are_not_read_are_told_once(line: Path) -> None:
    told: list[str] = []
    (line / "a.heic").touch()
    with _at_work(line, on_event=_warnings(told)):
        _wait(lambda: len(told) == 1)
        for name in ("b.heic", "c.jp2"):
            (line / name).touch()
        _wait(lambda: len(told) == 2)
        time.sleep(4 * SETTLE)
    assert "1 .heic;" in told[0] and "1 .jp2;" in told[1] and len(told) == 2


def test_a_slow_writer_is_waited_for(line: Path) -> None:
    data = _png(3)
    with _at_work(line) as answers, (line / "slow.png").open("wb") as file:
        for start in range(0, len(data), 512):
            file.write(data[start : start + 512])
            file.flush()
            time.sleep(SETTLE / 4)
        assert not answers
        file.close()
        _wait(lambda: len(answers) == 1)
    assert answers[0].verdict != "UNREADABLE"


def test_a_pause_in_the_middle_of_a_file_is_no_verdict(line: Path) -> None:
    data = _png(4)
    with _at_work(line) as answers:
        (line / "paused.png").write_bytes(data[:700])
        time.sleep(6 * SETTLE)
        assert not answers
        (line / "paused.png").write_bytes(data)
        _wait(lambda: len(answers) == 1)
    assert answers[0].verdict != "UNREADABLE"


def test_what_stays_unreadable_is_said(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_PATIENCE", 0.3)
    (line / "torn.png").write_bytes(_png(5)[:700])
    with _at_work(line, settle=0.5) as answers:
        _wait(lambda: len(answers) == 1)
        time.sleep(4 * SETTLE)
    assert [entry.verdict for entry in answers] == ["UNREADABLE"]
    assert answers[0].latency >= 0.5 + 0.3  # from when it counts as complete
    answer = json.loads((line.parent / "out" / "verdicts" / "torn.png.json").read_text())
    assert "torn.png" in answer["why"]
    assert set(answer) == {*Skipped("", "").to_dict(), "time", "weights"}


def test_a_new_content_under_an_old_name_is_a_new_image(line: Path) -> None:
    (line / "latest.png").write_bytes(_png(6))
    with _at_work(line) as answers:
        _wait(lambda: len(answers) == 1)
        (line / "latest.png").write_bytes(_png(7))
        _wait(lambda: len(answers) == 2)
    assert len({entry.stamp for entry in answers}) == 2


def test_renames_and_deletions_on_the_way(line: Path) -> None:
    with _at_work(line) as answers:
        for number in range(30):
            hidden = line / f".{number}.part"
            hidden.write_bytes(_png(number))
            hidden.rename(line / f"{number}.png")
            if number % 3 == 0:
                (line / f"{number}.png").unlink(missing_ok=True)
        kept = {f"{number}.png" for number in range(30) if number % 3}
        _wait(lambda: kept <= {entry.name for entry in answers})
    assert len(answers) == len({entry.name for entry in answers})
    assert not [entry for entry in answers if entry.verdict == "UNREADABLE"]


def test_a_drive_that_drops_out_and_returns_gets_no_second_answers(line: Path) -> None:
    told: list[str] = []
    (line / "a.png").write_bytes(_png(0))
    with _at_work(line, on_event=_warnings(told)) as answers:
        _wait(lambda: len(answers) == 1)
        line.rename(line.parent / "away")
        _wait(lambda: bool(told))
        (line.parent / "away" / "b.png").write_bytes(_png(1))
        (line.parent / "away").rename(line)
        _wait(lambda: len(answers) > 1)
        time.sleep(4 * SETTLE)
    assert [entry.name for entry in answers] == ["a.png", "b.png"]
    (text,) = told
    assert "line" in text and "is gone" in text


@pytest.mark.parametrize("restarted", [False, True])
def test_a_subfolder_that_is_gone_for_a_while_gets_no_second_answers(
    line: Path, restarted: bool
) -> None:
    """Answered before this watch began, or by it: either way the book knows."""
    (line / "cam1").mkdir()
    (line / "cam1" / "a.png").write_bytes(_png(0))
    answered: list[str] = []
    if restarted:
        with _at_work(line) as answers:
            _wait(lambda: len(answers) == 1)
        answered = [entry.name for entry in answers]
        (line / "cam1").rename(line.parent / "away")
    with _at_work(line) as answers:
        if not restarted:
            _wait(lambda: len(answers) == 1)
            (line / "cam1").rename(line.parent / "away")
        time.sleep(4 * SETTLE)
        (line.parent / "away" / "b.png").write_bytes(_png(1))
        (line.parent / "away").rename(line / "cam1")
        _wait(lambda: "cam1/b.png" in [entry.name for entry in answers])
        time.sleep(4 * SETTLE)
    answered += [entry.name for entry in answers]
    assert answered == ["cam1/a.png", "cam1/b.png"] and len(_rows(line.parent / "out")) == 2


@pytest.mark.parametrize("midway", [False, True])
def test_a_folder_that_cannot_be_listed_is_told_once_and_waited_for(
    line: Path, midway: bool
) -> None:
    told: list[str] = []
    for name in ("cam1", "cam2"):
        (line / name).mkdir()
        (line / name / "a.png").write_bytes(_png(0))
    with _at_work(line, on_event=_warnings(told)) as answers:
        _wait(lambda: len(answers) == 2)
        with closed(line / "cam2", midway=midway):
            _wait(lambda: bool(told))
            (line / "cam1" / "b.png").write_bytes(_png(1))
            (line / "cam2" / "b.png").write_bytes(_png(1))
            _wait(lambda: len(answers) == 3)
            time.sleep(4 * SETTLE)
        _wait(lambda: len(answers) == 4)
        time.sleep(4 * SETTLE)
    assert [entry.name for entry in answers][2:] == ["cam1/b.png", "cam2/b.png"]
    (text,) = told
    assert "cam2' cannot be read" in text


def test_images_that_cannot_be_looked_at_are_told_by_their_folder(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may be listed and its files closed to us."""

    def refuse(path: Path) -> Stamp:
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("a.png", "b.png"):
        (line / name).touch()
    watch = FolderWatch(line, SETTLE)
    monkeypatch.setattr(Stamp, "of", refuse)
    assert watch.look() == {} and list(watch.closed) == [line]


def test_a_flood_is_answered_in_batches_to_the_end(line: Path) -> None:
    for number in range(120):
        (line / f"{number:03}.png").write_bytes(_png(number % 5))
    with _at_work(line) as answers:
        _wait(lambda: bool(answers))
    assert sorted(entry.name for entry in answers) == [f"{number:03}.png" for number in range(120)]


def test_images_that_come_quicker_than_they_are_answered_are_told(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a start may take its time; later it is told, and again at twice the time."""
    monkeypatch.setattr(answering, "_BEHIND", 0.2)
    answer, pauses = answering.Desk._answer, []

    def slow(desk: answering.Desk, arrivals: list[Arrival]) -> None:
        answer(desk, arrivals)
        if arrivals:
            time.sleep(pauses[0])
            pauses.pop(0)

    monkeypatch.setattr(answering.Desk, "_answer", slow)
    pauses += [1.0, 0.3, 0.3, 4.0]
    (line / "0.png").write_bytes(_png(0))
    told: list[object] = []
    with _at_work(line, on_event=told.append) as answers:
        for number in range(1, 5):
            _wait(lambda n=number: len(pauses) == 4 - n)  # type: ignore[misc]
            if number < 4:
                (line / f"{number}.png").write_bytes(_png(number))
        _wait(lambda: len(answers) == 4)
    late = [one.text for one in told if isinstance(one, Message) and "wait as long" in one.text]
    assert len(late) == 2 and all(text.startswith("1 image came while") for text in late)


def test_two_watches_of_one_folder_of_answers(line: Path) -> None:
    (line / "a.png").write_bytes(_png(0))
    with _at_work(line) as answers:
        _wait(lambda: bool(answers))
        with pytest.raises(KdlnetError, match="another kdlnet is at work"), _at_work(line):
            pass
    other = line.parent / "other"
    other.mkdir()
    with pytest.raises(DataError, match=r"has the answers to .*line"), _at_work(other):
        pass


def test_answers_go_into_the_folder_that_was_named_or_nowhere(line: Path) -> None:
    """Counted up it would be another at every restart, and whoever reads the answers gets none."""
    out = line.parent / "out"
    out.mkdir()
    (out / "notes.txt").touch()
    with pytest.raises(DataError, match="choose another --out"), _at_work(line):
        pass
    (out / "notes.txt").unlink()
    (line / "a.png").write_bytes(_png(0))
    others = threading.active_count()
    with pytest.raises(KdlnetError, match="start the watch again"), _at_work(line) as answers:
        _wait(lambda: len(answers) == 1)
        shutil.rmtree(out)
        (line / "b.png").write_bytes(_png(1))
        _wait(lambda: threading.active_count() == others)
    with _at_work(line) as answers:
        _wait(lambda: len(answers) == 2)
    assert {row["name"] for row in _rows(out)} == {"a.png", "b.png"}


def test_what_cannot_be_watched(line: Path) -> None:
    with pytest.raises(DataError, match="is no folder"), _at_work(line / "none", out=None):
        pass
    with pytest.raises(DataError, match="nothing is ever written"), _at_work(line, out=line / "o"):
        pass
    with pytest.raises(ConfigError, match="--settle 0"), _at_work(line, settle=0):
        pass


def test_long_names_have_answers_of_their_own(line: Path) -> None:
    names = [f"{'ü' * 120}{number}.png" for number in range(2)]
    for name in names:
        (line / name).write_bytes(_png(0))
    with _at_work(line) as answers:
        _wait(lambda: len(answers) == 2)
    files = list((line.parent / "out" / "verdicts").iterdir())
    assert sorted(json.loads(file.read_text())["name"] for file in files) == names


@pytest.mark.parametrize("names", [["q.png", "q.png.json/z.png"], ["q.png.json/z.png", "q.png"]])
def test_an_image_beside_a_folder_called_like_its_answer(line: Path, names: list[str]) -> None:
    with _at_work(line) as answers:
        for count, name in enumerate(names, 1):
            (line / name).parent.mkdir(exist_ok=True)
            (line / name).write_bytes(_png(count))
            _wait(lambda count=count: len(answers) == count)  # type: ignore[misc]
        (line / names[1]).write_bytes(_png(3))
        _wait(lambda: len(answers) == 3)
    files = [file for file in (line.parent / "out" / "verdicts").rglob("*") if file.is_file()]
    assert sorted(json.loads(file.read_text())["name"] for file in files) == sorted(names)


def test_the_book_of_a_day_survives_a_torn_row_and_counts_on(tmp_path: Path) -> None:
    today = datetime(2026, 3, 1, 12).astimezone()
    book = DayBook(tmp_path)
    for number in range(3):
        book.add(Entry(f"{number}.png", Stamp(number, 10), "NG" if number else "OK"), today)
    file = tmp_path / "2026-03-01.csv"
    file.write_bytes(file.read_bytes()[:-8])
    again = DayBook(tmp_path)
    again.turn(today)
    assert again.line() == "2026-03-01: 2 images, 1 NG, 1 OK"
    present = {f"{number}.png": Stamp(number, 10) for number in range(3)}
    assert dict(again.answered(present)) == {"0.png": Stamp(0, 10), "1.png": Stamp(1, 10)}
    again.add(Entry("2.png", Stamp(2, 10), "NG"), today)
    assert set(dict(again.answered(present))) == set(present)
    tomorrow = today + timedelta(days=1)
    assert again.turn(tomorrow) == "2026-03-01: 3 images, 2 NG, 1 OK"
    assert again.line() == "2026-03-02: 0 images"


def test_of_what_is_gone_the_last_answers_are_remembered(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdlnet.images.watch.REMEMBERED", 3)
    names = [f"{number}.png" for number in range(5)]
    watch = FolderWatch(line, 0)
    for name in names:
        (line / name).touch()
        watch.look()
        (arrival,) = watch.complete()
        watch.done(arrival.name, arrival.stamp)
        (line / name).rename(line.parent / name)
    watch.look()
    for name in names:
        (line.parent / name).rename(line / name)
    watch.look()
    assert [arrival.name for arrival in watch.complete()] == ["0.png", "1.png"]


def test_the_book_knows_its_last_answers_across_days(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 12).astimezone()
    book = DayBook(tmp_path)
    for number in range(6):
        day = now + timedelta(days=number // 2)
        book.add(Entry(f"{number}.png", Stamp(number, number), "OK"), day)
    assert list(book.last(3).items()) == [(f"{n}.png", Stamp(n, n)) for n in (3, 4, 5)]
    assert len(book.last(100)) == 6


def test_names_with_line_breaks_and_commas_are_found_again(tmp_path: Path) -> None:
    name, now = 'a,"b"\nc.png', datetime(2026, 3, 1).astimezone()
    DayBook(tmp_path).add(Entry(name, Stamp(1, 2), "OK"), now)
    assert dict(DayBook(tmp_path).answered({name: Stamp(1, 2)})) == {name: Stamp(1, 2)}
    assert not dict(DayBook(tmp_path).answered({name: Stamp(1, 3)}))


@pytest.mark.parametrize("left", range(1, 57))  # up to its last comma
def test_a_row_torn_anywhere_hides_no_row_after_it(tmp_path: Path, left: int) -> None:
    torn, now = 'a,"b"\nc.png', datetime(2026, 3, 1).astimezone()
    book, file = DayBook(tmp_path), tmp_path / "2026-03-01.csv"
    book.add(Entry("0.png", Stamp(0, 1), "OK"), now)
    whole = file.stat().st_size
    book.add(Entry(torn, Stamp(1, 1), "NG"), now)
    file.write_bytes(file.read_bytes()[: whole + left])
    book.add(Entry("2.png", Stamp(2, 1), "NG"), now)
    present = {"0.png": Stamp(0, 1), torn: Stamp(1, 1), "2.png": Stamp(2, 1)}
    assert set(dict(DayBook(tmp_path).answered(present))) == {"0.png", "2.png"}


def test_memory_holds_only_what_is_there(line: Path) -> None:
    watch = FolderWatch(line, SETTLE)
    for number in range(5):
        (line / f"{number}.png").write_bytes(b"x")
        name, stamp = next(iter(watch.look().items()))
        watch.done(name, stamp)
        (line / f"{number}.png").unlink()
    watch.look()
    assert not watch._seen and not watch._done


def test_a_day_that_ends_is_told_in_a_line(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = [datetime(2026, 3, 1, 23, 59).astimezone()]
    monkeypatch.setattr(answering, "_now", lambda: now[0])

    def hear(event: object) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    (line / "a.png").write_bytes(_png(0))
    with _at_work(line, on_event=hear) as answers:
        _wait(lambda: len(answers) == 1)
        now[0] += timedelta(minutes=2)
        _wait(lambda: bool(told))
    assert told[0].startswith("watching ")
    assert told[1].startswith("2026-03-01: 1 image, 1 ") and told[2] == "2026-03-02: 0 images"
