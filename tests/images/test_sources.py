"""Every kind of source, as good and as broken as users have them."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdlnet.errors import DataError
from kdlnet.images import items
from kdlnet.images.frame import Ready
from kdlnet.images.sources import open_source

from ..support.closed import closed


def save(path: Path, value: int = 90, size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
    return path


def save_video(path: Path, count: int = 8) -> Path:
    """Frame n is grey with the value 20 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for n in range(count):
        writer.write(np.full((48, 64, 3), 20 * n, np.uint8))
    writer.release()
    return path


def read(source, timeout: float = 5.0):
    """Frames and the lines of what was skipped."""
    problems = []
    frames = list(
        open_source(source, timeout).frames(lambda error, *where: problems.append(str(error)))
    )
    return frames, problems


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Three images in two folders, one of them the same name, and things that are no images."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("parts/a.png", 10), ("parts/b/a.png", 20), ("parts/b/c.JPG", 30)):
        save(Path(name), value)
    (Path("parts") / "notes.md").write_text("no image")
    (Path("parts") / ".hidden.png").write_text("no image")
    return tmp_path


def test_one_image(tree):
    (frame,), problems = read("parts/a.png")
    assert (frame.name, frame.stem, frame.index) == ("parts/a.png", "a", 0)
    assert frame.image.shape == (40, 60, 3) and (frame.image == 10).all()
    assert frame.timestamp is None and frame.path == Path("parts/a.png")
    assert problems == []


def test_a_folder_is_searched_with_all_below(tree):
    source = open_source("parts")
    assert (source.kind, source.title, source.total, source.live) == ("images", "parts", 3, False)
    frames, _ = read(Path("parts"))
    assert [frame.stem for frame in frames] == ["a", "b/a", "b/c"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.image[0, 0, 0] for frame in frames] == [10, 20, 30]


@pytest.mark.parametrize(
    ("pattern", "stems"),
    [
        ("parts/*.png", ["a"]),
        ("parts/**/*", ["a", "b/a", "b/c"]),
        ("parts/b/[a-c].*", ["a", "c"]),
        ("*/b/?.png", ["parts/b/a"]),
    ],
)
def test_globs(tree, pattern, stems):
    for text in (pattern, f"{tree}/{pattern}"):
        assert [frame.stem for frame in read(text)[0]] == stems


def test_folders_that_a_glob_of_images_matches_too_are_told(tree):
    """A shell would have taken them: who quotes the glob must not lose parts in silence."""
    (tree / "parts/empty").mkdir()
    save(tree / "parts/run/a.png")
    (tree / "parts/run/.kdlnet").touch()  # results are no input
    found = open_source("parts/*")
    assert found.files == (Path("parts/a.png"),)
    (note,) = found.notes
    assert note.startswith("left out 1 folder with images that a glob matches, first 'parts/b'")
    assert "write **/* for all" in note
    assert not any("that a glob matches" in line for line in open_source("parts/**/*").notes)
    assert open_source("parts/*.png").notes == ()
    assert open_source(["parts/*", "parts/b"]).notes == ()
    assert open_source(["parts/*", str(Path("parts/b").absolute())]).notes == ()
    assert open_source(["parts/*", *map(str, Path("parts/b").rglob("*.*"))]).notes == ()
    assert not any("that a glob matches" in line for line in open_source(["parts/*", "."]).notes)
    assert "left out 1 folder " in open_source(["parts/*", "p*ts/*"]).notes[0]
    with pytest.raises(DataError, match=r"nothing matches 'par\?\?': .* first 'parts'"):
        open_source("par??")
    for spelling in ("parts/b*", "./parts/b*", f"{Path('parts').absolute()}/b*"):
        with pytest.raises(DataError, match=r"nothing matches .* left out 1 folder with images"):
            open_source(["parts/*", spelling])


def test_a_name_with_brackets_is_a_file_first(tree):
    save(Path("a[1].png"))
    assert [frame.stem for frame in read("a[1].png")[0]] == ["a[1]"]


def test_a_list_file(tree):
    """Relative to the list, else to the working directory; results never leave their folder."""
    Path("parts/list.txt").write_text(
        "\ufeffa.png\n\n./b/c.JPG\nparts/b/a.png\n../up.png\nno.png\n"
    )
    save(Path("up.png"), 40)
    frames, problems = read("parts/list.txt")
    assert [frame.image[0, 0, 0] for frame in frames] == [10, 30, 20, 40]
    assert all(".." not in frame.stem and not frame.stem.startswith("/") for frame in frames)
    names = ["parts/a.png", "parts/b/c.JPG", "parts/b/a.png", "up.png"]
    assert [frame.name for frame in frames] == names
    (problem,) = problems
    assert "no.png" in problem and "does not exist" in problem


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_a_list_behind_a_link_names_what_the_system_finds_there(tree):
    Path("elsewhere/lists").mkdir(parents=True)
    save(Path("elsewhere/a.png"), 50)
    save(Path("a.png"), 60)
    Path("elsewhere/lists/list.txt").write_text("../a.png\n")
    Path("lists").symlink_to("elsewhere/lists")
    assert [frame.image[0, 0, 0] for frame in read("lists/list.txt")[0]] == [50]


def test_a_list_is_read_as_those_of_datasets_are(tree):
    name = "parts/new\x85line.png"  # ends a line elsewhere, not in a list of files
    save(Path(name))
    Path("parts/list.txt").write_text("new\x85line.png\n", encoding="utf-8")
    assert [frame.name for frame in read("parts/list.txt")[0]] == [name]
    Path("parts/list.txt").write_text("a.png\n", encoding="utf-16")
    with pytest.raises(DataError, match="is saved as UTF-16: save it as UTF-8"):
        read("parts/list.txt")


def test_a_file_that_a_list_names_in_a_closed_folder_is_one_that_nobody_saw(tree, monkeypatch):
    """Root may look everywhere: the system's answer is given in its place."""
    shut, opened = tree / "parts" / "b", io.open

    def closed_to(call):
        def look(path, *rest, **more):
            if isinstance(path, (str, os.PathLike)) and Path(path).absolute().parent == shut:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(path, *rest, **more)

        return look

    Path("parts/list.txt").write_text("b/c.JPG\na.png\n")
    Path("parts/b/list.txt").touch()
    monkeypatch.setattr(os, "stat", closed_to(os.stat))
    monkeypatch.setattr(os, "lstat", closed_to(os.lstat))
    monkeypatch.setattr(io, "open", closed_to(opened))
    monkeypatch.setattr("builtins.open", closed_to(opened))
    named = ["parts/b/c.JPG", "parts/a.png"]
    for source in ("parts/list.txt", named, ["parts/b/v.mp4", "parts/a.png"], "parts/*/*.JPG"):
        frames, (line,) = read(source)
        assert [frame.name for frame in frames] == ["parts/a.png"] * (source != "parts/*/*.JPG")
        assert "parts/b/" in line and "Permission denied" in line
    for source in ("parts/b/c.JPG", "parts/b/v.mp4", "parts/b/list.txt"):
        with pytest.raises(DataError, match=r"parts/b/.* cannot be read .Permission denied"):
            read(source)


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 300 + ".png", "a" * 300 + ".mp4"])
def test_what_is_no_name_of_a_file_is_told(tree, name):
    frames, (line,) = read([name, "parts/a.png"])
    assert [frame.name for frame in frames] == ["parts/a.png"]
    assert "does not exist" in line or "File name too long" in line
    with pytest.raises(DataError, match=r"does not exist|cannot be read .File name too long"):
        read(name)


def test_what_a_list_names_again_counts_once_and_is_told(tree):
    Path("parts/list.txt").write_text("a.png\nb/a.png\nb/../a.png\na.png\n")
    source = open_source("parts/list.txt")
    assert source.total == 2
    assert source.notes == ("named again: 2 files, first 'parts/a.png'; each counts once",)
    assert open_source(["parts/list.txt", "parts/b/c.JPG"]).total == 3


@pytest.mark.parametrize("source", ["parts", "parts/**/*", ["parts", "parts/a.png"]])
def test_a_folder_that_cannot_be_listed_is_an_image_nobody_saw(tree, source):
    with closed(tree / "parts/b"):
        frames, (line,) = read(source)
        assert [frame.name for frame in frames] == ["parts/a.png"]
        assert "'parts/b' cannot be read (Permission denied)" in line
        opened = open_source(source)
        assert opened.total == 2 and opened.kind == "images" and len(opened.files) == 1
    with closed(tree / "parts"), pytest.raises(DataError, match="'parts' cannot be read"):
        open_source(source)


@pytest.mark.parametrize("source", ["parts", "parts/**/*", ["parts", "parts/a.png"]])
def test_pictures_that_are_not_read_are_counted_by_suffix(tree, source):
    for name in ("parts/d.HEIC", "parts/b/e.heic", "parts/f.jp2", "parts/.g.jp2", "parts/h.json"):
        Path(name).write_text("no image")
    note = next(note for note in open_source(source).notes if "not read" in note)
    assert note.startswith("pictures that are not read: 2 .heic, 1 .jp2; save them as")
    with pytest.raises(DataError, match=r"holds no images .*not read: 1 \.heic"):
        save(Path("phone/x.heic.png")).rename("phone/x.heic")
        open_source("phone")
    with pytest.raises(DataError, match=r"nothing matches .*not read: 1 \.heic"):
        open_source("phone/*.heic")


def test_arrays_and_sequences(tree):
    grey, deep = np.zeros((3, 5), np.uint8), np.zeros((3, 5, 1), np.uint16)
    (frame,), _ = read(grey)
    assert frame.image.shape == (3, 5, 1)
    frames, _ = read([deep, "parts/a.png", Path("parts/b"), np.zeros((2, 2, 3), np.uint8)])
    assert [frame.image.shape for frame in frames] == [
        (3, 5, 1),
        (40, 60, 3),
        (40, 60, 3),
        (40, 60, 3),
        (2, 2, 3),
    ]
    for wrong in (np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2)), np.zeros((0, 2), np.uint8)):
        with pytest.raises(DataError, match="is no image"):
            open_source(wrong)


def test_a_file_beside_its_folder_comes_once_and_by_itself_as_often_as_named(tree):
    frames, _ = read(["parts/b/../b/a.png", Path("parts"), "parts/b", tree / "parts/a.png"])
    assert [Path(frame.name).resolve().relative_to(tree).as_posix() for frame in frames] == [
        "parts/b/a.png",
        "parts/a.png",
        "parts/b/c.JPG",
    ]
    assert len(read(["parts/a.png", "parts/a.png"])[0]) == 2  # an answer for each of a list


def test_globs_and_lists_are_read_among_several_too(tree):
    (tree / "some.txt").write_text("parts/b/c.JPG\nparts/a.png\n")
    found = open_source(["parts/b/a.*", "some.txt", "parts/a.png"])
    names = ["parts/b/a.png", "parts/b/c.JPG", "parts/a.png"]
    assert [path.resolve().relative_to(tree).as_posix() for path in found.files] == names
    assert found.folders == ()
    assert open_source(["parts/**/a.*", "some.txt"]).folders == (Path("parts"),)
    (tree / "one.txt").write_text("parts/a.png\n")
    assert open_source(["one.txt", "parts/a.png"]).total == 1


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (None, "a NoneType"),
        (0.5, "a float"),
        (b"parts", "a bytes"),
        (True, "a bool"),  # an int to Python, but no camera
        ((path for path in ["parts"]), "a generator"),
        ([None], "entry 0: a NoneType"),
        (["parts", 0], "entry 1: a int"),
    ],
)
def test_what_names_nothing_is_refused_in_one_line(tree, wrong, what):
    with pytest.raises(DataError, match=f"^{what} is no source: give an image.*a list of images$"):
        open_source(wrong)


def test_cameras_are_counted_from_0():
    with pytest.raises(DataError, match="camera -1: they are counted from 0"):  # it ended Python
        open_source(-1)


@pytest.mark.parametrize("number", ["20261129101112", "1" * 300, "1" * 5000, 10**11])
def test_a_number_that_no_camera_has_is_the_name_of_a_file(tree, number):
    with pytest.raises(DataError, match=rf"^source '{number}' [^\n]*: give an image"):
        open_source(number)


@pytest.mark.parametrize("kind", ["as it is", "flipped", "big-endian"])
def test_frames_of_an_array_are_its_one_copy(kind, monkeypatch):
    """Cameras fill one buffer again and again: what was found must not be drawn on what follows."""
    whole = np.arange(4 * 6 * 3, dtype=np.uint16).reshape(4, 6, 3)
    given = {"as it is": whole, "flipped": whole[:, ::-1], "big-endian": whole.astype(">u2")}[kind]
    wanted = given.tolist()
    frames, _ = read([given, given])
    given[:] = 0
    for frame in frames:
        assert frame.image.tolist() == wanted and frame.image.dtype == np.dtype("=u2")
        assert frame.image.flags.c_contiguous and frame.image.flags.owndata
    assert not np.shares_memory(frames[0].image, frames[1].image)


def test_few_copies_of_large_arrays_are_made_ahead():
    large = items.array_item(np.zeros((8192, 8192), np.uint8), 0)
    ahead = [items._Coming(k, large, items._file_bytes(large), None) for k in range(4)]
    assert not items._room(ahead, items._SWELL)
    small = items.array_item(np.zeros((640, 640), np.uint8), 0)
    assert items._room([items._Coming(0, small, items._file_bytes(small), None)] * 31, items._SWELL)


def test_a_wrong_array_among_several_is_named(tree):
    with pytest.raises(DataError, match=r"^array 1 of shape"):
        open_source([np.zeros((2, 2), np.uint8), np.zeros((2, 2))])


def test_16_bits_in_the_other_order_of_bytes_are_the_same_image(tree):
    deep = np.arange(15, dtype=np.uint16).reshape(3, 5, 1) * 257
    (frame,), _ = read(deep.astype(">u2"))
    assert frame.image.dtype == np.uint16 and (frame.image == deep).all()


def test_what_cannot_be_read_is_named_and_skipped(tree):
    good = Path("parts/a.png").read_bytes()
    Path("parts/b/cut.png").write_bytes(good[: len(good) // 2])
    Path("parts/b/zero.jpg").touch()
    Path("parts/b/text.bmp").write_text("no image")
    frames, problems = read("parts")
    assert len(frames) == 3
    assert len(problems) == 3
    for name in ("cut.png", "zero.jpg", "text.bmp"):
        assert sum(name in problem for problem in problems) == 1


def test_one_by_one_pixel_and_sixteen_bits(tree):
    cv2.imwrite("dot.png", np.array([[7]], np.uint8))
    cv2.imwrite("deep.png", np.array([[7, 65535]], np.uint16))
    assert read("dot.png")[0][0].image.shape == (1, 1, 1)
    deep = read("deep.png")[0][0].image
    assert deep.dtype == np.uint16 and deep.max() == 65535


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", ["'nowhere'", "does not exist", "folder"]),
        ("nowhere/*.png", ["nowhere/*.png", "nothing matches"]),
        ("empty", ["'empty'", "no images"]),
        ("empty.txt", ["empty.txt", "is empty"]),
        ("text.avi", ["text.avi", "cannot be opened"]),
        ("zero.mp4", ["zero.mp4", "cannot be opened"]),
        ([], ["no images given"]),
        ("", ["source is empty"]),
        (["a.png", ""], ["source is empty"]),
        (["a.png", "0"], ["camera 0", "by itself"]),
        (["rtsp://me:secret@line/1", "a.png"], ["rtsp://line/1", "by itself"]),
    ],
)
def test_sources_that_are_none(tmp_path, monkeypatch, source, words):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("empty.txt").touch()
    Path("zero.mp4").touch()
    Path("text.avi").write_text("no video")
    with pytest.raises(DataError) as caught:
        open_source(source)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_videos_among_images_keep_their_order(tree):
    save_video(Path("parts/b/b.avi"), 2)
    frames, _ = read("parts/b/*")
    assert [frame.stem for frame in frames] == ["a", "b/000000", "b/000001", "c"]
    assert open_source("parts/b/*").total is None


def test_small_images_are_read_ahead_and_large_ones_not(monkeypatch) -> None:
    """By the bytes of their pixels, guessed from those of their files."""

    def coming(count: int, size: int) -> list[items._Coming]:
        return [items._Coming(n, items.Item("a", "a"), size, None) for n in range(count)]

    assert items._room(coming(31, 10_000), 20.0) and not items._room(coming(32, 10_000), 20.0)
    # A JPEG of 30 MB is a board of 600 MB or so: four of them, as before.
    assert items._room(coming(3, 30_000_000), 20.0) and not items._room(coming(4, 30_000_000), 20.0)


def test_what_is_read_ahead_comes_in_order_and_prepared(tmp_path: Path) -> None:
    for n in range(40):
        cv2.imwrite(str(tmp_path / f"{n:02d}.png"), np.full((8, 8), n, np.uint8))
    (tmp_path / "07.png").write_bytes(b"")
    threads, problems = set(), []

    def prepare(image):
        threads.add(threading.get_ident())
        return Ready(image + 1, None, 0.0)

    frames = list(
        open_source(tmp_path).frames(lambda error, *where: problems.append(error), prepare)
    )
    wanted = [n for n in range(40) if n != 7]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == wanted
    assert [int(frame.ready.pixels[0, 0, 0]) for frame in frames] == [n + 1 for n in wanted]
    assert len(problems) == 1 and threading.get_ident() not in threads
