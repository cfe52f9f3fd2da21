"""The contract of every verb: exit codes, one line an error, one document on stdout."""
# ruff: noqa: TID251

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kdlnet import __version__
from kdlnet.errors import DataError, ProofFailed, WeightsError
from kdlnet_cli import errors
from kdlnet_cli.main import main

if TYPE_CHECKING:
    from .conftest import Command, FakeEngine

VERBS = [
    *("train", "distill", "val", "compare", "predict", "fuse", "bench", "export", "demo"),
    *("models", "env", "data convert", "data prepare", "data check", "data split", "data show"),
    "data synth",
]


def test_help_is_quick_and_light() -> None:
    """Measured at 0.12 s; processor time, which a loaded machine does not stretch."""
    script = (
        "import sys, time, kdlnet_cli.main as m; code = m.main(['--help']);"
        "print(time.process_time(), file=sys.stderr);"
        "heavy = {'torch', 'torchvision', 'pydantic', 'numpy', 'cv2'} & set(sys.modules);"
        "sys.exit(str(sorted(heavy)) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert float(done.stderr) < 1.0


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_that_fits_a_screen(kdlnet: Command, verb: str) -> None:
    run = kdlnet(verb, "--help")
    assert run.code == 0
    assert f"kdlnet {verb}" in run.out
    lines = run.out.splitlines()
    assert len(lines) <= 44
    assert max(len(line) for line in lines) <= 80
    assert "--json" in run.out
    assert "--quiet" in run.out


def test_version(kdlnet: Command) -> None:
    run = kdlnet("--version")
    assert (run.code, run.out, run.err) == (0, f"kdlnet {__version__}\n", "")


def test_no_verb_shows_help_and_is_usage(kdlnet: Command) -> None:
    for arguments in ([], ["data"]):
        run = kdlnet("", *arguments)
        assert run.code == 2
        assert run.out == ""
        assert "Commands:" in run.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["trian", "train"]),
        (["train", "--epohcs", "3"], ["--epohcs", "--epochs"]),
        (["train", "--epochs", "many"], ["--epochs", "'many'", "integer"]),
        (["predict", "x", "--reconnect", "--save", "csv"], ["--reconnect", "'--save'"]),
        (["predict", "x", "--score", "half"], ["--score", "'half'"]),
        (["train", "--epochs", "0"], ["--epochs", "1 or more"]),
        (["val", "a.pt", "--batch", "0"], ["--batch", "1 or more"]),
        (["train", "--seed", "-1"], ["--seed", "0 or more"]),
        (["data", "convert", "voc", "a", "--out", "b", "--origin", "2"], ["--origin", "0, 1"]),
        (["train", "--time", "90"], ["--time", "'90'", "1h30m"]),
        (["train"], ["no dataset", "--data"]),
        (["val", "a.pt"], ["no dataset", "--data"]),
        (["fuse", "a.pt", "--data", "x", "--data", "y"], ["--data x and --data y", "give one"]),
        (["val", "--data", "x"], ["no weights file"]),
        (["fuse", "a.pt", "--weights", "b.pt"], ["two weights files", "a.pt", "b.pt"]),
        (["data", "convert", "voc"], ["SOURCE"]),
        (["data", "convert", "voc", "x", "--out", "y", "--split", "train"], ["train", "NAME=LIST"]),
        (["data", "convert", "voc", "x", "--out", "y", "--value", "red=pit"], ["red", "#ff0000"]),
        (["data", "convert", "voc", "x", "--out", "y", "--class", "dust"], ["'dust'", "dust="]),
        (
            ["data", "convert", "voc", "x", "--out", "y", "--class-from", "x"],
            ["'x'", "folder, name"],
        ),
        (["data", "prepare", "neu-det"], ["--from"]),
        (["train", "--data"], ["--data"]),
        (["distill", "--teacher-model", "lightnet", "--data", "x"], ["lightnet", "--student"]),
        (["distill", "--teacher", "a.pt", "--teacher-model", "lightnet"], ["leave one out"]),
        (["distill", "--seeds", "0,1", "--data", "x"], ["--baseline"]),
        (["distill", "--baseline", "--generations", "2"], ["--baseline", "--generations"]),
        (["distill", "--resume", "x", "--teacher-model", "lightnet"], ["--teacher-model", "out"]),
        (["distill", "--resume", "x", "--seeds", "0,1"], ["--seeds", "out"]),
    ],
)
def test_usage_is_2_and_names_the_fix(
    kdlnet: Command, arguments: list[str], words: list[str]
) -> None:
    run = kdlnet("", *arguments)
    assert run.code == 2
    assert run.out == ""
    first, *rest = run.err.splitlines()
    assert first.startswith("error: ")
    assert all(word in first for word in words), first
    assert all(line.startswith("Try 'kdlnet") for line in rest)


def test_usage_with_json_is_one_document(kdlnet: Command) -> None:
    run = kdlnet("train", "--json", "--epohcs", "3")
    assert run.code == 2
    assert run.document["error"]["code"] == 2
    assert "--epochs" in run.document["error"]["message"]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (WeightsError("no such file 'x.pt'"), 1, ["no such file 'x.pt'"]),
        (DataError("two\nlines"), 1, ["two lines"]),
        (ProofFailed("logits differ by 0.5"), 4, ["logits differ by 0.5"]),
        (OSError(errno.ENOSPC, "x", "/full/last.pt"), 1, ["/full/last.pt", "no space left"]),
        (PermissionError(errno.EACCES, "x", "/closed"), 1, ["/closed", "permission denied"]),
        (IsADirectoryError(errno.EISDIR, "x", "/folder"), 1, ["/folder", "directory"]),
        (MemoryError(), 1, ["out of memory", "--batch"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), 1, ["out of memory", "--batch"]),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), 1, ["out of memory"]),
        (ImportError("libGL.so.1: cannot open"), 1, ["libGL.so.1", "opencv-python-headless"]),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_errors_of_the_engine(
    kdlnet: Command,
    engine: FakeEngine,
    error: Exception,
    code: int,
    words: list[str],
    as_json: bool,
) -> None:
    engine.fail = error
    run = kdlnet("fuse", "x.pt", *["--json"] * as_json)
    assert run.code == code
    assert all(word in run.error for word in words), run.error
    if as_json:
        assert run.document == {"error": {"code": code, "message": run.error}}
    else:
        assert run.out == ""


def test_defect_is_3_with_a_log(kdlnet: Command, engine: FakeEngine, tmp_path: Path) -> None:
    engine.fail = ZeroDivisionError("a wrong turn")
    run = kdlnet("fuse", "x y.pt")
    assert run.code == 3
    (log,) = tmp_path.glob("kdlnet-error-*.log")
    assert str(log) in run.error
    assert "ZeroDivisionError: a wrong turn" in run.error
    text = log.read_text()
    for part in ("Traceback", "torch", f"kdlnet {__version__}", "command: kdlnet fuse 'x y.pt'"):
        assert part in text


def test_log_goes_to_the_temporary_folder_where_the_current_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root may write anywhere, so the current directory is one that was deleted."""
    gone, spare = tmp_path / "gone", tmp_path / "spare"
    gone.mkdir()
    spare.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(errors.tempfile, "gettempdir", lambda: str(spare))
    assert errors.report(ZeroDivisionError("x"), ["val"]) == 3
    (log,) = spare.glob("kdlnet-error-*.log")
    assert str(log) in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)


def test_interrupt_before_a_run_is_one_word(kdlnet: Command, engine: FakeEngine) -> None:
    engine.fail = KeyboardInterrupt()
    run = kdlnet("val", "x.pt", "--data", "set")
    assert run.code == 130
    assert run.err.splitlines()[-1] == "interrupted"


def test_sigterm_is_ctrl_c(kdlnet: Command, engine: FakeEngine) -> None:
    """The verb sees KeyboardInterrupt, and whoever calls main() keeps a handler of his own."""
    before = signal.getsignal(signal.SIGTERM)
    engine.on_call = lambda: os.kill(os.getpid(), signal.SIGTERM)
    run = kdlnet("val best.pt --data neu-det")
    assert run.code == 130
    assert run.err.splitlines()[-1] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("seconds", "told"), [(60.0, ["go on"]), (0.0, [])])
def test_a_stop_that_comes_twice_at_once_is_one(
    seconds: float,
    told: list[str],
    kdlnet: Command,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An impatient second Ctrl-C does not cost the line that says how to go on."""

    def stopped_twice() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            stop.add_note("go on")
            raise

    monkeypatch.setattr("kdlnet_cli.main._IMPATIENCE", seconds)
    engine.on_call = stopped_twice
    run = kdlnet("val best.pt --data neu-det")
    assert run.code == 130
    assert run.err.splitlines()[-1 - len(told) :] == ["interrupted", *told]


def ended(folder: Path, verb: str) -> tuple[int, str]:
    """Exit code and stderr of ``python -m kdlnet_cli``, whose verb the text ``verb`` replaces."""
    (folder / "driver.py").write_text(
        "import atexit, os, runpy\n"
        "import kdlnet_cli.main\n"
        f"{verb}\n"
        "runpy.run_module('kdlnet_cli', run_name='__main__', alter_sys=True)\n"
    )
    path = os.pathsep.join([str(folder), *sys.path])
    run = subprocess.run(
        [sys.executable, "-m", "driver"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stderr


def test_ctrl_c_inside_a_text_that_is_executed_is_code_130(tmp_path: Path) -> None:
    """As a library that writes its own functions does it; ``python -m`` would die of SIGINT."""
    verb = "kdlnet_cli.main._run = lambda _: exec('raise KeyboardInterrupt')"
    assert ended(tmp_path, verb) == (130, "interrupted\n")


def test_the_end_does_not_look_for_cycles_through_all_that_was_imported(tmp_path: Path) -> None:
    verb = "kdlnet_cli.main._run = lambda _: None"
    after = "import gc, sys\natexit.register(lambda: sys.stderr.write(str(len(gc.get_objects()))))"
    code, left = ended(tmp_path, f"{verb}\n{after}")
    assert code == 0 and int(left) < 1000, left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_python_ends_after_one_changes_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    stop = f"kdlnet_cli.main._run = stop = lambda *_: os.kill(os.getpid(), {number:d})"
    assert ended(tmp_path, f"{stop}\natexit.register(stop)") == (130, "interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_python_ends_after_a_finished_verb_changes_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    verb = "kdlnet_cli.main._run = lambda _: None"
    stop = f"atexit.register(os.kill, os.getpid(), {number:d})"
    assert ended(tmp_path, f"{verb}\n{stop}") == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_stop_while_the_commands_are_imported_is_one_line(
    number: signal.Signals, as_json: bool, tmp_path: Path
) -> None:
    """It comes in the first import of a library, which takes longer than the verbs' own."""
    (tmp_path / "typer.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(60)\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "kdlnet_cli", "models", *["--json"] * as_json],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    document = '{"error": {"code": 130, "message": "interrupted"}}\n' if as_json else ""
    assert (run.returncode, run.stdout, run.stderr) == (130, document, "interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as a shell does")
@pytest.mark.parametrize(("closed", "rank"), [("2>&-", "0"), (">&- 2>&-", "0"), ("", "1")])
def test_a_stop_while_the_commands_are_imported_may_have_nobody_to_tell(
    closed: str, rank: str, tmp_path: Path
) -> None:
    """Of the processes that torchrun started the first one tells it."""
    (tmp_path / "typer.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {signal.SIGINT:d})\ntime.sleep(60)\n"
    )
    run = subprocess.run(
        ["sh", "-c", f'exec "$0" -m kdlnet_cli models --json {closed}', sys.executable],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "RANK": rank},
        capture_output=True,
        text=True,
        check=False,
    )
    document = '{"error": {"code": 130, "message": "interrupted"}}\n' if closed == "2>&-" else ""
    assert (run.returncode, run.stdout, run.stderr) == (130, document, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_library_that_breaks_when_stopped_is_no_defect(
    number: signal.Signals, kdlnet: Command, engine: FakeEngine, tmp_path: Path
) -> None:
    """As numpy did, stopped in the middle of its import."""

    def break_down() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            raise RecursionError from None

    engine.on_call = break_down
    run = kdlnet("val best.pt --data neu-det")
    assert run.code == 130
    assert run.err.splitlines()[-1] == "interrupted"
    assert not list(tmp_path.glob("*.log"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_defect(closed: str, tmp_path: Path) -> None:
    """A file opened later must not take the number of a stream that C libraries print to."""
    script = (
        "import sys, kdlnet_cli.main as m; code = m.main(['--version']);"
        "file = open('after', 'wb'); sys.exit(code or 10 * (file.fileno() < 3))"
    )
    line = f"'{sys.executable}' -c \"{script}\" {closed}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_broken_pipe_is_quiet() -> None:
    """The reader leaves at once, as ``kdlnet --help | head -0`` does."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "kdlnet_cli", "--help"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_text_the_terminal_cannot_show_is_escaped() -> None:
    script = (
        "import sys, kdlnet_cli.main as m; from kdlnet_cli.console import Console;"
        "m.main(['--version']); Console().say('caf\\u00e9 \\udcff')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == rb"caf\xe9 \udcff"


def test_main_takes_its_arguments_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kdlnet", "--version"])
    assert main() == 0
    assert __version__ in capsys.readouterr().out


def test_completion_offers_the_verbs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kdlnet_cli"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "_KDLNET_COMPLETE": "complete_bash",
            "COMP_WORDS": "kdlnet ",
            "COMP_CWORD": "1",
        },
    )
    assert {"train", "val", "fuse"} <= set(done.stdout.split()), done.stderr


def test_json_strings_stay_in_one_document(kdlnet: Command, engine: FakeEngine) -> None:
    """A library that prints must not spoil the document."""
    engine.noise = "a library says hello"
    run = kdlnet("val", "x.pt", "--data", "set", "--json")
    assert json.loads(run.out)["ap"] == 0.5
    assert "a library says hello" in run.err
