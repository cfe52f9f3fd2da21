# ruff: noqa: TID251
from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import typer

from kdlnet.errors import ConfigError
from kdlnet.metrics.verdict import DEFAULT_SCORE
from kdlnet.utils.parse import parse_numbers
from kdlnet_cli.commands.calibrate import numbers_by_class
from kdlnet_cli.commands.distill import parse_seeds
from kdlnet_cli.console import duration, figure, plain
from kdlnet_cli.errors import UsageProblem, one_line, printable
from kdlnet_cli.main import app
from kdlnet_cli.options import joined, names_in, one_weights, parse_time
from kdlnet_cli.pairs import parse_size, parse_splits
from kdlnet_cli.resume import check_same


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1.5H", 5400), ("1m5s", 65)],
)
def test_time(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "m", "0s", "-5m", "30m1h", "1h 30m", "2d", "nan", "1e3s"]
)
def test_time_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="90m, 2h, 45s or 1h30m"):
        parse_time(text)


def test_one_weights() -> None:
    a, b = Path("a.pt"), Path("b.pt")
    assert one_weights(a, None) == one_weights(None, a) == one_weights(a, Path("a.pt")) == a
    with pytest.raises(UsageProblem, match=r"'a.pt' as argument and 'b.pt' as --weights"):
        one_weights(a, b)
    with pytest.raises(UsageProblem, match=r"give --weights, .* name of released ones"):
        one_weights(None, None)


def test_splits_and_names() -> None:
    assert parse_splits(["train=a.txt", "val=b=c.txt"]) == {
        "train": Path("a.txt"),
        "val": Path("b=c.txt"),
    }
    assert parse_splits(None) is None
    for wrong in (["train"], ["=a.txt"], ["train="], ["train=a", "train=b"]):
        with pytest.raises(UsageProblem, match="--split"):
            parse_splits(wrong)


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        (["pit, deep scratch", "dent"], ["pit", "deep scratch", "dent"]),
        (['"oil, dry", pit ', '"a ""b"""'], ["oil, dry", "pit", 'a "b"']),
        (['5" hole'], ['5" hole']),
        (None, None),
    ],
)
def test_names(lists: list[str] | None, names: list[str] | None) -> None:
    assert names_in("--names", lists) == names


@pytest.mark.parametrize("text", ["pit,,scratch", "", "pit,", '"pit', '"a" b,c', "a\nb"])
def test_names_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match=r"--classes '.*': write names with commas between"):
        names_in("--classes", ["dent", text])


def test_size_of_pictures() -> None:
    assert parse_size(None) is None
    assert parse_size("200") == (200, 200)
    assert parse_size("200X300") == (200, 300)
    for wrong in ("", "x", "10x20x30", "-5", "2.5", "10x"):
        with pytest.raises(UsageProblem, match="HxW"):
            parse_size(wrong)


def test_check_same_names_every_difference() -> None:
    own = {"epochs": 10, "optim": {"lr": 0.1, "name": "sgd"}}
    check_same(Path("run"), own, {"epochs": 10, "optim": {"lr": 0.1, "name": "sgd"}})
    with pytest.raises(UsageProblem) as caught:
        check_same(Path("run"), own, {"epochs": 20, "optim": {"lr": 0.2, "name": "sgd"}})
    assert "epochs is 10 in the run and 20 now" in str(caught.value)
    assert "optim.lr is 0.1 in the run and 0.2 now" in str(caught.value)
    assert "name" not in str(caught.value)


def test_plain_values_are_json() -> None:
    values = {"path": Path("a/b"), "pair": (1, math.nan), "deep": [{"x": math.inf}], 1: None}
    assert plain(values) == {"path": "a/b", "pair": [1, None], "deep": [{"x": None}], "1": None}


def test_figures() -> None:
    assert [figure(0.12345), figure(7), figure(None), figure(math.nan)] == ["0.123", "7", "-", "-"]
    shown = [duration(seconds) for seconds in (0.04, 9.96, 59.6, 61, 3599.7, 7500)]
    assert shown == ["0.0 s", "10.0 s", "1 min 00 s", "1 min 01 s", "1 h 00 min", "2 h 05 min"]


def test_text_cannot_move_the_cursor() -> None:
    assert one_line("a\n  b\x1b[2Jc") == r"a b\x1b[2Jc"
    assert printable("a  b\nc\rd é") == r"a  b\nc\rd é"


def test_paths_of_windows_stand_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [r"C:\lot 7\a.png", r"\\server\share", "it's", r"D:\it's"]
    said = ", ".join(repr(path) for path in paths) + r" in \\server\x"
    assert printable(said) == said
    monkeypatch.setattr(sys, "platform", "win32")
    expected = r"""'C:\lot 7\a.png', '\\server\share', "it's", "D:\it's" in \\server\x"""
    assert printable(said) == expected
    assert printable(r"the dataset's 'C:\\lot\\a.png'") == r"the dataset's 'C:\lot\a.png'"


def test_seeds() -> None:
    assert parse_seeds("0,1, 2") == [0, 1, 2]
    for text in ("", "a", "0,0", "-1", "0,,1"):
        with pytest.raises(UsageProblem, match="different numbers from 0"):
            parse_seeds(text)


def test_lists_with_commas_may_be_given_again() -> None:
    """The last one would win in silence."""
    lists = {"NAMES", "KINDS", "COSTS"}
    assert joined(["a,b", "c"]) == "a,b,c" and joined(None) is None
    root = typer.main.get_command(app)
    found = [
        (name, option.multiple)
        for command in [*root.commands.values(), *root.commands["data"].commands.values()]
        for option in command.params
        for name in option.opts
        if option.metavar in lists or "," in (option.metavar or "")
        if option.metavar != "X1,Y1,X2,Y2"  # one region, no list
    ]
    assert sorted(found) == [
        (name, True)
        for name in ("--classes", "--cost", "--max-drop", "--names", "--only", "--save", "--seeds")
    ]


def test_numbers_by_key_come_once() -> None:
    assert parse_numbers("--max-drop", "ap=0.1, flips=0.2") == {"ap": 0.1, "flips": 0.2}
    with pytest.raises(ConfigError, match="--max-drop is given twice for ap: keep one"):
        parse_numbers("--max-drop", "ap=0.1,ap=0.2")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["25,pore=9"], {"": 25, "pore": 9}),
        (["25, pore=9", "pit=1e1"], {"": 25, "pore": 9, "pit": 10}),
        (["c,d=3,.5"], {"c,d": 3, "": 0.5}),  # a class of data.yaml may be called so
        (["a=b=2"], {"a=b": 2}),
    ],
)
def test_numbers_by_class(values: list[str], found: dict[str, float]) -> None:
    assert numbers_by_class("--min-area", values) == found


@pytest.mark.parametrize("text", ["", "25,", "25,pore", "pore=", "pore=high", "a=x,b=3", ",5"])
def test_numbers_by_class_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match="write a number, or NAME=NUMBER"):
        numbers_by_class("--min-area", [text])


def test_the_help_tells_the_default_score() -> None:
    """It may not import the library to say so."""
    page = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    assert f"[the weights' own, else {DEFAULT_SCORE}]" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", ["train", "distill"])
def test_the_help_promises_no_number_for_what_suits_the_dataset(verb: str) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    text = page.read_text(encoding="utf-8")
    part = text.partition(f"## kdlnet {verb}\n")[2].partition("\n## ")[0]
    for flag in ("--epochs", "--image-size", "--tile", "--batch"):
        line = next(line for line in part.splitlines() if line.startswith(f"  {flag} "))
        assert "[suits" in line, line
