"""Folders of results: what they may replace, and where they never lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdlnet.errors import KdlnetError
from kdlnet.utils.files import write_atomic
from kdlnet.utils.leftovers import remove_temporary
from kdlnet.utils.manifest import DATASET_MARK, MARK, record, strangers
from kdlnet.utils.output import Place, new_folder, whole_folder

from ..support.closed import closed


def test_a_taken_folder_counts_up_and_an_own_one_can_be_replaced(tmp_path: Path) -> None:
    first = new_folder(tmp_path / "run")
    write_atomic(first / "old.txt", b"x")
    assert new_folder(tmp_path / "run") == tmp_path / "run-2"
    assert new_folder(tmp_path / "run", overwrite=True) == first
    assert [path.name for path in first.iterdir()] == [MARK]


def test_a_folder_with_a_config_of_someone_else_is_no_run(tmp_path: Path) -> None:
    """A project with its config.yaml and its dataset is left as it is."""
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "config.yaml").write_text("mine: 1\n")
    with pytest.raises(KdlnetError, match="was not made by kdlnet"):
        new_folder(tmp_path / "x", project, overwrite=True)
    assert (project / "config.yaml").read_text() == "mine: 1\n"


@pytest.mark.parametrize("kind", ["reads", "images"])
def test_what_is_read_is_never_deleted(tmp_path: Path, kind: str) -> None:
    folder = new_folder(tmp_path / "run")
    (folder / "deep").mkdir()
    kept = folder / "deep" / "kept.bin"
    kept.write_bytes(b"1")
    with pytest.raises(KdlnetError, match="would delete"):
        new_folder(tmp_path / "x", folder, overwrite=True, **{kind: [kept]})
    assert kept.read_bytes() == b"1"


def test_results_never_lie_among_the_images(tmp_path: Path) -> None:
    image = tmp_path / "set" / "images" / "a.png"
    image.parent.mkdir(parents=True)
    for inside in (image.parent, image.parent / "run"):
        with pytest.raises(KdlnetError, match="nothing is ever written"):
            new_folder(tmp_path / "x", inside, images=[image])
    assert new_folder(tmp_path / "set" / "runs", images=[image]).is_dir()


def test_overwrite_spares_what_a_person_put_there_or_changed(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    for name in ("labels/a.txt", "labels/b.txt", "results.csv"):
        write_atomic(folder / name, b"0 0.5 0.5 0.1 0.1\n")
    write_atomic(folder / "results.csv", b"epoch,ap\n0,0.5\n")  # written twice: ours all the same
    (folder / "labels" / "b.txt").write_text("1 0.5 0.5 0.1 0.1\n")  # mended, of the same size
    (folder / "notes.txt").write_text("lot 7")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(KdlnetError, match=r"2 files .*run'.*, first 'notes.txt': move them") as it:
        new_folder(tmp_path / "x", folder, overwrite=True)
    assert "\n" not in str(it.value)
    (folder / "notes.txt").unlink()
    with pytest.raises(KdlnetError, match=r"would delete a file in .* first 'labels/b.txt'"):
        new_folder(tmp_path / "x", folder, overwrite=True)
    assert all(path.read_bytes() == data for path, data in before.items() if path.exists())
    (folder / "labels" / "b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert new_folder(tmp_path / "x", folder, overwrite=True) == folder
    assert [path.name for path in folder.iterdir()] == [MARK]


def test_a_large_file_is_judged_by_size_and_time(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    write_atomic(folder / "best.pt", bytes(1 << 17))
    assert strangers(folder) == []
    info = (folder / "best.pt").stat()
    os.utime(folder / "best.pt", ns=(info.st_atime_ns, info.st_mtime_ns + 1))
    assert strangers(folder) == [folder / "best.pt"]


def test_a_folder_that_cannot_be_listed_is_a_stranger(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").touch()
    with closed(folder / "mine"):
        assert strangers(folder) == [folder / "mine"]


def test_results_in_results_have_a_list_of_their_own(tmp_path: Path) -> None:
    outer = new_folder(tmp_path / "series")
    inner = new_folder(outer / "student")
    write_atomic(inner / "weights" / "best.pt", b"1")
    with whole_folder(outer / "data", False) as data:
        (data / "report.json").write_text('{"made_by": "kdlnet"}')
    assert strangers(outer) == []
    (inner / "mine").symlink_to(tmp_path)
    (outer / "data" / "mine.png").touch()
    assert strangers(outer) == [outer / "data" / "mine.png", inner / "mine"]


def test_a_kill_between_note_and_name_leaves_a_folder_that_can_be_replaced(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    write_atomic(folder / "last.pt", b"old")
    (folder / "other").write_bytes(b"new one")
    record(folder / "last.pt", folder / "other")
    (folder / "other").unlink()
    assert strangers(folder) == []
    record(folder / "growing.csv", folder / "last.pt", grows=True)
    (folder / "last.pt").rename(folder / "growing.csv")
    (folder / "growing.csv").write_bytes(b"a row more")
    assert strangers(folder) == []
    record(folder / "growing.csv")
    (folder / "growing.csv").write_bytes(b"a row less")
    assert strangers(folder) == [folder / "growing.csv"]


def test_folders_of_older_versions(tmp_path: Path) -> None:
    """Their marks are empty: what is obviously no result of kdlnet's is spared."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / MARK).touch()
    (folder / "results.csv").touch()
    write_atomic(folder / "last.pt", b"1")  # a resume by this version
    assert strangers(folder) == []
    (folder / "thesis.docx").touch()
    with pytest.raises(KdlnetError, match=r"first 'thesis.docx'"):
        new_folder(tmp_path / "x", folder, overwrite=True)
    (folder / "thesis.docx").unlink()
    assert new_folder(tmp_path / "x", folder, overwrite=True) == folder


def test_checking_changes_nothing(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    write_atomic(folder / "findings.json", b"{}")
    Place(folder, folder, overwrite=True).check()
    assert (folder / "findings.json").exists()


def test_a_folder_that_is_read_as_a_whole_is_no_place_for_results(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    with pytest.raises(KdlnetError, match="nothing is ever written"):
        new_folder(tmp_path / "images" / "runs", folders=[tmp_path / "images"])
    (tmp_path / "link").symlink_to(tmp_path / "images")
    with pytest.raises(KdlnetError, match="nothing is ever written"):
        new_folder(tmp_path / "link" / "runs", folders=[tmp_path / "images"])
    assert not (tmp_path / "images" / "runs").exists()


def test_starts_at_the_same_moment_get_folders_of_their_own(tmp_path: Path) -> None:
    """Several processes wait for one gun; half of the rounds begin with an empty folder."""
    code = """
import sys, time
from pathlib import Path
from kdlnet.utils.output import new_folder
gun = Path(sys.argv[1])
print("ready", flush=True)
while not gun.exists():
    pass
for n in range(40):
    print(new_folder(gun.parent / f"run-{n}-x").name, flush=True)
"""
    for n in range(0, 40, 2):
        (tmp_path / f"run-{n}-x").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path / "gun")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    (tmp_path / "gun").touch()
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert all(process.returncode == 0 for process in processes)
    assert len(names) == len(set(names)) == 160


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A dataset as this version writes it, with a linked and an own image."""
    (tmp_path / "original.png").write_bytes(b"pixels")
    out = tmp_path / "set"
    with whole_folder(out, False) as folder:
        (folder / "labels").mkdir()
        (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
        (folder / "a.png").hardlink_to(tmp_path / "original.png")
        (folder / "b.png").symlink_to(tmp_path / "original.png")
        (folder / "c.png").write_bytes(b"own")
        (folder / "report.json").write_text('{"made_by": "kdlnet"}')
    return out


def replace_set(out: Path) -> None:
    with whole_folder(out, True) as folder:
        (folder / "report.json").write_text('{"made_by": "kdlnet"}')


def test_a_dataset_is_replaced_as_long_as_nobody_mended_it(tmp_path: Path, written: Path) -> None:
    (tmp_path / "original.png").write_bytes(b"edited in place: the original still has it")
    replace_set(written)
    assert sorted(path.name for path in written.iterdir()) == [DATASET_MARK, "report.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original.png", "set"]


@pytest.mark.parametrize("number", [1, 2])  # away with the old one, then the new one's name
@pytest.mark.parametrize("done", [False, True])
def test_ctrl_c_between_two_names_leaves_one_whole_dataset(
    written: Path, monkeypatch: pytest.MonkeyPatch, number: int, done: bool
) -> None:
    rename, left = Path.rename, number

    def stopped(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0 and not done:
            raise KeyboardInterrupt
        rename(path, target)
        if left == 0:
            raise KeyboardInterrupt
        return target

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        replace_set(written)
    assert (written / "report.json").is_file()
    assert (written / "c.png").is_file() == ((number, done) != (2, True))


def test_where_the_old_dataset_is_that_cannot_be_put_back_is_told(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, moved = Path.rename, []

    def refused(path: Path, target: Path) -> Path:
        if moved:
            raise PermissionError(13, "Permission denied")
        moved.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(KdlnetError, match="rename it back before the next try") as caught:
        replace_set(written)
    assert repr(str(moved[0])) in str(caught.value)
    assert (moved[0] / "report.json").is_file()


def test_the_last_name_of_an_image_is_not_deleted(tmp_path: Path, written: Path) -> None:
    (tmp_path / "original.png").unlink()
    with pytest.raises(KdlnetError, match=r"would delete .* first 'a\.png'"):
        replace_set(written)
    assert (written / "a.png").read_bytes() == b"pixels"


def test_a_dataset_that_was_copied_with_its_links_is_replaced(
    tmp_path: Path, written: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(written, moved / "set", symlinks=True)
    shutil.copy2(tmp_path / "original.png", moved / "original.png")
    (moved / "set" / "a.png").unlink()
    (moved / "set" / "a.png").hardlink_to(moved / "original.png")
    replace_set(moved / "set")
    assert (moved / "original.png").read_bytes() == b"pixels"


@pytest.mark.parametrize("name", ["labels/a.txt", "c.png", "b.png", "mine.txt", "report.json"])
def test_what_was_mended_in_a_dataset_stays(tmp_path: Path, written: Path, name: str) -> None:
    (written / name).unlink(missing_ok=True)
    (written / name).write_text('{"made_by": "kdlnet", "note": "1"}')
    before = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    with pytest.raises(KdlnetError, match=f"would delete a file .* first '{name}'"):
        replace_set(written)
    assert {path: path.read_bytes() for path in written.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original.png", "set"]


def test_a_dataset_of_an_older_version(written: Path) -> None:
    """Without a list: what is newer than its report, its last file, is somebody else's."""
    (written / DATASET_MARK).unlink()
    assert strangers(written) == []
    later = (written / "report.json").stat().st_mtime + 60
    os.utime(written / "labels" / "a.txt", (later, later))
    with pytest.raises(KdlnetError, match=r"first 'labels/a.txt'"):
        replace_set(written)


def test_what_a_file_manager_leaves_is_in_nobodys_way(written: Path) -> None:
    (written / "Thumbs.db").touch()
    replace_set(written)


def test_a_kill_leaves_nothing_that_the_next_start_keeps(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from kdlnet.utils import files
from kdlnet.utils.output import new_folder, whole_folder
place = Path(sys.argv[1])
with whole_folder(place / "set", False) as folder:
    (folder / "a.txt").touch()
    run = new_folder(place / "run")
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    files.write_atomic(run / "last.pt", b"half")
"""
    for path in (".set.0123456789", ".set.mine", ".set.01234567"):  # no such folder is ours
        (tmp_path / path).mkdir()
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert len([*tmp_path.glob(".set.*"), *tmp_path.glob("run/.*.tmp")]) == 5
    mine = tmp_path / "run" / ".0123456789abcdef0123456789abcdef.tmp"
    mine.touch()
    os.utime(mine, (1, 1))
    for file in [*tmp_path.glob("run/.kdlnet-*"), *tmp_path.glob(f".set.*/{DATASET_MARK}")]:
        os.utime(file, (1, 1))  # older than this process, as at the next start
    with whole_folder(tmp_path / "set", False):
        pass
    write_atomic(tmp_path / "run" / "last.pt", b"whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".set.01234567", ".set.0123456789", ".set.mine", "run", "set"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {MARK, "last.pt", mine.name}


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """Old by its time, but its writer lives; and held by none, but younger than this process."""
    young = tmp_path / f".kdlnet-{'1' * 32}.tmp"
    young.touch()
    held = tmp_path / f".kdlnet-{'0' * 32}.tmp"
    code = """
import sys
from pathlib import Path
from kdlnet.utils.leftovers import lock
with Path(sys.argv[1]).open("xb") as file:
    assert lock(file)
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(held)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        os.utime(held, (1, 1))
        remove_temporary(tmp_path)
        assert held.exists() and young.exists()
        process.communicate("")
    os.utime(held, (1, 1))
    remove_temporary(tmp_path)
    assert not held.exists() and young.exists()
