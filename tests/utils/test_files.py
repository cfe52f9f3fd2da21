"""Atomic writes: all or nothing, one-line errors, no litter."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from kdlnet.errors import KdlnetError
from kdlnet.utils.files import (
    _clear_once,
    advice_at,
    check_writable,
    temporary_folder,
    write_atomic,
    write_together,
    written_together,
)
from kdlnet.utils.leftovers import hold, remove_folders


def test_writes_replaces_and_makes_folders(tmp_path):
    file = tmp_path / "größe" / "划痕.bin"
    write_atomic(file, b"first")
    write_atomic(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_atomic(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_reader_never_sees_half_a_file(tmp_path):
    file, link = tmp_path / "best.pt", tmp_path / "link"
    write_atomic(file, b"old")
    os.link(file, link)
    write_atomic(file, b"new")
    # The old bytes were not touched: the name moved on to another file.
    assert (file.read_bytes(), link.read_bytes()) == (b"new", b"old")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failure_keeps_the_old_file_and_leaves_no_litter(tmp_path, monkeypatch, error):
    file = tmp_path / "best.pt"
    write_atomic(file, b"old")

    def fail(_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    expected = KdlnetError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_atomic(file, b"new")
    if expected is KdlnetError:
        assert "No space left" in str(caught.value)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_files_that_belong_together_are_all_new_or_all_old(tmp_path, monkeypatch):
    """On a disk that takes the first and is full before the second is written."""
    one, two = tmp_path / "net.bin", tmp_path / "net.xml"
    write_together({one: b"old", two: b"old"})
    assert (one.read_bytes(), two.read_bytes()) == (b"old", b"old")
    fsync, calls = os.fsync, []

    def fail_later(handle):
        calls.append(handle)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail_later)
    with pytest.raises(KdlnetError, match=r"net\.xml.*No space left"):
        write_together({one: b"new", two: b"new"})
    assert (one.read_bytes(), two.read_bytes()) == (b"old", b"old")
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_a_stop_while_the_disk_is_waited_for_parts_no_files(tmp_path, monkeypatch):
    """Ctrl-C in each wait in turn, those for the names of files included: all old or all new."""
    contents = {tmp_path / name: b"new" for name in ("net.json", "net.xml", "net.bin")}
    fsync, waits = os.fsync, []

    def stopped(handle):
        fsync(handle)
        waits.append(handle)
        if len(waits) > len(found):
            raise KeyboardInterrupt

    found = []
    for _ in range(len(contents) + 1):  # one wait for each file, and then their folder
        for path in contents:
            path.write_bytes(b"old")
        waits.clear()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "fsync", stopped)
            write_together(contents)
        found.append({path.read_bytes() for path in contents})
        assert sorted(tmp_path.iterdir()) == sorted(contents)
    assert found == [{b"old"}] * len(contents) + [{b"new"}]


def test_what_fails_is_named(tmp_path):
    """Of several files whose contents are written in turn, their folder; of a name, the name."""
    one, two, long = tmp_path / "one", tmp_path / "two", tmp_path / (300 * "a")
    lines = []
    for paths in ([one], [one, two]):
        with pytest.raises(KdlnetError) as caught, written_together(paths):
            raise OSError(errno.ENOSPC, "no space")
        lines.append(str(caught.value).split(":")[0])
    for paths in ([long], [one, long], [long, one]):
        with pytest.raises(KdlnetError) as caught:
            write_together(dict.fromkeys(paths, b"new"))
        lines.append(str(caught.value).split(":")[0])
    wanted = [one, tmp_path, long, long, long]
    assert lines == [f"cannot write {str(path)!r}" for path in wanted]
    assert list(tmp_path.iterdir()) == []


def test_advice_is_of_the_disk_that_is_full(tmp_path, monkeypatch):
    """Results may go below the folder of temporary files, too: there --out is what helps."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        told = advice_at(Path(folder, "a.onnx"))
    assert told.startswith(f"free some space in {str(tmp_path)!r} or set TMPDIR")
    assert "--out" not in told and not list(tmp_path.iterdir())
    other = advice_at(tmp_path / "results" / "a.onnx")
    assert "--out" in other and "TMPDIR" not in other


def test_temporary_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    """One that is held is at work in another process, one without its mark is nobody's we know."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_folder() as folder:
        Path(folder, "model.onnx").write_bytes(b"half")
        for name in ("killed", "working"):
            shutil.copytree(folder, tmp_path / f"kdlnet-temporary-{name}")
            os.utime(tmp_path / f"kdlnet-temporary-{name}" / ".held", (0, 0))
    (tmp_path / "kdlnet-temporary-other").mkdir()
    (tmp_path / "kdlnet-temporary-link").symlink_to(tmp_path / "kdlnet-temporary-killed")
    _clear_once.cache_clear()
    with (tmp_path / "kdlnet-temporary-working" / ".held").open("r+b") as held:
        hold(held)
        with temporary_folder() as folder:
            assert Path(folder).is_dir()
    left = {path.name.rpartition("-")[2] for path in tmp_path.iterdir()}
    assert left == {"working", "other", "link"}


def test_a_temporary_folder_that_cannot_be_held_is_removed_by_no_other(tmp_path, monkeypatch):
    """Its lock may be refused to this process alone, as where a server has none left."""

    def refused(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("kdlnet.utils.leftovers.hold", refused)
    with temporary_folder() as folder:
        monkeypatch.setattr("kdlnet.utils.leftovers.hold", hold)
        for path in Path(folder).iterdir():
            os.utime(path, (0, 0))
        remove_folders(tmp_path, "kdlnet-temporary-", ".held")
        assert Path(folder).is_dir()
    assert not any(tmp_path.iterdir())


def test_a_folder_or_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KdlnetError, match="it is a folder"):
        write_atomic(tmp_path, b"x")
    with pytest.raises(KdlnetError, match="cannot write"):
        write_atomic(tmp_path / "file" / "below", b"x")


def test_a_place_is_tried_before_the_work_and_left_as_it_was(tmp_path):
    check_writable(tmp_path / "new" / "folder" / "best.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KdlnetError, match=r"cannot write .*best\.onnx.* another folder"):
        check_writable(tmp_path / "file" / "best.onnx")
