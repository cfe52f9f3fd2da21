"""Videos, cameras and streams, whole and broken; nothing but our line reaches stderr."""

from __future__ import annotations

import os
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from math import inf, nan
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.errors import ConfigError, DataError
from kdlnet.images import capture, live, reconnect, video
from kdlnet.images.sources import open_source
from kdlnet.images.video import public

from ..support.videos import changed, noise


def read(source, timeout: float = 5.0):
    """Frames and the lines of what was skipped."""
    problems = []
    frames = list(
        open_source(source, timeout).frames(lambda error, *where: problems.append(str(error)))
    )
    return frames, problems


def save_video(path: Path, count: int = 8) -> Path:
    """Frame n is grey with the value 20 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for n in range(count):
        writer.write(np.full((48, 64, 3), 20 * n, np.uint8))
    writer.release()
    return path


def test_a_video(tmp_path, capfd):
    source = open_source(save_video(tmp_path / "line.avi"))
    assert (source.kind, source.title, source.total) == ("video", "line", 8)
    frames, problems = read(tmp_path / "line.avi")
    assert [frame.index for frame in frames] == list(range(8))
    assert [frame.stem for frame in frames][:2] == ["line/000000", "line/000001"]
    assert [frame.timestamp for frame in frames] == pytest.approx([n / 10 for n in range(8)])
    values = [frame.image.mean() for frame in frames]
    assert values == pytest.approx([20 * n for n in range(8)], abs=2)
    assert problems == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("every", "expected"),
    [(0.05, range(8)), (0.1, range(8)), (0.3, [0, 3, 6]), (0.25, [0, 3, 5]), (9, [0])],
)
def test_a_frame_of_each_so_many_seconds(tmp_path, every, expected):
    source = open_source(save_video(tmp_path / "line.avi"), every=every)
    frames = list(source.frames(lambda error, *where: pytest.fail(str(error))))
    assert [frame.index for frame in frames] == [*expected]
    assert [frame.timestamp for frame in frames] == pytest.approx([n / 10 for n in expected])
    assert source.total in (len(frames), len(frames) + 1)  # by an even rate


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.4, 0.8, 1.2, 0, 0.4, 0.8, 1.2], [0, 3, 5]),  # joined: goes on at 1.6 s
        ([5, 5.5, 6, 0.1, 0.5, 1.1, 1.5], [0, 2, 5]),
        ([0, 0, 0, 0, 0, 0], [0, 3, 5]),
        ([0, 0.4, 99, 0.8, 1.2, 1.6], [0, 2, 5]),  # one wrong time
        ([0, 0.8, 0.4, 1.2, 1.0, 1.6], [0, 3]),  # not in their order
        ([0, 0.4, 0.8, 0, 1.6, 2.0], [0, 3, 5]),  # one without a time
    ],
)
def test_frames_are_picked_whatever_becomes_of_their_times(times, expected):
    left = iter(times)
    pick = video._Pick(1.0, lambda: next(left), 0.4)
    came = []
    for index in range(len(times)):
        if pick.wants():
            pick.take()
            came.append(index)
    assert came == expected


def test_recordings_that_were_joined_come_whole(tmp_path):
    """Each tells its own time, from 0 on, and the last frame of each tells none."""
    code = cv2.VideoWriter.fourcc(*"PIM1")
    writer = cv2.VideoWriter(str(tmp_path / "a.mpg"), code, 25, (96, 64))
    for grey in range(50):
        writer.write(np.full((64, 96, 3), 4 * grey, np.uint8))
    writer.release()
    (tmp_path / "b.mpg").write_bytes(2 * (tmp_path / "a.mpg").read_bytes())
    source = open_source(tmp_path / "b.mpg", every=0.5)
    frames = list(source.frames(lambda error, *where: pytest.fail(str(error))))
    assert len(frames) == 8  # of 100, one of 12 or 13
    assert max(np.diff([frame.index for frame in frames])) <= 14


def test_the_next_frame_stands_for_one_that_cannot_be_decoded(tmp_path):
    file = changed(tmp_path, lambda n, data: bytes(len(data)) if n in (1, 3) else data)
    problems = []
    source = open_source(file, every=0.3)
    frames = source.frames(lambda error, name, index, at: problems.append(index))
    assert [frame.index for frame in frames] == [0, 4] and problems == [3]


def test_of_frames_that_are_left_out_none_is_converted_nor_told(tmp_path, monkeypatch):
    """Where OpenCV decodes: it says nothing of the time of a frame that it cannot decode."""
    monkeypatch.setattr(video, "jpeg_size", lambda capture: None)
    made, problems, real = [], [], cv2.VideoCapture

    class Counted:
        def __init__(self, *arguments):
            self.video = real(*arguments)

        def __getattr__(self, name):
            return getattr(self.video, name)

        def retrieve(self):
            made.append(round(self.video.get(cv2.CAP_PROP_POS_MSEC)))
            return self.video.retrieve()

    monkeypatch.setattr(cv2, "VideoCapture", Counted)
    file = changed(tmp_path, lambda n, data: bytes(len(data)) if n in (1, 3) else data)
    source = open_source(file, every=0.3)
    frames = source.frames(lambda error, name, index, at: problems.append(index))
    assert [frame.index for frame in frames] == [0, 4] and problems == [3]
    assert made == [0, 400]


def test_images_beside_a_video_come_all(tmp_path):
    images = [str(tmp_path / f"{n}.png") for n in range(3)]
    for image in images:
        cv2.imwrite(image, np.zeros((8, 8, 3), np.uint8))
    source = open_source([*images, save_video(tmp_path / "line.avi")], every=0.5)
    frames = source.frames(lambda error, *where: pytest.fail(str(error)))
    assert [(frame.path is None, frame.index) for frame in frames] == [
        *((False, n) for n in range(3)),
        *((True, n) for n in (0, 5)),
    ]
    with pytest.raises(ConfigError, match="every 5 is for videos, cameras and streams: leave it"):
        open_source(images, every=5)
    for wrong in (-1, nan, inf):
        with pytest.raises(ConfigError, match=r"every .* is out of range: allowed is 0"):
            open_source("rtsp://camera/1", every=wrong)


def test_a_video_that_ends_in_the_middle_of_a_frame(tmp_path, capfd):
    """A decoder would fill the rest of the frame with grey: it must not come."""
    random = np.random.default_rng(0)
    file = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(6):
        writer.write(random.integers(0, 255, (64, 96, 3), np.uint8))
    writer.release()
    data, start = file.read_bytes(), 0
    chunks = []
    while (start := data.find(b"00dc", start + 1)) > 0:
        chunks.append(start)
    frames_at = [at for at in chunks if data[at + 8 : at + 10] == b"\xff\xd8"]
    assert len(frames_at) == 6
    file.write_bytes(data[: frames_at[3] + 2500])
    frames, problems = read(file)
    assert len(frames) == 3
    (problem,) = problems
    assert "cut.avi" in problem and "announces 6 frames and ends in number 4" in problem
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[: len(data) // 4], "is truncated"),
        (lambda data: data[:1500] + data[-2:], "is damaged (Corrupt JPEG data"),
        (lambda data: bytes(len(data)), "cannot be decoded"),
    ],
    ids=["cut", "hole", "zeros"],
)
def test_frames_that_are_half_lost(tmp_path, damage, why, capfd):
    """A decoder fills them with grey, and one that it cannot read ended the video."""
    frames, problems = read(
        changed(tmp_path, lambda n, data: damage(data) if n in (2, 3) else data)
    )
    assert [frame.index for frame in frames] == [0, 1, 4, 5]
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.4, 0.5])
    assert [frame.stem[-6:] for frame in frames] == ["000000", "000001", "000004", "000005"]
    assert len(problems) == 2 and all("\n" not in line for line in problems)
    for number, line in zip((2, 3), problems, strict=True):
        assert line.startswith(f"frame {number} of video ") and f"changed.avi' {why}" in line
    assert capfd.readouterr().err == ""


def test_a_video_that_opencv_decodes_goes_on_after_a_damaged_frame(tmp_path, monkeypatch):
    """It says False once, as of Motion JPEG before that was decoded here."""
    monkeypatch.setattr(video, "jpeg_size", lambda capture: None)
    zeros = changed(tmp_path, lambda n, data: bytes(len(data)) if n == 2 else data)
    frames, problems = read(zeros)
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 5]
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.4, 0.5])
    assert problems == [f"frame 2 of video {str(zeros)!r} cannot be decoded"]


def test_dropped_frames_are_no_damage(tmp_path):
    """A recorder writes a chunk of 0 bytes: the frame before is shown once more."""
    frames, problems = read(changed(tmp_path, lambda n, data: b"" if n in (2, 3) else data))
    assert [frame.index for frame in frames] == [0, 1, 4, 5]
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.4, 0.5])
    assert problems == []


def test_a_video_of_nothing_but_damage(tmp_path):
    frames, problems = read(changed(tmp_path, lambda n, data: data[:700]))
    assert frames == [] and len(problems) == 6


def encoded(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def test_frames_of_other_sizes_come_in_their_own(tmp_path):
    """OpenCV would scale them to the first, and boxes with them. Grey ones stay grey."""
    other, grey = encoded(noise((80, 96))), encoded(noise()[:, :, 0])
    frames, problems = read(changed(tmp_path, lambda n, data: [data, other, grey][n % 3]))
    assert [frame.image.shape for frame in frames] == [(48, 64, 3), (80, 96, 3), (48, 64, 1)] * 2
    assert problems == []


def test_half_pictures_are_told(tmp_path):
    """An interlaced recording has two in a frame, each with every second line."""
    field = encoded(noise()[::2])
    frames, problems = read(changed(tmp_path, lambda n, data: 2 * field if n == 1 else data))
    assert [frame.index for frame in frames] == [0, 2, 3, 4, 5]
    assert len(problems) == 1 and problems[0].endswith("is half of an interlaced picture")


def test_a_jpeg_that_leaves_out_the_usual_tables(tmp_path):
    """As cameras do in Motion JPEG."""
    data = encoded(noise())
    bare = data
    while (at := bare.find(b"\xff\xc4")) > 0:
        bare = bare[:at] + bare[at + 2 + struct.unpack_from(">H", bare, at + 2)[0] :]
    assert len(bare) < len(data) - 400
    frames, problems = read(changed(tmp_path, lambda n, _: bare if n % 2 else data))
    assert problems == [] and all((one.image == frames[0].image).all() for one in frames)


def test_a_camera_that_is_not_there(capfd):
    for source in (97, "97"):
        opened = open_source(source)
        assert (opened.kind, opened.live, opened.title) == ("camera", True, "camera-97")
        with pytest.raises(DataError, match="camera 97 cannot be opened"):
            list(opened.frames(lambda error, *where: None))
    assert capfd.readouterr().err == ""


@pytest.fixture
def cameras(monkeypatch):
    """A camera that gives so many frames each time that it is opened, and is gone after that."""
    opened = []

    def plug(*counts: int) -> list[float]:
        left = list(counts)

        class Camera:
            def __init__(self, *arguments):
                opened.append(time.monotonic())
                self.left = left.pop(0) if left else 0

            def isOpened(self):
                return self.left > 0

            def grab(self):
                self.left -= 1
                return self.left >= 0

            def retrieve(self):
                return True, np.zeros((4, 4, 3), np.uint8)

            def release(self):
                pass

        monkeypatch.setattr(cv2, "VideoCapture", Camera)
        return opened

    return plug


def test_a_camera_that_is_pulled_out(cameras):
    cameras(3)
    frames = open_source(0).frames(lambda error, *where: None)
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="camera 0 gives no more images after 3"):
        next(frames)


def test_cameras_that_are_opened_at_once_all_have_our_settings(monkeypatch):
    """The first one took the setting away while the second one opened: no frame came of it."""
    monkeypatch.delenv(capture._OPTIONS, raising=False)
    both, seen = threading.Barrier(2), []

    class Camera:
        def __init__(self, source, *arguments):
            both.wait(60)
            if source == "rtsp://slow":
                time.sleep(0.1)
            seen.append(os.environ.get(capture._OPTIONS))

        def release(self):
            pass

    def look(source):
        with capture.opened(source):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(look, ["rtsp://quick", "rtsp://slow"]))
    assert seen == [capture._SETTINGS] * 2
    assert capture._OPTIONS not in os.environ
    monkeypatch.setenv(capture._OPTIONS, "rtsp_transport;udp")
    both = threading.Barrier(1)
    look("rtsp://own")
    assert seen[2:] == ["rtsp_transport;udp"] == [os.environ[capture._OPTIONS]]


@contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mjpeg_server(count: int = 5):
    """Streams of ``count`` frames under /ok; /stall then says nothing, /silent says nothing.

    Of /cut and /zeros frame 2 is damaged. /away is not there for the second to fourth time, and
    /worn has nothing but damage from the second time on, /early the first time.
    """
    over = threading.Event()
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            asked.append(self.path)
            away = self.path == "/away" and 2 <= asked.count("/away") <= 4
            if self.path == "/missing" or away:
                self.send_error(404)
                return
            if self.path == "/silent":
                over.wait(10)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for n in range(count):
                data = cv2.imencode(".jpg", np.full((48, 64, 3), 20 * n, np.uint8))[1].tobytes()
                again = asked.count(self.path) > 1
                worn = (self.path, again) in {("/worn", True), ("/early", False)}
                if worn or (n == 2 and self.path in ("/cut", "/zeros")):
                    data = data[:-12] if self.path == "/cut" else bytes(len(data))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.02)
            if self.path == "/stall":
                over.wait(10)

    with served(Handler) as url:
        try:
            yield url
        finally:
            over.set()


@pytest.fixture
def address(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with mjpeg_server() as url:
        yield url


def test_a_stream(address):
    source = open_source(f"{address}/ok")
    assert source.live and source.total is None
    assert source.title.startswith("stream-127.0.0.1") and "/" not in source.title
    frames, problems = read(f"{address}/ok")
    assert [frame.index for frame in frames] == list(range(5))
    assert [frame.image.mean() for frame in frames] == pytest.approx([0, 20, 40, 60, 80], abs=2)
    assert all(frame.timestamp is not None for frame in frames)
    assert problems == []


def test_a_frame_of_a_stream_each_so_many_seconds(address):
    """What is left out was not passed over for want of time."""
    source = open_source(f"{address}/ok", every=60)
    frames = list(source.frames(lambda error, *where: pytest.fail(str(error))))
    assert [(frame.index, frame.passed) for frame in frames] == [(0, 0)]


def test_a_frame_of_a_camera_each_so_many_seconds(cameras, monkeypatch):
    cameras(12)
    times = count()  # one when a frame came, one when it is decoded
    monkeypatch.setattr(video, "_clock", lambda: lambda: next(times) / 8)
    problems, came = [], []
    frames = open_source(0, every=1).frames(lambda error, *where: problems.append(error))
    with pytest.raises(DataError, match="no more images after 12"):
        for frame in frames:
            came.append((frame.index, frame.timestamp, frame.passed))
    assert came == [(0, 0.125, 0), (4, 1.125, 0), (8, 2.125, 0)] and not problems


def test_the_loss_of_a_camera_is_told_between_two_frames(cameras, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.05)
    cameras(3, 0, 2)
    came, problems = [], []
    source = open_source(0, reconnect=0.3, every=500)
    frames = source.frames(lambda error, name, index, at: problems.append(index))
    with pytest.raises(DataError, match=r"cannot be opened: .*; it was lost 0 s ago"):
        for frame in frames:
            came.append(frame.index)
    assert came == [0] and problems == [3, 6]


def test_a_video_at_an_address_tells_its_own_time(tmp_path):
    """However quickly it comes."""
    save_video(tmp_path / "line.avi")
    with served(partial(SimpleHTTPRequestHandler, directory=tmp_path)) as url:
        source = open_source(f"{url}/line.avi", every=0.3)
        frames = list(source.frames(lambda error, *where: pytest.fail(str(error))))
    assert [frame.index for frame in frames] == [0, 3, 6]
    assert [frame.timestamp for frame in frames] == pytest.approx([0.0, 0.3, 0.6])


@pytest.mark.parametrize(("path", "why"), [("cut", "is truncated"), ("zeros", "cannot be decoded")])
@pytest.mark.parametrize("ours", [True, False])
def test_a_stream_goes_on_after_a_damaged_frame(address, path, why, ours, monkeypatch):
    if not ours:  # OpenCV fills what is cut, but says False of what is no picture at all
        monkeypatch.setattr(video, "jpeg_size", lambda capture: None)
    frames, problems = read(f"{address}/{path}")
    lost = [2] if ours or path == "zeros" else []
    assert [frame.index for frame in frames] == [n for n in range(5) if n not in lost]
    name = f"{address}/{path}"
    assert problems == [f"frame {n} of stream {name!r} {why}" for n in lost]


def test_a_stream_that_stalls(address, capfd):
    frames = open_source(f"{address}/stall", timeout=0.5).frames(lambda error, *where: None)
    came = []
    with pytest.raises(DataError, match=r"stalled: no frame for 0\.5 s after 5 frames"):
        for frame in frames:
            came.append(frame)
    assert len(came) == 5
    assert capfd.readouterr().err == ""


def lost(name: str, index: int, why: str) -> str:
    return f"frame {index} of {name} is lost: {why}"


def test_a_stream_that_is_lost_is_opened_again(address, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.01)
    problems, came = [], []
    source = open_source(f"{address}/away", reconnect=60)
    frames = source.frames(lambda error, *where: problems.append((str(error), *where)))
    for frame in frames:
        came.append((frame.index, frame.stem, round(frame.image.mean()), frame.timestamp))
        if len(came) == 10:
            break
    frames.close()
    assert [index for index, *_ in came] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert [stem for _, stem, *_ in came] == [f"{index:06d}" for index, *_ in came]
    assert [mean for *_, mean, _ in came] == [0, 20, 40, 60, 80] * 2
    url = f"{address}/away"
    why = lost(f"stream {url!r}", 5, "its sender ended it")
    ((*problem, lost_at),) = problems
    assert problem == [why, url, 5] and came[4][3] <= lost_at <= came[5][3]


def test_a_stream_that_stalls_is_opened_again(address, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.01)
    problems = []
    source = open_source(f"{address}/stall", timeout=0.5, reconnect=inf)
    frames = source.frames(lambda error, *where: problems.append(str(error)))
    assert [next(frames).index for _ in range(7)] == [0, 1, 2, 3, 4, 6, 7]
    frames.close()
    name = f"stream {address + '/stall'!r}"
    stalled = f"{name} stalled: no frame for 0.5 s after 5 frames; check the sender and the network"
    assert problems == [lost(name, 5, stalled)]


def test_a_stream_that_begins_with_nothing_but_damage_is_opened_again(address, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.01)
    frames = open_source(f"{address}/early", reconnect=60).frames(lambda error, *where: None)
    assert next(frames).index == 6
    frames.close()


def test_a_stream_that_comes_back_with_nothing_but_damage(address, monkeypatch):
    """Each connection gave its tries more time, and who had left was not heard."""
    monkeypatch.setattr(reconnect, "PAUSE", 0.01)
    problems = []
    source = open_source(f"{address}/worn", reconnect=0.5)
    frames = source.frames(lambda error, *where: problems.append(str(error)))
    assert [next(frames).index for _ in range(5)] == list(range(5))
    with pytest.raises(DataError, match="its sender ended it; it was lost 1 s ago"):
        next(frames)
    assert sum("is lost" in problem for problem in problems) == 1
    assert all("cannot be decoded" in problem for problem in problems[1:]) and problems[1:]


def test_who_leaves_a_stream_of_damage_ends_it(address, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.01)
    damaged = threading.Event()
    frames = open_source(f"{address}/worn", reconnect=inf).frames(lambda *problem: damaged.set())
    assert next(frames).index == 0
    (reader,) = live._running
    frames.close()
    reader.join(60)
    assert not reader.is_alive() and not live._running


def test_a_camera_that_comes_back_and_then_stays_away(cameras, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.05)
    opened = cameras(3, 0, 2)
    came, problems = [], []
    frames = open_source(0, reconnect=0.3).frames(lambda error, *where: problems.append(str(error)))
    with pytest.raises(DataError, match=r"camera 0 cannot be opened: .*; it was lost 0 s ago"):
        for frame in frames:
            came.append(frame.index)
    assert came == [0, 1, 2, 4, 5]
    why = "camera 0 gives no more images after {}: check its cable"
    assert problems == [
        lost("camera 0", 3, why.format(3)),
        lost("camera 0", 6, why.format(2)),
    ]
    assert opened[-1] - opened[2] >= 0.3


def test_who_leaves_a_lost_camera_ends_its_tries(cameras, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSE", 0.01)
    opened = cameras(1)
    frames = open_source(0, reconnect=inf).frames(lambda error, *where: None)
    assert next(frames).index == 0
    (reader,) = live._running
    while len(opened) < 4:
        time.sleep(0.01)
    frames.close()
    reader.join(60)
    assert not reader.is_alive() and not live._running


def test_what_cannot_be_lost_is_not_opened_again(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="reconnect 5 is for cameras and streams"):
        open_source(tmp_path, reconnect=5)
    for wrong in (-1, nan):
        with pytest.raises(ConfigError, match=r"reconnect .* is out of range: allowed is 0"):
            open_source("rtsp://camera/1", reconnect=wrong)


@pytest.mark.parametrize(
    ("path", "words"), [("silent", "no answer in 0.5 s"), ("missing", "no video comes from there")]
)
def test_a_stream_that_does_not_open(address, path, words):
    with pytest.raises(DataError, match=words):
        list(open_source(f"{address}/{path}", timeout=0.5).frames(lambda error, *where: None))


def test_passwords_of_an_address_are_not_shown():
    assert public("rtsp://me:secret@camera:554/1") == "rtsp://camera:554/1"
    assert public("rtsp://me:sec@ret@camera:554/1") == "rtsp://camera:554/1"
    assert public("http://camera/a@b") == "http://camera/a@b"
    assert "secret" not in open_source("rtsp://me:secret@camera:554/1").title
